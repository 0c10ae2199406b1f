"""Find the llama-server to start, the arguments that it knows, the devices that it can compute on, and its command line."""

import asyncio
import contextlib
import importlib.util
import os
import re
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from paragone import EngineError, InputError, Json, ParagoneError, files, gguf, texts
from paragone.threads import OPENMP
from paragone.worker.process import output_of, passed_variables
from paragone_remote.llama_server.wheel import VERSION
from paragone_remote.options import LlamaServerLoadOptions, plain

_PATIENCE = 60.0
"""Seconds that a program may take to describe itself. Loading the libraries of a GPU from a cold disk is slow."""

_LONGEST = 1 << 20

_OUR_VARIABLES = re.compile(r"LLAMA_ARG_\w+|LLAMA_API_KEY")


async def program_output(command: tuple[str, ...], name: str, argument: str) -> str:
    """Return a program's output. Raises InputError if it is not a llama-server, EngineError if it fails or hangs."""
    try:
        status, printed = await output_of(
            [*command, argument],
            seconds=_PATIENCE,
            longest=_LONGEST,
            environment=child_environment(),
            errors=asyncio.subprocess.STDOUT,
        )
    except TimeoutError as error:
        raise EngineError(
            f"{name} did not answer {argument} within {_PATIENCE:.0f} seconds.", hint="Is it a llama-server?"
        ) from error
    except OSError as error:
        raise InputError(f"{name} cannot be started: {error.strerror}.", hint=_WRONG_BUILD) from error
    if len(printed) >= _LONGEST:
        raise InputError(f"{name} is not a llama-server: its output does not end.")
    if status != 0:
        raise _failed(name, argument, status, printed)
    return printed


def child_environment() -> dict[str, str]:
    passed = passed_variables()
    return {**OPENMP, **{name: value for name, value in passed.items() if not _OUR_VARIABLES.fullmatch(name)}}


_WRONG_BUILD = "The program may be for another system or processor, or need another loader."

_SET_PROGRAM = "Set the option program to the path of a llama-server."

_LIBRARY = re.compile(
    r"error while loading shared libraries: ([^\s:]+)|Library not loaded: (\S+)|version `(\S+)' not found"
)


def _failed(name: str, asked: str, status: int, printed: str) -> EngineError | InputError:
    if library := _LIBRARY.search(printed):
        missing = next(filter(None, library.groups()))
        return EngineError(
            f"{name} cannot be started: it needs {plain(missing)}, which was not found.",
            hint="Install that library, or name its folder in LD_LIBRARY_PATH.",
        )
    lines = [line for line in printed.splitlines() if line.strip()]
    last_line = f": {plain(lines[-1])}" if lines else ""
    if status < 0:
        with contextlib.suppress(ValueError):
            ended = signal.Signals(-status).name
            return EngineError(
                f"{name} was ended by {ended} when it was asked for {asked}{last_line}.", hint=_WRONG_BUILD
            )
    return InputError(
        f"{name} is not a llama-server, or does not work: {asked} ended with exit code {status}{last_line}.",
        hint=_SET_PROGRAM,
    )


_ENTRY = re.compile(r"(--?[A-Za-z][\w.-]*(?:,\s*--?[A-Za-z][\w.-]*)*)(.*)")


def read_flags(printed: str) -> Mapping[str, str]:
    """Return the value and description of each argument in `--help`, by its names, without removed arguments."""
    entries: list[tuple[str, list[str]]] = []
    for line in printed.splitlines():
        if entry := _ENTRY.match(line):
            entries.append((entry[1], [entry[2]]))
        elif entries and line[:1].isspace():
            entries[-1][1].append(line)
    found: dict[str, str] = {}
    for named, lines in entries:
        text = " ".join(" ".join(lines).split())
        if "the argument has been removed" not in text:
            found |= dict.fromkeys(re.split(r",\s*", named), text)
    return found


_NEEDED = ("--model", "--host", "--port", "--alias", "--api-key")

_PACKAGE = f"xllamacpp=={VERSION}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LlamaServerProgram:
    command: tuple[str, ...]
    name: str
    """The program's name for the user: its path, or the package that contains it."""
    flags: Mapping[str, str]
    key: tuple[object, ...]
    """The command, and the date and size of its file: a program with the same key is the same program."""


def find_program(named: str | None) -> tuple[tuple[str, ...], str]:
    """Return the command of the llama-server of the option `program`, and its name for the user. Raises InputError."""
    if named is not None:
        path = shutil.which(os.path.expanduser(named))  # noqa: PTH111 (a name without a folder is looked up on PATH)
        if path is None:
            there = os.path.exists(os.path.expanduser(named))  # noqa: PTH110, PTH111 (the user may not exist)
            why = "is not an executable file" if there else "was not found"
            raise InputError(
                f"The llama-server {plain(named)} {why}.",
                hint="Set the option program to the path of a llama-server, or to its name on PATH.",
            )
        return (path,), path
    if path := shutil.which("llama-server"):
        return (path,), path
    if importlib.util.find_spec("xllamacpp") is None:
        raise InputError(
            "No llama-server was found.",
            hint="Put a llama-server on PATH, set the option program to its path, or install the one in xllamacpp "
            f"with: {texts.pip_install(_PACKAGE)}",
        )
    installed = texts.installed_version("xllamacpp") or "an unknown version"
    if installed != VERSION:
        raise InputError(
            f"The llama-server of xllamacpp {VERSION} can be used, but {installed} is installed.",
            hint=f"Install it with: {texts.pip_install(_PACKAGE)}",
        )
    command = (sys.executable, "-P", "-m", "paragone_remote.llama_server.wheel")
    return command, f"xllamacpp {installed}"


async def read_program(command: tuple[str, ...], name: str) -> LlamaServerProgram:
    """Return the program with its arguments. Raises InputError if an argument that paragone needs is missing; see
    `program_output`."""
    status = Path(command[0]).stat()
    key = (command, status.st_mtime_ns, status.st_size)
    if (*key, "--help") not in _outputs:
        _outputs[*key, "--help"] = await program_output(command, name, "--help")
    flags = read_flags(_outputs[*key, "--help"])
    missing = [flag for flag in _NEEDED if flag not in flags]
    if len(missing) == len(_NEEDED):
        raise InputError(
            f"{name} is not a llama-server: its --help lists none of its arguments.", hint=_SET_PROGRAM
        )
    if missing:
        raise InputError(
            f"The llama-server {name} does not know {', '.join(missing)}, which paragone needs.",
            hint="Use a newer llama-server.",
        )
    return LlamaServerProgram(command=command, name=name, flags=flags, key=key)


_DEVICE = re.compile(r"^\s+(\w[^:\n]*): (.+?)(?: \(\d+ MiB, \d+ MiB free\))?$", re.MULTILINE)
_HEADING = "Available devices:"
_VERSION = re.compile(r"version: (\S+(?: \([^)]*\))?)")

_BUILD = {
    "version": re.compile(r"^version: (\d+\.\d\S*)", re.MULTILINE),
    "commit": re.compile(r"^version: .*?\((?:build \d+, commit )?([0-9a-f]{7,40})\)", re.MULTILINE),
    "compiler": re.compile(r"^built with (.+) for \S+(?: \S+)?$", re.MULTILINE),
}
"""Patterns of standard facts (`paragone.facts`) in the output of `--version` (llama.cpp's common/build-info.cpp)."""

_outputs: dict[tuple[object, ...], str] = {}
"""The output of programs, by `LlamaServerProgram.key` and the argument."""


async def devices_of(program: LlamaServerProgram) -> tuple[str, ...]:
    """Return the names of the devices that `--list-devices` prints; none if the program lists no devices."""
    return _devices_in(await printed(program, "--list-devices")) if "--list-devices" in program.flags else ()


async def printed(program: LlamaServerProgram, argument: str) -> str:
    key = (*program.key, argument)
    if key not in _outputs:
        _outputs[key] = ""  # if the call fails: starting the server reports the reason
        with contextlib.suppress(ParagoneError):
            _outputs[key] = await program_output(program.command, program.name, argument)
    return _outputs[key]


def facts_in_version(printed: str) -> dict[str, str]:
    matches = {name: pattern.search(printed) for name, pattern in _BUILD.items()}
    return {name: plain(match[1]) for name, match in matches.items() if match}


async def facts_of_program(command: tuple[str, ...], name: str) -> dict[str, str]:
    """Return a program, its version and its devices, as facts for the user. Raises the same errors as `program_output`."""
    listed = await program_output(command, name, "--list-devices")
    if _HEADING not in listed:
        raise InputError(f"{name} is not a llama-server: it lists no devices.", hint=_SET_PROGRAM)
    version = _VERSION.search(await program_output(command, name, "--version"))
    return {
        "program": name,
        "version": version[1] if version else "unknown",
        "devices": ", ".join(_devices_in(listed)) or "CPU",
    }


def _devices_in(printed: str) -> tuple[str, ...]:
    listed = printed.partition(_HEADING)[2]
    return tuple(f"{plain(name)}: {plain(what)}" for name, what in _DEVICE.findall(listed))


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
    """Check the option `arguments`, as far as possible without the program. Raises InputError."""
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
                f"The option 'arguments' has {name}: a llama-server that paragone starts does not download models.",
                hint="Download the file, and name its path.",
            )
        if name in _OURS:
            raise InputError(
                f"The option 'arguments' has {name}, which paragone sets itself.", hint="Remove it."
            )
        if option := next((option for option, flags in SET_BY_OPTIONS.items() if name in flags), None):
            raise InputError(f"The option 'arguments' has {name}.", hint=f"Set the option {option} instead.")


def names_in(arguments: Sequence[str]) -> Iterator[str]:
    """Yield the arguments that are names. An argument such as -1 is a number, and thus a value."""
    for argument in arguments:
        if argument.startswith("-") and not argument[1:2].isdigit():
            yield argument


def command_line(
    options: LlamaServerLoadOptions, program: LlamaServerProgram, *, model: Path, alias: str, threads: int
) -> list[str]:
    """Return the arguments of a server for these options, except the server's address. Raises InputError."""
    gguf.check_load_options(options)
    check_arguments(options.arguments)
    arguments = ["--model", str(model), "--alias", alias, "-t", str(threads), "-tb", str(threads)]
    # /slots reports whether a request waits
    switches = [("--offline",), ("--slots",), ("--no-ui", "--no-webui")]
    switches += [] if options.mmproj else [("--no-mmproj",)]
    switches += [("--jinja",)] if options.chat_template else []
    for names in switches:
        arguments += [name for name in names if name in program.flags][:1]
    if "trace" in program.flags.get("-lv", ""):
        arguments += ["-lv", "4"]  # log also llama.cpp's own lines, which have the active settings
    if options.n_batch is not None:
        arguments += ["-b", str(options.n_batch), "-ub", str(options.n_batch)]
    if options.main_gpu is not None:
        arguments += ["--split-mode", "none"]
    if options.draft_model and "draft-simple" in program.flags.get("--spec-type", ""):
        arguments += ["--spec-type", "draft-simple"]
    for option, (value, *wanted) in _values(options).items():
        if value in (None, ""):
            continue
        wanted = wanted or [*SET_BY_OPTIONS[option]]
        known = next((name for name in wanted if name in program.flags), None)
        if known is None:
            raise InputError(
                f"The llama-server {program.name} cannot set {option}: it does not know {wanted[0]}.",
                hint=f"Omit {option}, or use another llama-server.",
            )
        arguments += [known, f"{value:g}" if isinstance(value, float) else str(value)]
    for name in names_in(options.arguments):
        if name not in program.flags:
            raise InputError(
                f"The llama-server {program.name} does not know {name}, which is in the option 'arguments'.",
                hint="The program's --help lists the arguments that it knows.",
            )
    return [*arguments, *options.arguments]


def _values(options: LlamaServerLoadOptions) -> dict[str, tuple[Json, *tuple[str, ...]]]:
    """Return the value of the argument for each option, and the argument's names if they are not in `SET_BY_OPTIONS`.
    The value of an option that is not set is None or empty. Checks the files of the options. Raises InputError."""
    drafts: dict[str, tuple[Json, *tuple[str, ...]]] = {
        "draft_max": (options.draft_max,),
        "draft_min": (options.draft_min,),
        "draft_p_min": (options.draft_p_min,),
        "draft_gpu_layers": (_layers(options.draft_gpu_layers),),
    }
    if options.draft_model is None:
        for name, (value, *_) in drafts.items():
            if value is not None:
                raise InputError(f"The option '{name}' is set, but not draft_model.")
    else:
        draft_model = _existing(options.draft_model, "draft_model")
        gguf.check_model(draft_model)
        drafts["draft_model"] = (str(draft_model),)
    lora: tuple[Json, *tuple[str, ...]] = (None,)
    if options.lora is not None:
        path = gguf.check_file(options.lora, "lora", "adapter", "a LoRA adapter")
        scale = options.lora_scale
        lora = (str(path),) if scale == 1 else (f"{path}:{scale:g}", "--lora-scaled")
    mmproj = options.mmproj and str(gguf.check_file(options.mmproj, "mmproj", "mmproj", "an image encoder"))
    template: tuple[Json, *tuple[str, ...]] = (options.chat_template,)
    if options.chat_template and options.chat_template.startswith("@"):
        file = _existing(options.chat_template[1:], "chat_template")
        template = (str(file), "--chat-template-file")
    return {
        "n_parallel": (options.n_parallel,),
        "n_ctx": (options.n_ctx and options.n_ctx * options.n_parallel,),
        "n_gpu_layers": (_layers(options.n_gpu_layers),),
        "main_gpu": (options.main_gpu,),
        "tensor_split": (",".join(f"{share:g}" for share in options.tensor_split),),
        "rpc_servers": (",".join(options.rpc_servers),),
        "type_k": (None if options.type_k == "f16" else options.type_k,),
        "type_v": (None if options.type_v == "f16" else options.type_v,),
        "flash_attn": (None if options.flash_attn == "auto" else options.flash_attn,),
        "lora": lora,
        "mmproj": (mmproj,),
        "chat_template": template,
        **drafts,
    }


def _layers(number: int | None) -> int | None:
    """Return the argument for a number of layers on the GPU. -1 means all: any large number, in every version."""
    return 9999 if number is not None and number < 0 else number


def _existing(named: str, option: str) -> Path:
    try:
        path = Path(named).expanduser().absolute()
        files.open_regular_file(path).close()
    except (OSError, RuntimeError, ValueError) as error:  # an unknown home folder, a null character
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{option}: the file {named} cannot be read: {reason}.") from error
    return path
