"""The command line of a llama-server: its options as arguments that this build of it knows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from paragone import InputError
from paragone_remote.llama_server.options import LlamaServerLoadOptions
from paragone_remote.llama_server.program import Program

__all__ = ["check_arguments", "command_line", "is_on_cpu"]

_SET_BY_OPTIONS = {
    "n_ctx": ("-c", "--ctx-size"),
    "n_gpu_layers": ("-ngl", "--gpu-layers", "--n-gpu-layers"),
    "n_threads": ("-t", "--threads", "-tb", "--threads-batch"),
    "n_batch": ("-b", "--batch-size", "-ub", "--ubatch-size"),
    "flash_attn": ("-fa", "--flash-attn"),
    "type_k": ("-ctk", "--cache-type-k"),
    "type_v": ("-ctv", "--cache-type-v"),
    "tensor_split": ("-ts", "--tensor-split"),
    "main_gpu": ("-mg", "--main-gpu"),
    "lora": ("--lora", "--lora-scaled"),
    "mmproj": ("-mm", "--mmproj"),
    "draft_model": ("-md", "--model-draft", "--spec-draft-model"),
    "draft_max": ("--spec-draft-n-max", "--draft", "--draft-n", "--draft-max"),
    "draft_min": ("--spec-draft-n-min", "--draft-min", "--draft-n-min"),
    "draft_p_min": ("--spec-draft-p-min", "--draft-p-min"),
    "draft_gpu_layers": ("--spec-draft-ngl", "-ngld", "--gpu-layers-draft", "--n-gpu-layers-draft"),
    "chat_template": ("--chat-template", "--chat-template-file"),
    "n_parallel": ("-np", "--parallel"),
    "rpc_servers": ("--rpc",),
    "port": ("--port",),
}
"""The arguments that our options stand for, the usual name of each argument first."""

_OURS = {
    *("-h", "--help", "--usage", "--version", "--list-devices", "--completion-bash", "-cl", "--cache-list"),
    *("-m", "--model", "-a", "--alias", "--host", "--api-prefix", "--path", "--reuse-port"),
    *("--ssl-key-file", "--ssl-cert-file", "--no-slots", "--log-disable", "--log-file", "-lv", "--verbosity"),
    *("-v", "--verbose", "--log-verbose", "--log-verbosity", "--log-jsonl", "--embedding", "--embeddings"),
    *("--rerank", "--reranking", "--models-dir", "--models-preset", "--models-max"),
}
"""Arguments that would keep paragone from starting the server or asking it."""

_SECRETS = {"--api-key", "--api-key-file", "-hft", "--hf-token"}

_DOWNLOADS = {
    *("-hf", "-hfr", "--hf-repo", "-mu", "--model-url", "-mmu", "--mmproj-url", "-dr", "--docker-repo"),
    *("-hff", "--hf-file", "-hfv", "-hfrv", "--hf-repo-v", "-hffv", "--hf-file-v"),
    *("--spec-draft-hf", "-hfd", "-hfrd", "--hf-repo-draft"),
}


def command_line(
    options: LlamaServerLoadOptions,
    program: Program,
    *,
    model: Path,
    alias: str,
    threads: int,
    n_batch: int | None,
) -> list[str]:
    """Return the arguments of a server for these options, except for where it listens. Raises InputError.

    `n_batch` is the batch size in force; None for the program's own.
    """
    line = _CommandLine(program)
    line.add("--model", str(model), "--alias", alias)
    for flag in ("--offline", "--slots"):  # no downloads; the slots tell whether a request waits
        line.add_if_known(flag)
    line.add_if_known("--no-ui", "--no-webui")
    if "trace" in line.known("-lv"):
        line.add("-lv", "4")  # with llama.cpp's own lines, which tell what is in force
    line.option("n_parallel", str(options.n_parallel))
    if options.n_ctx is not None:
        line.option("n_ctx", str(options.n_ctx * options.n_parallel))
    line.add("-t", str(threads), "-tb", str(threads))
    if n_batch is not None:
        line.add("-b", str(n_batch), "-ub", str(n_batch))
    _add_device_options(line, options)
    _add_cache_options(line, options)
    _add_files(line, options)
    _add_draft_options(line, options)
    check_arguments(options.arguments)
    line.add_arguments(options.arguments)
    return line.arguments


def check_arguments(arguments: Sequence[str]) -> None:
    """Check the option `arguments` as far as that is possible without the program. Raises InputError."""
    if arguments and not arguments[0].startswith("-"):
        raise InputError(
            f"The option 'arguments' begins with {arguments[0]!r}, which is not an argument's name.",
            hint="Write it as a list, such as --override-kv,KEY=TYPE:VALUE.",
        )
    for name in _names_in(arguments):
        if name in _SECRETS:
            raise InputError(
                f"The option 'arguments' has {name}, whose value would be recorded.",
                hint="Remove it: paragone sets a key of its own.",
            )
        if name in _DOWNLOADS:
            raise InputError(
                f"The option 'arguments' has {name}: a server of paragone's downloads nothing.",
                hint="Download the file, and name it.",
            )
        if name in _OURS:
            raise InputError(
                f"The option 'arguments' has {name}, which paragone sets itself.", hint="Remove it."
            )
        for option, flags in _SET_BY_OPTIONS.items():
            if name in flags:
                raise InputError(
                    f"The option 'arguments' has {name}.", hint=f"Set the option {option} instead."
                )


def is_on_cpu(options: LlamaServerLoadOptions, devices: Sequence[str]) -> bool:
    """Whether a server with these options computes on the CPU alone. `devices` are those that the program lists."""
    return options.n_gpu_layers == 0 or not (devices or options.rpc_servers)


class _CommandLine:
    """Arguments for one program."""

    def __init__(self, program: Program) -> None:
        self.arguments: list[str] = []
        self._program = program

    def add(self, *arguments: str) -> None:
        self.arguments += arguments

    def add_if_known(self, *flags: str) -> None:
        """Add the first of these arguments that the program knows, if any."""
        self.add(*[flag for flag in flags if self._program.flag(flag) is not None][:1])

    def known(self, flag: str) -> str:
        """Return what `--help` says about an argument; empty if the program does not know it."""
        found = self._program.flag(flag)
        return found.text if found is not None else ""

    def help_of(self, option: str, *flags: str) -> str:
        """Return what `--help` says about the argument for an option. Raises InputError if there is none."""
        known = self._program.flag(*(flags or _SET_BY_OPTIONS[option]))
        if known is None:
            wanted = flags or _SET_BY_OPTIONS[option]
            raise InputError(
                f"The llama-server {self._program.name} cannot set {option}: it does not know {wanted[0]}.",
                hint=f"Leave {option} out, or use another llama-server.",
            )
        return known.text

    def option(self, option: str, value: str, *flags: str) -> None:
        """Add the argument for an option, under a name that the program knows, and its value."""
        self.help_of(option, *flags)
        named = flags or _SET_BY_OPTIONS[option]
        self.add(next(flag for flag in named if self._program.flag(flag) is not None), value)

    def add_arguments(self, arguments: Sequence[str]) -> None:
        """Add the option `arguments`. Raises InputError if the program does not know one."""
        for name in _names_in(arguments):
            if self._program.flag(name) is None:
                raise InputError(
                    f"The llama-server {self._program.name} does not know {name}, which is in the option 'arguments'.",
                    hint="Its --help lists what it knows.",
                )
        self.add(*arguments)


def _names_in(arguments: Sequence[str]) -> Iterator[str]:
    """Yield the names among arguments. A value can begin with a minus sign too: a number, such as -1."""
    for argument in arguments:
        if argument.startswith("-") and not argument[1:2].isdigit():
            yield argument


def _add_device_options(line: _CommandLine, options: LlamaServerLoadOptions) -> None:
    if options.n_gpu_layers is not None:
        line.option("n_gpu_layers", _layers(options.n_gpu_layers))
    if options.tensor_split:
        line.option("tensor_split", ",".join(f"{share:g}" for share in options.tensor_split))
    if options.main_gpu is not None:
        if options.tensor_split:
            raise InputError("Only one of the options 'main_gpu' and 'tensor_split' can be set.")
        line.add("--split-mode", "none")
        line.option("main_gpu", str(options.main_gpu))
    if options.rpc_servers:
        line.option("rpc_servers", ",".join(options.rpc_servers))


def _layers(number: int) -> str:
    """Return a number of layers on the GPU; -1 becomes a number that is more than all, which every version knows."""
    return "9999" if number < 0 else str(number)


def _add_cache_options(line: _CommandLine, options: LlamaServerLoadOptions) -> None:
    if options.flash_attn != "auto":
        takes_value = "auto" in line.help_of("flash_attn").partition(" ")[0]
        if takes_value:
            line.option("flash_attn", options.flash_attn)
        elif options.flash_attn == "on":  # older versions: it is off unless the argument is there
            line.add("--flash-attn")
    if options.type_v not in ("f32", "f16", "bf16") and options.flash_attn == "off":
        raise InputError(
            f"The option 'type_v' cannot be {options.type_v} without flash attention.",
            hint="Set flash_attn to auto, or type_v to f16.",
        )
    for name, value in (("type_k", options.type_k), ("type_v", options.type_v)):
        if value != "f16":
            line.option(name, value)


def _add_files(line: _CommandLine, options: LlamaServerLoadOptions) -> None:
    if options.lora is not None:
        path, scale = str(_existing(options.lora, "lora")), f"{options.lora_scale:g}"
        if options.lora_scale == 1:
            line.option("lora", path)
        elif ":" in line.help_of("lora", "--lora-scaled").partition(" ")[0]:
            line.option("lora", f"{path}:{scale}", "--lora-scaled")
        else:  # older versions: two values
            line.add("--lora-scaled", path, scale)
    if options.mmproj is not None:
        line.option("mmproj", str(_existing(options.mmproj, "mmproj")))
    else:
        line.add_if_known("--no-mmproj")
    if options.chat_template:
        line.add_if_known("--jinja")
        if options.chat_template.startswith("@"):
            path = str(_existing(options.chat_template[1:], "chat_template"))
            line.option("chat_template", path, "--chat-template-file")
        else:
            line.option("chat_template", options.chat_template)


def _add_draft_options(line: _CommandLine, options: LlamaServerLoadOptions) -> None:
    if options.draft_model is None:
        for name in ("draft_max", "draft_min", "draft_p_min", "draft_gpu_layers"):
            if getattr(options, name) is not None:
                raise InputError(f"The option '{name}' is set, but not draft_model.")
        return
    line.option("draft_model", str(_existing(options.draft_model, "draft_model")))
    if "draft-simple" in line.known("--spec-type"):
        line.add("--spec-type", "draft-simple")
    for name in ("draft_max", "draft_min", "draft_p_min"):
        value = getattr(options, name)
        if value is not None:
            line.option(name, f"{value:g}")
    if options.draft_gpu_layers is not None:
        line.option("draft_gpu_layers", _layers(options.draft_gpu_layers))


def _existing(named: str, option: str) -> Path:
    try:
        path = Path(named).expanduser().absolute()
        with path.open("rb"):
            return path
    except (
        OSError,
        RuntimeError,
        ValueError,
    ) as error:  # RuntimeError: an unknown home folder; ValueError: a null
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{option}: the file {named} cannot be read: {reason}.") from error
