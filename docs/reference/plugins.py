"""The page of the plugin interface, from its declarations and docstrings."""

import ast
import dataclasses
import inspect
import re
from collections.abc import Iterator

import paragone
from paragone import assertions, callbacks, crash_causes, shared_options, worker
from paragone.testing import BackendConformance
from paragone.testing.runs import ConformanceFixtures

HEAD = """# The plugin interface

`make reference` writes this page from the declarations and docstrings of the package `paragone`, which imports the standard
library only. [Write a plugin](plugins.md) explains how to use them. Everything here is version 2 of the interface
(`api_version`).

A field with `=` has a default. None stands for an unknown value: report nothing that you do not know. Durations are in
seconds, sizes in bytes, and times are `time.monotonic()` in the process in which the event happened."""

OPTION_TYPES = """
| type | example |
| --- | --- |
| `bool`, `int`, `float`, `str` | `n_batch: int = option(512, "Prompt tokens to process concurrently.", minimum=1)` |
| `Literal` of strings | `cache: Literal["f16", "q8"] = option("f16", "Number type of the KV cache.")` |
| several of these | `thinking: bool \\| Literal["low", "high"] \\| int \\| None = THINKING_BUDGET(None)` |
| `tuple[T, ...]` of one of these | `stop: tuple[str, ...] = option((), "Stop sequences; excluded from the output.")` |
| `Mapping[str, Json]`, a JSON object | `schema: Mapping[str, Json] \\| None = option(None, "The JSON Schema.")` |
| any of these `\\| None` | `seed: int \\| None = option(None, "Seed; by default a new one for each run.")` |

The arguments of `option`:
"""

OPTION_NAMES = """
Options that have the same meaning have the same name in every backend: `max_tokens`, `temperature`, `top_k`, `top_p`, `min_p`,
`repeat_penalty`, `seed`, `stop` and others are declared in `paragone.shared_options`. Subclass `SamplingOptions` if your library
has all of them, or select some of them with defaults of your own: `min_p: float = MIN_P(0.05)`. paragone uses some names:

| name | use |
| --- | --- |
| `max_tokens` | the limits of `ask`, suites and `bench` |
| `seed` | lanes and engines of a comparison get one seed |
| `json_schema` (`JSON_SCHEMA`) | structured output; `paragone.json_values` reads and checks the value |
| `thinking` | `shared_options.thinking_choice` returns what a value means: on, off, an effort, or a budget |
| `ignore_eos` | `paragone bench` generates exactly the requested number of tokens |
| `type_k` and `type_v`, or `cache_type` | `paragone fidelity --kv` sets the number type of the KV cache |
"""

CAPABILITIES = """
Set a capability in `Backend.capabilities`, and override its method; if it depends on the model or the server, set all
capabilities of the engine in `LoadedModel.capabilities`. Without the capability, do not override the method: the inherited one
raises an `EngineError`.
"""

CAPABILITY_RULES = """
| capability | rules |
| --- | --- |
| `logprobs` | `Token.logprob` and `Token.top` only as `RunRequest.logprobs` requests them |
| `tokenize` | as many ids as the run reports `prompt_tokens` |
| `score` | `PromptProgress` over all tokens to compute, a `Token` with `logprob` and `n_bytes` for each token, and a `Finish` |
| `distributions`, `top_tokens` | need `tokenize` and `vocabulary`. Keep blocks of logits at a few MiB |
| `embeddings` | the vector of a text does not depend on the other texts, except for rounding. Document how a vector is computed: from which states, pooled how, of which length |
| `estimate` | for a native engine a class method, called in a worker of its own. `paragone fit` plans other GPUs by `MemoryEstimate.layout`, the largest context by `trained_context` and the load option that has `fact="context"`, and other quantizations by `parameters` and `Backend.quantizations` |
| `seed` | there is a sampling option `seed`. Draw the seed yourself if none is set (`with_seed`), so that every run can be repeated |
| `continues` | the events have the new text only. `paragone.chat_prompt.PromptMaker` makes such prompts |
| `loads` | `close` waits until the memory is free, and returns a `Caution` if the model stays in memory. With the mode `swap`, the application closes such an engine before it opens another one at the same server |
"""

EVENTS = """
A run yields its events in this order: `RunSettings` and `Queued` first, `PromptProgress` before the first token (in a score
between tokens too), `Token` for each piece of text, and one `Finish` at the end. A `Caution` can come at any time.
"""

CAUTIONS = """
The codes of cautions. Reuse a code where it fits; if none fits, invent one in lower case with dashes. Programs ignore unknown
codes. Codes with a star come from the application.

| code | meaning |
| --- | --- |
| `no-chat-template` | the model has no chat template; the text of the messages is completed as it is |
| `assumed-chat-template` | the server uses a chat template of its own choice for a model that may have none |
| `context-reduced` | the context window is smaller than the model's or the requested one |
| `beyond-trained-context` | the context window is larger than the one that the model was trained for |
| `context-full` | the answer ended because the context is full |
| `context-shifted` | the server dropped the beginning of the conversation during the answer |
| `truncated` | the server cut the prompt |
| `server-changed` | the server or its model is not the one that the engine was opened with |
| `may-change-requests` | a program between paragone and the server can change requests without notice |
| `may-truncate` | this server can cut a long prompt without notice |
| `stays-loaded` | returned by `close`: a server keeps the model in memory, because others had loaded it |
| `not-unloaded` | returned by `close`: the server did not unload the model in time |
| `others-unloaded` | to load this model, the server has unloaded another one |
| `memory-not-freed` | *the memory of a closed engine did not come back in time |
| `no-log` | *what the engine's process prints is not saved, because no log file could be created |
| `turns-dropped` | *the oldest messages were omitted, because the user set `overflow` |
| `images-left-out` | *the model does not see images, and those of earlier messages were omitted |
| `many-cautions` | *the engine sent more than 100 warnings, and the others are not kept |
| `may-not-see` | it is unknown whether the model sees images |
| `may-not-continue` | the server may begin a new answer instead of continuing the last one |
| `not-cold` | the server may have reused its KV cache, though the run was to be cold |
| `no-logprobs` | log-probabilities were requested, and the server gave none |
| `option-refused` | the server does not accept an option, which was omitted |
| `schema-ignored` | the answer is not JSON, though a JSON schema was requested |
| `filtered` | a filter of the server ended the answer |
| `thinking-in-answer` | the answer contains thinking that could not be separated |
| `retried` | a request failed and was sent again |
| `reloaded` | the server loaded the model first, which is part of the time to the first token |
| `no-gpu` | a GPU is present or was requested, and the library cannot use it |
| `unpaged` | without paged attention, only the latest conversation is kept in the KV cache |
"""

FACTS = """
`LoadedModel.facts` describes the open model for the user. Facts under these names (`paragone.facts.STANDARD_FACTS`) are compared
with the facts of other engines, so that the user learns why two answers differ ([compare.md](compare.md#was-it-fair)). Omit unknown facts. If
a load option sets a fact, declare it with the option (`option(…, fact="batch size")`) and report the fact in the notation of
the option: paragone then offers to set the option. A sampling option that has another name in other backends has that name as
its `fact`: Ollama's `repeat_last_n` has `fact="penalty_last_n"`.

| fact | value |
| --- | --- |
| `context`, `quantization`, `architecture` | fields of `LoadedModel` |
| `parameters` | number of weights, as digits |
| `LoRA adapter` | its file and its strength, or `none` |
| `other samplers` | the active samplers that no option sets, such as `mirostat 2`, or `none` |
| `chat template` | its source |
| `flash attention` | `on` or `off` |
| `batch size` | prompt tokens that are computed concurrently, as digits |
| `K cache`, `V cache` | number types of the KV cache, such as `f16` |
| `layers on a GPU` | `30 of 31`, or `none` |
| `threads` | CPU threads at opening, as digits; `RunSettings.threads` takes precedence |
| `program` | the program that computes, without its version: `llama.cpp`, `Ollama` |
| `origin` | where the program is installed: a package and its version, a file, an environment, or the address of a server. Engines with the same origin have the same build |
| `version`, `commit`, `compiler` | version, commit (without `-dirty`) and compiler of the program |
| `instructions` | the processor's instructions that the program uses, by the program's names: `AVX, AVX2, FMA` |
| `launch arguments` | the arguments that a server was started with, without addresses, keys and the model |
"""

HELPERS = """
| module | what it has |
| --- | --- |
| `paragone.options` | `build`, which checks the values of a request, and `as_values`, the inverse |
| `paragone.chat_template` | `ChatTemplate`, which renders a model's Jinja chat template in a sandbox with limits of time and memory; needs jinja2 |
| `paragone.chat_prompt` | `PromptMaker`, which makes prompts that fit in the context, or raises a `ContextOverflow` |
| `paragone.answer_text` | `AnswerText`, which turns pieces of tokens into events: whole characters, no stop sequences, thinking on its own channel |
| `paragone.threads` | `physical_cores`, and `run_in_thread` |
| `paragone.files` | the folders of Hugging Face's cache |
| `paragone.gguf` | the header of GGUF files |
"""

FUNCTIONS = {
    "paragone.callbacks.stream": callbacks.stream,
    "paragone.shared_options.with_seed": shared_options.with_seed,
    "paragone.fingerprint": paragone.fingerprint,
}

Entry = type | str
SECTIONS: dict[str, tuple[Entry, ...]] = {
    "Backends": (
        paragone.Backend,
        worker.NativeBackend,
        paragone.Probe,
        paragone.ModelInfo,
        paragone.EndpointReport,
        paragone.PullProgress,
        crash_causes.CrashCause,
    ),
    "Engines": (paragone.OpenEngine, paragone.ServerEngine, paragone.Engine, paragone.Cancelled),
    "Capabilities": (CAPABILITIES, paragone.Capabilities, CAPABILITY_RULES),
    "Options": (paragone.Options, OPTION_TYPES, "option", OPTION_NAMES),
    "Requests": (
        paragone.OpenRequest,
        paragone.RunRequest,
        paragone.Message,
        paragone.Image,
        paragone.TokenizeRequest,
        paragone.ScoreRequest,
        paragone.DistributionsRequest,
        paragone.TopTokensRequest,
        paragone.EmbedRequest,
    ),
    "Events": (
        EVENTS,
        paragone.RunSettings,
        paragone.Queued,
        paragone.PromptProgress,
        paragone.Token,
        paragone.Alternative,
        paragone.Caution,
        paragone.Finish,
        paragone.Usage,
        paragone.Timings,
        paragone.LoadProgress,
    ),
    "Cautions": (CAUTIONS,),
    "Open models": (paragone.LoadedModel, paragone.WeightsFile),
    "Standard facts": (FACTS,),
    "Other results": (
        paragone.TokenizedText,
        paragone.LogitsBlock,
        paragone.Vocabulary,
        paragone.Embeddings,
        paragone.MemoryEstimate,
        paragone.DeviceMemory,
        paragone.ModelLayout,
        paragone.ModelPart,
    ),
    "Errors": (
        paragone.ParagoneError,
        paragone.InputError,
        paragone.ContextOverflow,
        paragone.EngineError,
        paragone.EngineCrashed,
    ),
    "Helpers": (HELPERS, *FUNCTIONS),
    "Assertions": (
        assertions.Assertion,
        assertions.Answer,
        assertions.Verdict,
        assertions.Judge,
        assertions.NoVerdict,
    ),
    "The conformance suite": (ConformanceFixtures, "checks"),
}
"""The sections of the page: classes, functions by their names, and text."""


def page() -> str:
    """Return the page."""
    return "\n".join([HEAD, *_sections()]) + "\n"


def _sections() -> Iterator[str]:
    for title, entries in SECTIONS.items():
        yield f"\n## {title}"
        for entry in entries:
            if isinstance(entry, type):
                yield from _class(entry)
            elif entry == "checks":
                yield from _checks()
            elif entry == "option" or entry in FUNCTIONS:
                yield from _function(entry)
            else:
                yield entry.rstrip("\n")


def _class(kind: type) -> Iterator[str]:
    text, fields = _parsed(inspect.getdoc(kind) or "")
    bases = [base.__name__ for base in kind.__bases__ if base.__module__.startswith("paragone")]
    yield f"\n### {kind.__name__}\n"
    yield _joined(text) + (f" A subclass of `{bases[0]}`." if bases else "")
    if fields:
        yield from _table(("field", "meaning"), ((_field(kind, name), doc) for name, doc in fields.items()))
    methods = {
        name: member
        for name, member in vars(kind).items()
        if (inspect.isfunction(member) or isinstance(member, classmethod | property)) and member.__doc__
        if not name.startswith("_") or name == "__bool__"
    }
    if methods:
        rows = (
            (f"`{_signature(name, it)}`", _joined(inspect.getdoc(it) or "")) for name, it in methods.items()
        )
        yield from _table(("method", "what it does"), rows)


def _function(name: str) -> Iterator[str]:
    function = FUNCTIONS.get(name, paragone.option)
    text, arguments = _parsed(inspect.getdoc(function) or "")
    if name in FUNCTIONS:
        yield f"\n### {name}\n"
        yield _joined(text)
    if arguments:
        yield from _table(("argument", "meaning"), ((f"`{key}`", doc) for key, doc in arguments.items()))


def _checks() -> Iterator[str]:
    checks = [
        (f"`{name}`", _joined(inspect.getdoc(member) or ""))
        for base in reversed(BackendConformance.__mro__)
        for name, member in vars(base).items()
        if name.startswith("test_")
    ]
    yield from _table(("check", "what holds"), checks)


def _table(head: tuple[str, str], rows: Iterator[tuple[str, str]] | list[tuple[str, str]]) -> Iterator[str]:
    yield f"\n| {head[0]} | {head[1]} |"
    yield "| --- | --- |"
    for first, second in rows:
        yield f"| {_cell(first)} | {_cell(second)} |"


def _parsed(doc: str) -> tuple[str, dict[str, str]]:
    """Return the text of a docstring, and the entries of its section `Attributes` or `Args`."""
    text, _, entries = re.sub(r"\n(Attributes|Args):\n", "\0", doc).partition("\0")
    entries, _, rest = entries.partition("\n\nReturns:\n")
    found = re.findall(r"^    (\w+): (.*(?:\n     .*)*)", entries, re.MULTILINE)
    returned = f"\nReturns {rest.strip()[0].lower()}{rest.strip()[1:]}" if rest else ""
    return text + returned, {name: _joined(it) for name, it in found}


def _joined(text: str) -> str:
    return " ".join(text.split())


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _field(kind: type, name: str) -> str:
    """Return a field as its class declares it, or only its name if the class is not a dataclass."""
    if not dataclasses.is_dataclass(kind):
        return f"`{name}`"
    (tree,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(tree, ast.ClassDef)
    (declared,) = (
        node for node in tree.body if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == name
    )
    shown = ast.unparse(declared).replace("field(default_factory=dict)", "{}").replace("'", '"')
    shown = re.sub(r"\b(?:events|requests)\.", "", shown)
    return f"`{shown}`"


def _signature(name: str, member: object) -> str:
    if isinstance(member, property):
        return name
    function = member.__func__ if isinstance(member, classmethod) else member
    assert inspect.isfunction(function)
    arguments = [str(it) for it in inspect.signature(function).parameters if it not in ("self", "cls")]
    awaited = "async " if inspect.iscoroutinefunction(function) else ""
    return f"{awaited}{name}({', '.join(arguments)})"
