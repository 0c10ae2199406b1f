"""Open the model of a request in llama.cpp, with or without its weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from paragone import Cancelled, InputError, OpenRequest, Report
from paragone.chat.template import ChatTemplate
from paragone.chat.text import THINKING_TAGS
from paragone.cores import physical_cores
from paragone.gguf.files import check_model
from paragone.gguf.header import Header
from paragone.gguf.options import check_load_options
from paragone.regular_file import option_text
from paragone_llama_cpp.build import library
from paragone_llama_cpp.c_api.functions import Pointer, lib
from paragone_llama_cpp.llama_cpp_options import LlamaCppLoadOptions
from paragone_llama_cpp.model.loading import load_model, with_defaults
from paragone_llama_cpp.model.lora import check_lora
from paragone_llama_cpp.model.memory import available, longest_context
from paragone_llama_cpp.model.rpc import add_rpc_servers
from paragone_llama_cpp.model.vocab import Vocab


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenModel:
    """An open model, and its options after the device-dependent defaults are resolved."""

    path: Path
    header: Header
    options: LlamaCppLoadOptions
    pointer: Pointer
    vocab: Vocab
    template: ChatTemplate | None
    on_gpu: str
    """How many layers of the model are on a GPU, such as `12 of 33`."""
    threads: int
    n_ctx: int
    """Size of the context window in tokens: the option's value, or what fits in memory."""


def open_model(
    request: OpenRequest,
    options: LlamaCppLoadOptions,
    report: Report,
    cancelled: Cancelled | bool,
    *,
    weights: bool = True,
) -> OpenModel:
    """Open a GGUF file. Raises InputError if the file or an option is wrong, EngineError if loading fails."""
    path = Path(request.model).expanduser()
    header = check_model(path)
    library.load(options.build)
    add_rpc_servers(options.rpc_servers)
    check_load_options(options)
    check_lora(options)
    options = with_defaults(options, on_gpu=options.n_gpu_layers != 0 and library.offloads())
    free = available()
    pointer, on_gpu = load_model(path, options, report, cancelled, weights=weights)
    if lib.llama_model_has_encoder(pointer):
        raise InputError(f"{path.name} is an encoder model, such as T5, which paragone does not support.")
    vocab = Vocab(pointer, [text for tags in THINKING_TAGS for text in tags])
    return OpenModel(
        path=path,
        header=header,
        options=options,
        pointer=pointer,
        vocab=vocab,
        template=_template(options, header, vocab, path.name),
        on_gpu=on_gpu,
        threads=options.n_threads or request.threads or physical_cores(),
        n_ctx=options.n_ctx or longest_context(pointer, options, header, free, loaded=weights),
    )


def _template(options: LlamaCppLoadOptions, header: Header, vocab: Vocab, owner: str) -> ChatTemplate | None:
    source = header.values.get("tokenizer.chat_template")
    if options.chat_template is not None:
        source = option_text(options.chat_template, "chat_template")
    if not source:
        return None
    bos, eos = map(vocab.text, vocab.marks)
    return ChatTemplate(str(source), bos=bos, eos=eos, owner=owner)
