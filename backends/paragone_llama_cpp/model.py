"""Open a model in llama.cpp, with the parameters, adapters and RPC servers that the options name."""

import contextlib
import ctypes
import re
import socket
import sys
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path

from paragone import Cancelled, EngineError, InputError, OpenRequest, Report, answer_text, chat_template, gguf
from paragone.files import option_text
from paragone.threads import physical_cores
from paragone_llama_cpp import c_api, library
from paragone_llama_cpp.context import Context, Vocab
from paragone_llama_cpp.llama_cpp_options import LlamaCppLoadOptions

_MADV_DONTNEED = 4


def release_pages(files: Collection[Path], maps: Path = Path("/proc/self/maps")) -> None:
    """Release the mapped pages of these files from this process. The system reads a page again when the page is accessed.

    On a CPU, llama.cpp copies the weights of some quantizations, such as Q4_0, into a layout that makes computing
    faster. Without the release, the mapped file would stay in memory beside the copy, although llama.cpp has finished reading
    it: the model would take almost twice its size. Has no effect on systems without `/proc`.
    """
    try:
        lines = maps.read_text(errors="replace").splitlines()
    except OSError:
        return
    paths = {str(file.resolve()) for file in files}
    libc = ctypes.CDLL(None)
    libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for line in lines:
        fields = line.split(maxsplit=5)
        if len(fields) == 6 and fields[5] in paths and "w" not in fields[1]:
            start, end = (int(address, 16) for address in fields[0].split("-"))
            libc.madvise(start, end - start, _MADV_DONTNEED)


CACHE_TYPES: dict[gguf.CacheType, int] = {
    "f32": 0,
    "f16": 1,
    "bf16": 30,
    "q8_0": 8,
    "q5_1": 7,
    "q5_0": 6,
    "q4_1": 3,
    "q4_0": 2,
    "iq4_nl": 20,
}
"""Numbers of the types in ggml (ggml_type)."""
_ROPE_SCALING = {None: -1, "none": 0, "linear": 1, "yarn": 2, "longrope": 3}
_FLASH_ATTN = {"auto": -1, "off": 0, "on": 1}
_SPLIT_NONE = 0
_POOLING_NONE = 0
_COPIED = r"(CPU_REPACK|AMX) model buffer size"
"""The log line of weights that llama.cpp has copied into another layout in main memory."""

_EXPERTS = r"\.ffn_(up|down|gate|gate_up)_(ch|)exps"
"""The names of experts' tensors after `blk.N` (LLM_FFN_EXPS_REGEX in llama.cpp's common/common.h)."""

OUTPUTS = 32
"""Largest number of positions whose logits one computation of an engine's context returns.

llama.cpp allocates memory for these logits permanently, once in the compute buffer and once for a copy: 8 bytes
for each token of the vocabulary at each position. With 262,144 tokens, 32 positions take 64 MiB, and all 512
positions of a batch would take 1 GiB.
"""


_LOGITS = 256 << 20
"""Largest size of the logits of one batch in bytes. llama.cpp allocates memory of this size twice: for the result and
for a copy."""


def with_defaults(options: LlamaCppLoadOptions, *, on_gpu: bool) -> LlamaCppLoadOptions:
    """Return the options with the device-dependent defaults filled in."""
    return replace(options, n_batch=options.n_batch or 512) if on_gpu else gguf.with_cpu_defaults(options)


def load_model(
    path: Path,
    options: LlamaCppLoadOptions,
    report: Report,
    cancelled: Cancelled | bool,
    *,
    weights: bool = True,
) -> tuple[c_api.Pointer, str]:
    """Return a pointer to the loaded model, and how many of its layers are on a GPU.

    Without `weights`, llama.cpp reads only the header. Contexts of such a model log the memory that they would allocate,
    but do not allocate it. Raises InputError if the file or an option is wrong, and EngineError if loading fails.
    """
    params = c_api.lib.llama_model_default_params()
    params.n_gpu_layers = -1 if options.n_gpu_layers is None else options.n_gpu_layers
    _place(params, options)
    _keep_experts(params, options.n_cpu_moe)
    if not weights:  # the same parameters as in llama.cpp's common/fit.cpp
        params.no_alloc, params.load_mode = True, c_api.LOAD_MODE_NONE

    def progress(fraction: float, _: object) -> bool:
        report(fraction)
        return not cancelled

    params.progress_callback = c_api.ProgressCallback(progress)
    library.clear_log()
    model = c_api.lib.llama_model_load_from_file(str(path).encode(), params)
    if model is None:
        raise _failed(path, cancelled)
    if weights and library.find_in_log(_COPIED):
        release_pages(gguf.parts(path))
    offloaded = library.find_in_log(r"offloaded (\d+)/(\d+) layers")
    return model, f"{offloaded[1]} of {offloaded[2]}" if offloaded else "none"


def make_context(
    model: c_api.Pointer,
    options: LlamaCppLoadOptions,
    *,
    n_ctx: int,
    threads: int,
    owner: str,
    outputs: int = OUTPUTS,
    embeddings: bool = False,
) -> tuple[c_api.Pointer, str]:
    """Return a pointer to a context of the model, and whether the context uses flash attention (`on` or `off`).

    The defaults of the options must be filled in. `outputs` is the largest number of positions whose logits one
    computation returns. With `embeddings`, a computation also returns the hidden states of its tokens. Raises EngineError.
    """
    n_batch = options.n_batch or 0
    params = c_api.lib.llama_context_default_params()
    params.n_ctx = n_ctx
    params.n_batch = params.n_ubatch = n_batch
    params.n_outputs_max = params.n_outputs_max_per_seq = min(outputs, n_batch)
    params.n_threads = params.n_threads_batch = threads
    params.flash_attn_type = _FLASH_ATTN[options.flash_attn]
    params.type_k, params.type_v = CACHE_TYPES[options.type_k], CACHE_TYPES[options.type_v]
    params.rope_scaling_type = _ROPE_SCALING[options.rope_scaling]
    params.rope_freq_base = options.rope_freq_base or 0.0  # 0 means the model's own value
    params.rope_freq_scale = options.rope_freq_scale or 0.0
    params.yarn_orig_ctx = options.yarn_orig_ctx or 0
    if embeddings:
        params.embeddings, params.pooling_type = True, _POOLING_NONE
    library.clear_log()
    context = c_api.lib.llama_init_from_model(model, params)
    if context is None:
        raise EngineError(
            f"llama.cpp could not make a context of {n_ctx:,} tokens for {owner}: {library.logged_error()}.",
            hint="Try a smaller n_ctx, or a smaller type for the KV cache.",
        )
    refused = library.find_in_log(r"Flash Attention not supported") or options.flash_attn == "off"
    return context, "off" if refused else "on"


def _place(params: c_api.ModelParams, options: LlamaCppLoadOptions) -> None:
    split = options.tensor_split
    if options.main_gpu is not None:
        params.split_mode, params.main_gpu = _SPLIT_NONE, options.main_gpu
    if split:
        room = c_api.lib.llama_max_devices()
        if len(split) > room:
            raise InputError(
                f"The option 'tensor_split' has {len(split)} shares, but llama.cpp supports {room} GPUs at most."
            )
        params.tensor_split = (ctypes.c_float * room)(*split)


def is_expert(tensor: str) -> bool:
    return re.match(rf"blk\.\d+{_EXPERTS}", tensor) is not None


def _keep_experts(params: c_api.ModelParams, layers: int) -> None:
    if layers:
        cpu = c_api.lib.ggml_backend_cpu_buffer_type()
        patterns = [rf"blk\.{layer}{_EXPERTS}".encode() for layer in range(layers)]
        overrides = [c_api.TensorBufferOverride(pattern, cpu) for pattern in patterns]
        params.tensor_buft_overrides = (c_api.TensorBufferOverride * (layers + 1))(
            *overrides, c_api.TensorBufferOverride()
        )


def _failed(path: Path, cancelled: Cancelled | bool) -> Exception:
    if cancelled:
        return EngineError(f"Loading {path.name} was cancelled.")
    if library.find_in_log(r"(failed|unable) to allocate|cannot allocate|out of memory|insufficient memory"):
        return EngineError(
            f"{path.name} does not fit in memory: {library.logged_error()}.",
            hint="Close another engine, use a smaller quantization, or lower n_gpu_layers.",
        )
    return InputError(f"llama.cpp could not load {path.name}: {library.logged_error()}.")


_SHARE = 4
"""A KV cache gets 1/_SHARE of the free memory. The rest is for computation, and for other engines that load at the same
time."""

_STEP = 256
"""llama.cpp rounds the size of a context up to a multiple of this number of tokens."""
_SHORTEST = 512
"""Smallest useful context in tokens. If even this context does not fit in memory, opening the model fails."""
_CONTEXT_STEP = 32
"""How many numbers the quantized types of a KV cache store together."""


def longest_context(
    model: c_api.Pointer,
    options: LlamaCppLoadOptions,
    header: gguf.Header,
    free_before: int,
    *,
    loaded: bool = True,
) -> int:
    """Return the model's own context, or as much of it as fits in a quarter of the free memory.

    `free_before` is the result of `available` before the model was loaded. `loaded`: whether the weights are loaded, which
    reduces the free memory of a GPU. The result is too small for models in which only some layers keep the whole context.
    """
    trained: int = c_api.lib.llama_model_n_ctx_train(model)
    token = _bytes_per_token(model, options, header)
    if not token:
        return trained  # a recurrent model: its state has a constant size
    fits = int(_free(model, options, free_before, loaded) / _SHARE / token) // _STEP * _STEP
    return min(trained, max(fits, _SHORTEST))


def available(proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the bytes of main memory that this process can still allocate. The page cache counts as free."""
    free = min(device.free for device in library.devices() if not device.gpu)
    with contextlib.suppress(OSError):
        lines = dict(line.split(":", 1) for line in (proc / "meminfo").read_text().splitlines())
        free = int(lines["MemAvailable"].split()[0]) * 1024
    with contextlib.suppress(OSError):
        for line in (proc / "self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                free = min(free, _left(groups, path, "memory.max", "memory.current", ""))
            elif "memory" in controllers.split(","):
                names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_")
                free = min(free, _left(groups / "memory", path, *names))
    return max(0, free)


def _bytes_per_token(model: c_api.Pointer, options: LlamaCppLoadOptions, header: gguf.Header) -> float:
    head = c_api.lib.llama_model_n_embd(model) // max(1, c_api.lib.llama_model_n_head(model))

    def half_of_head(name: str, kind: gguf.CacheType) -> float:
        value = header.values.get(f"{header.architecture}.attention.{name}_length", head)
        numbers = value if isinstance(value, int) else head
        return (
            numbers * c_api.lib.ggml_row_size(CACHE_TYPES[kind], c_api.Int64(_CONTEXT_STEP)) / _CONTEXT_STEP
        )

    whole_head = half_of_head("key", options.type_k) + half_of_head("value", options.type_v)
    cache = c_api.lib.llama_model_n_layer(model) * c_api.lib.llama_model_n_head_kv(model) * whole_head
    scores = c_api.lib.llama_model_n_head(model) * (options.n_batch or 0) * 4
    return float(cache + scores if cache and options.flash_attn == "off" else cache)


def _free(model: c_api.Pointer, options: LlamaCppLoadOptions, free_before: int, loaded: bool) -> int:
    """Return the free bytes of the memory that will hold the KV cache. `free_before` is as in `longest_context`."""
    layers = options.n_gpu_layers
    if library.supports_gpu_offload() and (
        layers is None or not 0 <= layers < c_api.lib.llama_model_n_layer(model)
    ):
        free = sum(device.free for device in library.devices() if device.gpu)
        return free if loaded else max(0, free - int(c_api.lib.llama_model_size(model)))
    # Memory-mapped weights take memory only when they are first used.
    return max(0, free_before - int(c_api.lib.llama_model_size(model)))


def _left(groups: Path, path: str, limit: str, usage: str, prefix: str) -> int:
    """Return the free bytes within the limits of a control group and its parents."""
    left = sys.maxsize
    own = groups / path.lstrip("/")
    # In a container, `path` can be a path of the host, although the container sees only the root of `groups`.
    for group in (own, *own.parents):
        if not group.is_relative_to(groups):
            break
        with contextlib.suppress(OSError):
            most = (group / limit).read_text().strip()
            if most == "max":
                continue
            statistics = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
            files = sum(int(statistics.get(f"{prefix}{kind}_file", 0)) for kind in ("active", "inactive"))
            left = min(left, int(most) - int((group / usage).read_text()) + files)
    return left


def lora_file(options: LlamaCppLoadOptions) -> Path | None:
    """Return the file of the adapter in the options, if any. Raises InputError."""
    if options.lora is None:
        return None
    return gguf.check_file(options.lora, "lora", "adapter", "a LoRA adapter")


_PATIENCE = 5.0
"""Seconds to wait for a connection to a server."""

_HINT = "Start llama.cpp's rpc-server at this address, or remove the address from rpc_servers."


def add_rpc_servers(addresses: tuple[str, ...]) -> None:
    """Make these llama.cpp RPC servers available as devices. Raises InputError if an address is invalid or the build
    lacks RPC, and EngineError if a server cannot be used."""
    if not addresses:
        return
    if not c_api.lib.llama_supports_rpc():
        raise InputError(
            "The option 'rpc_servers' needs a native build of llama.cpp with RPC support.",
            hint='Reinstall llama-cpp-python with CMAKE_ARGS="-DGGML_RPC=on".',
        )
    registry = c_api.lib.ggml_backend_reg_by_name(b"RPC")
    add_server = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_char_p)(
        c_api.lib.ggml_backend_reg_get_proc_address(registry, b"ggml_backend_rpc_add_server")
    )
    for address in addresses:
        _reach(address)
        server = add_server(address.encode())
        if not server:
            raise EngineError(f"The RPC server {address} has no devices.", hint=_HINT)
        c_api.lib.ggml_backend_register(server)


def _reach(address: str) -> None:
    """Check that a server accepts connections. Without a connection, llama.cpp would end this process."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 0xFFFF:
        raise InputError(
            f"The option 'rpc_servers' cannot contain {address!r}.",
            hint="The option takes addresses HOST:PORT.",
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE).close()
    except OSError as error:
        reason = error.strerror or str(error)
        raise EngineError(f"The RPC server {address} does not answer: {reason}.", hint=_HINT) from error


@dataclass(slots=True, kw_only=True)
class OpenModel:
    path: Path
    header: gguf.Header
    options: LlamaCppLoadOptions
    pointer: c_api.Pointer
    vocab: Vocab
    template: chat_template.ChatTemplate | None
    on_gpu: str
    """How many layers of the model are on a GPU, such as `12 of 33`."""
    threads: int
    """CPU threads that compute the current run; at first those of loading."""
    n_ctx: int
    """Size of the context window in tokens: the option's value, or what fits in memory."""
    flash_attn: str = field(default="", init=False)
    """Whether the context uses flash attention, `on` or `off`."""
    context: Context = field(init=False)
    """The context of answers and scores, which exists after `open_context`."""
    _lora: c_api.Pointer | None = field(default=None, init=False)
    _extra: Context | None = field(default=None, init=False)
    _extra_shape: tuple[int, int, bool] = field(default=(0, 0, False), init=False)

    @property
    def most_logits(self) -> int:
        """Largest number of positions whose logits one batch may return."""
        return max(1, _LOGITS // (4 * self.vocab.size))

    def open_context(self) -> None:
        """Load the adapter and make the context. Raises InputError and EngineError."""
        path = lora_file(self.options)
        if path is not None:
            library.clear_log()
            self._lora = c_api.lib.llama_adapter_lora_init(self.pointer, str(path).encode())
            if not self._lora:
                raise InputError(f"The LoRA adapter {path.name} cannot be applied: {library.logged_error()}.")
        while True:
            try:
                self.context, self.flash_attn = self._new_context(self.n_ctx, self.options)
                return
            except EngineError:
                # Whether the context fits in memory is known only after the allocation.
                self.n_ctx //= 2
                if self.options.n_ctx is not None or self.n_ctx < _SHORTEST:
                    raise

    def extra_context(self, length: int, *, batch: int, outputs: int, embeddings: bool = False) -> Context:
        """Return an empty context for `length` tokens, which is kept for requests of the same shape until `close_extra`.

        The conversation then stays in `context`, and the memory for many logits or hidden states, which a context allocates
        permanently, can be freed. `batch` and `outputs` are the sizes of a batch and the number of its logits, in tokens.
        Raises EngineError.
        """
        # LongRoPE uses different factors for contexts that are longer than the model's original context.
        first = self.header.values.get(f"{self.header.architecture}.rope.scaling.original_context_length")
        shortest = first + 1 if isinstance(first, int) and first < self.context.size else 1
        size = (max(length, shortest) + _STEP - 1) // _STEP * _STEP
        shape = (batch, outputs, embeddings)
        if self._extra is None or self._extra.size < size or shape != self._extra_shape:
            self.close_extra()
            options = replace(self.options, n_batch=batch)
            self._extra, _ = self._new_context(size, options, outputs=outputs, embeddings=embeddings)
            self._extra_shape = shape
        self._extra.trim(0)
        return self._extra

    def close_extra(self) -> None:
        if self._extra is not None:
            self._extra.close()
            self._extra = None

    def close(self) -> None:
        self.close_extra()
        self.context.close()
        c_api.lib.llama_model_free(self.pointer)

    def _new_context(
        self, n_ctx: int, options: LlamaCppLoadOptions, *, outputs: int = OUTPUTS, embeddings: bool = False
    ) -> tuple[Context, str]:
        pointer, flash_attn = make_context(
            self.pointer,
            options,
            n_ctx=n_ctx,
            threads=self.threads,
            owner=self.path.name,
            outputs=outputs,
            embeddings=embeddings,
        )
        if self._lora is not None:
            adapters, scales = (ctypes.c_void_p * 1)(self._lora), (ctypes.c_float * 1)(options.lora_scale)
            if c_api.lib.llama_set_adapters_lora(pointer, adapters, c_api.Size(1), scales):
                raise InputError(f"The LoRA adapter {options.lora} does not fit the model.")
        return Context(pointer, self.vocab.size), flash_attn


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
    header = gguf.check_model(path)
    library.load(options.build)
    add_rpc_servers(options.rpc_servers)
    gguf.check_load_options(options)
    lora_file(options)
    options = with_defaults(options, on_gpu=options.n_gpu_layers != 0 and library.supports_gpu_offload())
    free = available()
    pointer, on_gpu = load_model(path, options, report, cancelled, weights=weights)
    if c_api.lib.llama_model_has_encoder(pointer):
        raise InputError(f"{path.name} is an encoder model, such as T5, which paragone does not support.")
    vocab = Vocab(pointer, [text for tags in answer_text.THINKING_TAGS for text in tags])
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


def _template(
    options: LlamaCppLoadOptions, header: gguf.Header, vocab: Vocab, owner: str
) -> chat_template.ChatTemplate | None:
    source = header.values.get("tokenizer.chat_template")
    if options.chat_template is not None:
        source = option_text(options.chat_template, "chat_template")
    if not source:
        return None
    bos, eos = vocab.text(vocab.bos), vocab.text(vocab.eos)
    return chat_template.ChatTemplate(str(source), bos=bos, eos=eos, owner=owner)
