"""Descriptions of models, on disk, at an endpoint or open, and estimates of the memory that a model needs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from paragone.events import Caution


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """The features of a backend or of one open engine. A method whose capability is False raises EngineError.

    Attributes:
        logprobs: Tokens of a run have log-probabilities when the request asks for them.
        plain_text: A run without messages continues `RunRequest.text`.
        token_ids: A run without messages and text continues `RunRequest.ids`. If `score` is set too, the method
            `score` accepts `ScoreRequest.ids`, and `tokenize` accepts `TokenizeRequest.ids` and `TokenizeRequest.bos`.
        tokenize: `tokenize` returns the tokens of a prompt or a text.
        score: `score` yields the log-probabilities of a given text.
        distributions: `distributions` yields logits over the whole vocabulary, and `vocabulary` works.
        top_tokens: `top_tokens` yields the most likely next tokens at each position of a sequence.
        embeddings: `embed` returns a vector for each text. If `token_ids` is set too, `embed` accepts `EmbedRequest.ids`.
        estimate: `estimate` returns the memory that a model needs, without loading it.
        seed: The same seed gives the same answer if `RunRequest.cold` is set. `RunSettings` reports the seed.
        continues: If the last message of a run is the assistant's, the answer continues this message.
        loads: The backend's server loads a model when an engine opens the model, and unloads the model when the engine
            is closed, unless another program had loaded the model. `Backend.endpoint` reports which models are loaded.
        local: The engine computes on this machine, so engines that run concurrently share the cores.
    """

    logprobs: bool = False
    plain_text: bool = False
    token_ids: bool = False
    tokenize: bool = False
    score: bool = False
    distributions: bool = False
    top_tokens: bool = False
    embeddings: bool = False
    estimate: bool = False
    seed: bool = False
    continues: bool = False
    loads: bool = False
    local: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """A model that can be opened, as its file's header or its server describes it. None for unknown values.

    Attributes:
        model: The value of `OpenRequest.model` that opens the model.
        name: The model's display name.
        size: Bytes on disk, all parts together.
        quantization: The standard name: `Q4_K_M`, `EXL2 4.0 bpw`, `F16`.
        context: Context window that the model was trained for, in tokens.
        architecture: The model's architecture, such as `llama` or `qwen3`.
        parameters: Number of the model's weights.
        capabilities: What the model can do, as its server reports: `completion`, `vision`, `thinking` …
        problem: Why the model cannot be opened; empty if no reason is known.
        address: URL of the server that has the model, unless this is the backend's default server.
        aliases: Other values of `OpenRequest.model` that open the model.
        is_loaded: Whether its server has the model in memory; if not, opening an engine loads the model. None for a
            file, and for a server that does not load models on demand.
    """

    model: str
    name: str
    size: int | None = None
    quantization: str | None = None
    context: int | None = None
    architecture: str | None = None
    parameters: int | None = None
    capabilities: tuple[str, ...] = ()
    problem: str = ""
    address: str | None = None
    aliases: tuple[str, ...] = ()
    is_loaded: bool | None = None


_BLOCK, _BLOCKS = 2**12, 64
"""Bytes of a block of a sample, and the number of blocks."""


def _sample(path: str, size: int) -> str | None:
    """Return the digest of blocks at equal distances; None if the file cannot be read."""
    import hashlib  # these two take time to import

    from paragone.files import open_regular_file

    digest = hashlib.sha256()
    try:
        with open_regular_file(path) as file:
            for number in range(_BLOCKS):
                file.seek(max(0, size - _BLOCK) * number // (_BLOCKS - 1))
                digest.update(file.read(_BLOCK))
    except OSError:
        return None
    return digest.hexdigest()[:32]


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsFile:
    """A file of weights: of the model, of an adapter, or of a draft model. None for unknown values.

    Attributes:
        path: The file's absolute path on this machine; the model's name for a model on a server.
        size: Bytes.
        modified_ns: When the file was last modified, in nanoseconds since 1970. None for a model on a server.
        sha256: The SHA-256 of the file's content, or the digest by which a server identifies the model; in
            hexadecimal digits. Omit a digest that would require reading the file: the application
            computes that digest.
        sample: A digest of blocks spread over the file, which distinguishes files of the same size.
    """

    path: str
    size: int | None = None
    modified_ns: int | None = None
    sha256: str | None = None
    sample: str | None = None

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> WeightsFile:
        """Return the description of a file on this machine. Raises OSError."""
        whole = os.path.abspath(os.path.expanduser(path))  # noqa: PTH100, PTH111 (pathlib is slow to import)
        status = os.stat(whole)  # noqa: PTH116
        sample = _sample(whole, status.st_size)
        return cls(path=whole, size=status.st_size, modified_ns=status.st_mtime_ns, sample=sample)

    @classmethod
    def of_all(cls, paths: Iterable[str | os.PathLike[str]]) -> tuple[WeightsFile, ...]:
        """Return the descriptions of files on this machine; none if one of them cannot be read: loading reports why."""
        try:
            return tuple(map(cls.of, paths))
        except (OSError, ValueError):  # ValueError: a path with a null character in it
            return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """An open model and the active settings. None for unknown values.

    Attributes:
        name: The model's display name.
        context: Size in tokens of the context window, which holds prompt and answer.
        size: Bytes of the weights.
        quantization: The standard name: `Q4_K_M`, `EXL2 4.0 bpw`, `F16`.
        architecture: The model's architecture, such as `llama` or `qwen3`.
        vision: Whether the model accepts images in messages; None if its server does not report this.
        capabilities: What this engine can do, if that depends on model or server; None for `Backend.capabilities`.
        cautions: Warnings about this model, which the user sees with every run.
        facts: Library versions, devices, and active settings under the standard names of `paragone.facts`.
        weights: The files of weights, the model's own files first; empty if unknown.
        bos: The name of the token that begins a text.
        eos: The name of the token that ends a text.
    """

    name: str
    context: int | None = None
    size: int | None = None
    quantization: str | None = None
    architecture: str | None = None
    vision: bool | None = False
    capabilities: Capabilities | None = None
    cautions: tuple[Caution, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    weights: tuple[WeightsFile, ...] = ()
    bos: str | None = None
    eos: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceMemory:
    """The memory that a model would take on one device, in bytes.

    Attributes:
        device: `CPU`, or the library's name for the GPU.
        weights: Memory for the model's weights.
        kv_cache: Memory for the KV cache of the whole context window.
        compute: Memory for intermediate results.
        free: Free memory of the device now; None if unknown.
        total: Total memory of the device; None if unknown.
    """

    device: str
    weights: int
    kv_cache: int
    compute: int
    free: int | None = None
    total: int | None = None

    @property
    def needed(self) -> int:
        """The sum of `weights`, `kv_cache` and `compute`."""
        return self.weights + self.kv_cache + self.compute

    @property
    def fits(self) -> bool | None:
        """Whether the free memory is enough; None if the free memory is unknown."""
        return None if self.free is None else self.needed <= self.free


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPart:
    """The sizes in bytes of a part of a model, such as a layer, which cannot be divided between devices.

    Attributes:
        weights: Bytes of the part's weights on a GPU.
        kv_cache: Bytes of the part's share of the KV cache of the whole context window.
        shared: Bytes of the part's weights that are in main memory in any case, such as an embedding table that
            is also the output matrix. If the part stays in main memory, these weights need no second copy.
        experts: Bytes of the part's weights that are experts (mixture of experts), which can stay in main memory while the
            rest is on a GPU; 0 if the engine has no option to keep experts in main memory.
    """

    weights: int
    kv_cache: int = 0
    shared: int = 0
    experts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLayout:
    """How a model can be divided between main memory and GPUs, even GPUs that this machine does not have.

    Attributes:
        parts: The layers in their order, then the output. The first parts stay in main memory if not all are on a GPU.
        main_weights: Bytes of the weights that stay in main memory in any case, such as the embeddings.
        compute: Bytes for intermediate results on each GPU that has parts, with the defaults for a GPU.
        splits: Whether parts can stay in main memory and be computed there.
        in_order: Whether the engine fills several GPUs one after the other; otherwise in proportion to their free memory.
        experts_option: The load option that sets how many layers, counted from the first, keep their experts in main
            memory; empty if the engine has no such option.
    """

    parts: tuple[ModelPart, ...]
    main_weights: int
    compute: int
    splits: bool = True
    in_order: bool = False
    experts_option: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryEstimate:
    """The memory that opening a model would take.

    Attributes:
        context: Context window that the model would be opened with, in tokens.
        devices: The memory on each device that would be used.
        layers: Number of layers of the model; None if unknown.
        gpu_layers: Number of layers that would be on a GPU; None if unknown.
        trained_context: Context window that the model was trained for, in tokens; None if unknown.
        parameters: Number of the model's weights; None if unknown.
        layout: How the model can be divided between devices; None if unknown.
    """

    context: int
    devices: tuple[DeviceMemory, ...]
    layers: int | None = None
    gpu_layers: int | None = None
    trained_context: int | None = None
    parameters: int | None = None
    layout: ModelLayout | None = None

    @property
    def weights(self) -> int:
        """Bytes of the weights. With a known layout, weights that are both in main memory and on a GPU count once."""
        if self.layout is None:
            return sum(device.weights for device in self.devices)
        return self.layout.main_weights + sum(part.weights - part.shared for part in self.layout.parts)
