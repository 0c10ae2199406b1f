"""The option `arguments` of a llama-server: arguments that no other option sets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from paragone import InputError
from paragone.files import open_regular_file
from paragone.gguf import GgufError, check_load_options, check_model, read_header
from paragone_remote.llama_server.executable import LlamaServerProgram
from paragone_remote.options import LlamaServerLoadOptions

SET_BY_OPTIONS = {
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
"""The arguments that each option of the backend sets, with the usual name of each argument first."""

_OURS = {
    *("-h", "--help", "--usage", "--version", "--list-devices", "--completion-bash", "-cl", "--cache-list"),
    *("-m", "--model", "-a", "--alias", "--host", "--api-prefix", "--path", "--reuse-port"),
    *("--ssl-key-file", "--ssl-cert-file", "--no-slots", "--log-disable", "--log-file", "-lv", "--verbosity"),
    *("-v", "--verbose", "--log-verbose", "--log-verbosity", "--log-jsonl", "--rerank", "--reranking"),
    *("--models-dir", "--models-preset", "--models-max"),
}
"""Arguments with which paragone could not start the server or send requests to it."""

_SECRETS = {"--api-key", "--api-key-file", "-hft", "--hf-token"}

_DOWNLOADS = {
    *("-hf", "-hfr", "--hf-repo", "-mu", "--model-url", "-mmu", "--mmproj-url", "-dr", "--docker-repo"),
    *("-hff", "--hf-file", "-hfv", "-hfrv", "--hf-repo-v", "-hffv", "--hf-file-v"),
    *("--spec-draft-hf", "-hfd", "-hfrd", "--hf-repo-draft"),
}


def check_arguments(arguments: Sequence[str]) -> None:
    """Check the option `arguments` as far as that is possible without the program. Raises InputError."""
    if arguments and not arguments[0].startswith("-"):
        raise InputError(
            f"The option 'arguments' begins with {arguments[0]!r}, which is not an argument's name.",
            hint="Write the arguments as a list, such as --override-kv,KEY=TYPE:VALUE.",
        )
    for name in names_in(arguments):
        if name in _SECRETS:
            raise InputError(
                f"The option 'arguments' has {name}, whose value would be recorded.",
                hint="Remove this argument: paragone sets a key of its own.",
            )
        if name in _DOWNLOADS or name.endswith("-default"):  # arguments with this ending download a model
            raise InputError(
                f"The option 'arguments' has {name}: a llama-server that paragone starts downloads nothing.",
                hint="Download the file, and name its path.",
            )
        if name in _OURS:
            raise InputError(
                f"The option 'arguments' has {name}, which paragone sets itself.", hint="Remove it."
            )
        for option, flags in SET_BY_OPTIONS.items():
            if name in flags:
                raise InputError(
                    f"The option 'arguments' has {name}.", hint=f"Set the option {option} instead."
                )


def names_in(arguments: Sequence[str]) -> Iterator[str]:
    """Yield the arguments that are names. An argument such as -1 is a number, and thus a value."""
    for argument in arguments:
        if argument.startswith("-") and not argument[1:2].isdigit():
            yield argument


def command_line(
    options: LlamaServerLoadOptions, program: LlamaServerProgram, *, model: Path, alias: str, threads: int
) -> list[str]:
    """Return the arguments of a server for these options, except the server's address. Raises InputError."""
    check_load_options(options)
    line = _CommandLine(program)
    line.add("--model", str(model), "--alias", alias)
    for flag in ("--offline", "--slots"):  # no downloads; the path /slots reports whether a request waits
        line.add_if_known(flag)
    line.add_if_known("--no-ui", "--no-webui")
    if "trace" in line.help_of("-lv"):
        line.add("-lv", "4")  # log also llama.cpp's own lines, which have the settings in force
    line.option("n_parallel", str(options.n_parallel))
    if options.n_ctx is not None:
        line.option("n_ctx", str(options.n_ctx * options.n_parallel))
    line.add("-t", str(threads), "-tb", str(threads))
    if options.n_batch is not None:
        line.add("-b", str(options.n_batch), "-ub", str(options.n_batch))
    if options.n_gpu_layers is not None:
        line.option("n_gpu_layers", _layers(options.n_gpu_layers))
    if options.tensor_split:
        line.option("tensor_split", ",".join(f"{share:g}" for share in options.tensor_split))
    if options.main_gpu is not None:
        line.add("--split-mode", "none")
        line.option("main_gpu", str(options.main_gpu))
    if options.rpc_servers:
        line.option("rpc_servers", ",".join(options.rpc_servers))
    if options.flash_attn != "auto":
        if line.takes("auto", "flash_attn"):
            line.option("flash_attn", options.flash_attn)
        elif options.flash_attn == "on":  # in older versions, the argument has no value
            line.add("--flash-attn")
    for name, value in (("type_k", options.type_k), ("type_v", options.type_v)):
        if value != "f16":
            line.option(name, value)
    _add_files(line, options)
    _add_draft_options(line, options)
    check_arguments(options.arguments)
    for name in names_in(options.arguments):
        if name not in program.flags:
            raise InputError(
                f"The llama-server {program.name} does not know {name}, which is in the option 'arguments'.",
                hint="The program's --help lists the arguments that it knows.",
            )
    return [*line.arguments, *options.arguments]


class _CommandLine:
    """Collects arguments that one llama-server knows."""

    def __init__(self, program: LlamaServerProgram) -> None:
        self.arguments: list[str] = []
        self._program = program

    def add(self, *arguments: str) -> None:
        self.arguments += arguments

    def add_if_known(self, *flags: str) -> None:
        if (known := self._program.known(*flags)) is not None:
            self.add(known)

    def help_of(self, flag: str) -> str:
        """Return the description of an argument in `--help`; empty if the program does not know the argument."""
        return self._program.flags.get(flag, "")

    def name_of(self, option: str, *flags: str) -> str:
        """Return the name by which the program knows the argument for an option. Raises InputError if the program has no such argument."""
        wanted = flags or SET_BY_OPTIONS[option]
        known = self._program.known(*wanted)
        if known is None:
            raise InputError(
                f"The llama-server {self._program.name} cannot set {option}: it does not know {wanted[0]}.",
                hint=f"Leave {option} out, or use another llama-server.",
            )
        return known

    def takes(self, word: str, option: str, *flags: str) -> bool:
        return word in self.help_of(self.name_of(option, *flags)).partition(" ")[0]

    def option(self, option: str, value: str, *flags: str) -> None:
        """Add the argument for an option, under a name that the program knows, and its value."""
        self.add(self.name_of(option, *flags), value)


def _layers(number: int) -> str:
    """Return the argument for a number of layers on the GPU. -1 means all: any large number, in every version."""
    return "9999" if number < 0 else str(number)


def _add_files(line: _CommandLine, options: LlamaServerLoadOptions) -> None:
    if options.lora is not None:
        path, scale = str(_gguf(options.lora, "lora", "adapter", "a LoRA adapter")), f"{options.lora_scale:g}"
        if options.lora_scale == 1:
            line.option("lora", path)
        elif line.takes(":", "lora", "--lora-scaled"):
            line.option("lora", f"{path}:{scale}", "--lora-scaled")
        else:  # older versions take the path and the scale as two values
            line.add("--lora-scaled", path, scale)
    if options.mmproj is not None:
        line.option("mmproj", str(_gguf(options.mmproj, "mmproj", "mmproj", "an image encoder")))
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
    draft_model = _existing(options.draft_model, "draft_model")
    check_model(draft_model)
    line.option("draft_model", str(draft_model))
    if "draft-simple" in line.help_of("--spec-type"):
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
        open_regular_file(path).close()
    except (OSError, RuntimeError, ValueError) as error:  # an unknown home folder, a null character
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{option}: the file {named} cannot be read: {reason}.") from error
    return path


def _gguf(named: str, option: str, kind: str, title: str) -> Path:
    """Return the path of a GGUF file of this kind. Raises InputError."""
    path = _existing(named, option)
    try:
        header = read_header(str(path))
    except GgufError as error:
        raise InputError(f"{option}: {path.name} {error}.") from error
    except OSError as error:
        raise InputError(f"{option}: {path} cannot be read: {error.strerror or error}.") from error
    if header.kind != kind and not (kind == "mmproj" and header.architecture == "clip"):
        raise InputError(f"{option}: {path.name} is not {title}.")
    return path
