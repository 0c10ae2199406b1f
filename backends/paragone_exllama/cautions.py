"""Cautions that apply to every run of an open model."""

from __future__ import annotations

from collections.abc import Iterator

from paragone import Caution
from paragone_exllama.exllama_options import ExLlamaLoadOptions, ExLlamaV2LoadOptions
from paragone_exllama.library import Library


def cautions(
    library: Library, options: ExLlamaLoadOptions, *, owner: str, template: bool
) -> Iterator[Caution]:
    """Yield the cautions for the model named `owner`. `template`: whether the model has a chat template."""
    if not template:
        sentence = f"{owner} has no chat template: the model continues the plain text of the messages."
        yield Caution(code="no-chat-template", sentence=sentence)
    if library.facts.get("attention") == "unpaged":
        sentence = "Without paged attention (flash-attn), only the latest conversation is kept in the cache."
        yield Caution(code="unpaged", sentence=sentence)
    if library.trained is None:
        return
    if options.max_seq_len is None and library.capacity < library.trained - 256:
        sentence = (
            f"The context is {library.capacity:,} tokens instead of the model's {library.trained:,}, "
            "to fit in the VRAM."
        )
        yield Caution(code="context-reduced", sentence=sentence)
    if library.capacity > library.trained and not _rope_changed(options):
        sentence = (
            f"The context is {library.capacity:,} tokens, but the model was trained for {library.trained:,}."
        )
        yield Caution(code="beyond-trained-context", sentence=sentence)


def _rope_changed(options: ExLlamaLoadOptions) -> bool:
    return isinstance(options, ExLlamaV2LoadOptions) and any(
        (options.rope_scale, options.rope_alpha, options.rope_yarn)
    )
