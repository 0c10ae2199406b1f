"""The option `arguments` of a llama-server: arguments that no other option sets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from paragone import InputError

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
