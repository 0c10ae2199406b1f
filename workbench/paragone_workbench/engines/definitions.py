"""The options that every engine has, for conversations that are longer than the context."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import functools
import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Literal, TypeAlias, cast
from urllib.parse import urlsplit

from paragone import InputError, Json, Options, option
from paragone.files import repository_of
from paragone.options import OptionInfo, address_option, build, describe, parse
from paragone.texts import HIDDEN, is_key, without_keys
from paragone_workbench.text import is_utf8, visible

if TYPE_CHECKING:
    from paragone import Backend


_PROMPTS = "The prompts that were sent are compared."


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextOptions(Options):
    """Options that the application applies before it sends a prompt. These options need an engine that counts tokens."""

    overflow: Literal["error", "drop_oldest", "keep_last"] = option(
        "error",
        "If the conversation exceeds the context: refuse the prompt, drop the oldest turns, or keep only the last "
        "turns. The system prompt is always kept. An engine that cannot count tokens beforehand gets all turns.",
        same_answers=_PROMPTS,
    )
    keep_turns: int = option(
        4,
        "Number of earlier turns that overflow = keep_last keeps.",
        minimum=0,
        maximum=10_000,
        same_answers=_PROMPTS,
    )


def split_context_options(values: Mapping[str, Json]) -> tuple[ContextOptions, dict[str, Json]]:
    """Split options that take effect with each run into context options and options of the engine's backend."""
    names = {info.name for info in describe(ContextOptions)}
    own = {name: value for name, value in values.items() if name in names}
    return build(ContextOptions, own), {name: value for name, value in values.items() if name not in names}


BackendLookup: TypeAlias = "Callable[[str], Backend | None]"
"""Returns the backend of a given name, or None if it is not installed or cannot be used."""

IMPORTED = "imported"
"""The backend name of engines that cannot be opened, because their answers were imported from another program."""

_SPEC = re.compile(r"(?P<backend>[A-Za-z_]\w*):(?P<model>.*?)(?:@(?P<url>[A-Za-z][\w+.-]*://.*))?", re.DOTALL)
_URL = re.compile(r"[A-Za-z][\w+.-]*://")
_WORD = re.compile(r"[\w.+=~-]+")
"""Matches an option's value that is a single word: no path, no longer text."""
_BARE_SERVER = re.compile(r"(?P<model>[^/].*)@(?P<server>(?:[\w.-]+|\[[\da-fA-F:]+\]):\d{1,5}(?:/\S*)?)")
"""Matches a model, which is not an absolute path, followed by HOST:PORT instead of a URL."""


RENAME = "Rename the file, or make a link to it that has another name."
"""The hint for a file whose name is not UTF-8."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineDefinition:
    """A configured engine. The backend has not yet checked the options."""

    name: str
    backend: str
    model: str
    """A path, or the model's name at an endpoint."""
    python: str | None = None
    """Interpreter for a native engine's worker; None for the default interpreter."""
    address: str | None = None
    """The server's URL in an engine spec, or several separated by commas; otherwise an option has the URL."""
    options: Mapping[str, Json] = field(default_factory=dict)
    """Load and sampling options in one table, as the user wrote them."""

    def is_called_like(self, other: EngineDefinition) -> bool:
        """Return whether both definitions have the same name and backend: users then see them as one engine."""
        return (self.name, self.backend) == (other.name, other.backend)

    def has_model_of(self, other: EngineDefinition) -> bool:
        return (self.backend, self.model) == (other.backend, other.model)


class UnknownEngine(InputError):
    def __init__(self, text: str, *, hint: str) -> None:
        super().__init__(f"There is no engine {without_keys(text)!r}.", hint=hint)
        self.text = text


def from_spec(text: str) -> EngineDefinition | None:
    """Return the engine of a spec, `BACKEND:MODEL` or `BACKEND:MODEL@URL`, named after the model; None if it is not a spec.
    Raises InputError if the spec is not UTF-8, or its URL has no scheme: HOST:PORT would become part of the name."""
    if not is_utf8(text):
        raise InputError(f"The name {visible(text)} is not UTF-8 text.", hint=RENAME)
    match = _SPEC.fullmatch(text.strip())
    if match is None or not match["model"]:
        return None
    bare = None if match["url"] else _BARE_SERVER.fullmatch(match["model"])
    if bare is not None:
        raise InputError(
            f"{bare['server'].partition('/')[0]} is not a URL.",
            hint=without_keys(f"Write {match['backend']}:{bare['model']}@http://{bare['server']}"),
        )
    return engine_for_model(match["backend"], match["model"], match["url"])


def engine_for_model(backend: str, model: str, address: str | None = None) -> EngineDefinition:
    if address is not None:
        return EngineDefinition(
            name=PurePath(model).name or backend, backend=backend, model=model, address=address
        )
    model = expand_home(model)
    path = PurePath(model)
    if path.parent.name == "snapshots":
        path = PurePath(repository_of(model) or path)  # otherwise the engine's name would be a hash
    # a suffix like `.gguf` is removed; `.0bpw` belongs to a folder's name
    name = path.stem if path.suffix[1:].isalpha() else path.name
    return EngineDefinition(name=name or backend, backend=backend, model=model)


def without_literal_keys(definition: EngineDefinition) -> EngineDefinition:
    """Return the definition without API keys in its URLs and options. Invalid definitions are saved too, and may have keys."""
    options = {name: _without_key(value) for name, value in definition.options.items()}
    address = None if definition.address is None else without_keys(definition.address)
    return dataclasses.replace(definition, options=options, address=address)


def _without_key(value: Json) -> Json:
    """Return the value of an option without the keys in URLs; a text that is a key is hidden."""
    if isinstance(value, list | tuple):
        return [_without_key(item) for item in value]
    if not isinstance(value, str):
        return value
    if _URL.match(value):
        return without_keys(value)
    return HIDDEN if _WORD.fullmatch(value) and is_key(value) else value


def without_secrets(definition: EngineDefinition, backend: Backend | None) -> EngineDefinition:
    """Return the definition without its secret options; without all options if the backend is not installed."""
    if backend is None:
        return dataclasses.replace(without_literal_keys(definition), options={})
    secret = secret_options(backend)
    options = {name: value for name, value in definition.options.items() if name not in secret}
    return without_literal_keys(dataclasses.replace(definition, options=options))


def secret_options(backend: Backend) -> frozenset[str]:
    return _secret(cast("Hashable", backend.load_options), cast("Hashable", backend.sampling))


@functools.cache  # each run removes the secrets of its engine several times
def _secret(*kinds: type[Options]) -> frozenset[str]:
    return frozenset(info.name for kind in kinds for info in describe(kind) if info.secret)


def declared_options(backend: Backend) -> dict[str, tuple[type[Options], OptionInfo]]:
    """Return the options by name, each with the class that declares it: load options, sampling options, options of
    every engine."""
    kinds = (backend.load_options, backend.sampling, ContextOptions)
    return {info.name: (kind, info) for kind in kinds for info in describe(kind)}


def address_of(definition: EngineDefinition, backend: Backend | None) -> str | None:
    if definition.address is not None or backend is None:
        return definition.address
    option = address_option(backend.load_options)
    address = definition.options.get(option.name) if option is not None else None
    return address if isinstance(address, str) else None


def server_of(definition: EngineDefinition, backend: Backend | None) -> str:
    """Return HOST:PORT of the engine's server; empty if the definition names no server."""
    try:
        return urlsplit(address_of(definition, backend) or "").netloc.rpartition("@")[2]
    except ValueError:  # not a URL: the backend reports the mistake
        return ""


def to_spec(definition: EngineDefinition, backend: Backend | None) -> str:
    """Return the engine spec of a definition: backend, model and server, without its other options."""
    address = address_of(definition, backend)
    return f"{definition.backend}:{definition.model}" + (f"@{address}" if address else "")


def resolve(text: str, engines: Mapping[str, EngineDefinition]) -> EngineDefinition:
    """Return the engine with this name, else the engine of this spec. Raises UnknownEngine if `text` is neither, and
    InputError."""
    found = engines.get(text) or from_spec(text)
    if found is None:
        hint = suggest(text, engines) if engines else "No engines are defined yet."
        raise UnknownEngine(text, hint=f"{hint} To use an engine that is not defined, write BACKEND:MODEL.")
    return found


def resolve_all(
    texts: Iterable[str], engines: Mapping[str, EngineDefinition]
) -> tuple[EngineDefinition, ...]:
    """Resolve several engines and give each a unique name: `smol`, `smol-2` …. Raises InputError."""
    definitions = [resolve(text, engines) for text in texts]
    taken = {definition.name for definition in definitions}
    chosen: dict[str, EngineDefinition] = {}
    for definition in definitions:
        own = definition.name
        name = next(
            name for name in numbered(own) if name not in chosen and (name == own or name not in taken)
        )
        chosen[name] = dataclasses.replace(definition, name=name)
    return tuple(chosen.values())


def numbered(name: str) -> Iterator[str]:
    """Yield the name, then the name with the numbers 2, 3 …: `smol`, `smol-2`, `smol-3` …."""
    yield name
    yield from (f"{name}-{number}" for number in count(2))


def apply_settings(
    definition: EngineDefinition, backend: Backend, settings: Iterable[str]
) -> EngineDefinition:
    """Return the definition with options overridden by `key=value` settings. Raises InputError."""
    options: dict[str, Json] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        key = key.strip()
        if not equals or not key:
            raise InputError(
                f"{setting!r} is not a setting.", hint="Write key=value, for example temperature=0.2"
            )
        kind = _declaring_class(definition, backend, key)
        options[key] = parse(kind, key, text, owner=f"the engine {definition.name!r}")
    return with_options(definition, options, backend)


def settings_of(name: str, settings: Iterable[str], names: Iterable[str]) -> list[str]:
    """Return an engine's settings as `key=value`. A setting is `key=value` for all engines, or `NAME.key=value` for one."""
    own: list[str] = []
    known = set(names)
    for setting in settings:
        key, equals, value = setting.partition("=")
        engine, _, option = key.strip().rpartition(".")  # a name may contain dots, an option does not
        if engine not in known:
            own.append(setting)
        elif engine == name:
            own.append(f"{option}{equals}{value}")
    return own


def with_options(
    definition: EngineDefinition, options: Mapping[str, Json], backend: Backend | None
) -> EngineDefinition:
    """Return the definition with these options, which override its own. A server's URL replaces the spec's address."""
    address = None if backend is None else address_option(backend.load_options)
    replaced = address is not None and address.name in options
    return dataclasses.replace(
        definition,
        options={**definition.options, **options},
        address=None if replaced else definition.address,
    )


def load_and_sampling_options(
    definition: EngineDefinition, backend: Backend
) -> tuple[dict[str, Json], dict[str, Json]]:
    """Return the load options of an engine, and those that take effect with each run. Raises InputError."""
    load: dict[str, Json] = {}
    sampling: dict[str, Json] = {}
    for key, value in definition.options.items():
        kind = _declaring_class(definition, backend, key)
        build(kind, {key: value}, owner=f"the engine {definition.name!r}")
        (load if kind is backend.load_options else sampling)[key] = value
    if definition.address is not None:
        option = address_option(backend.load_options)
        if option is None:
            raise InputError(
                f"The engine {definition.name!r} names the server {without_keys(definition.address)}, but "
                f"{backend.title} does not use servers.",
                hint="Remove the @ and the URL.",
            )
        load[option.name] = definition.address
    return load, sampling


def check_engine(definition: EngineDefinition, backend: Backend) -> None:
    """Check each of an engine's options, and whether they fit together. Raises InputError, and EngineError if the backend
    fails."""
    from paragone_workbench.engines.failures import naming  # loads asyncio, which definitions do not need

    load, _ = load_and_sampling_options(definition, backend)
    with naming(backend.name):
        backend.check(definition.model, load)


def expand_home(path: str) -> str:
    """Return the path with a leading `~` or `~USER` replaced by the home folder; unchanged if there is no such user."""
    with contextlib.suppress(RuntimeError):
        return str(Path(path).expanduser()) if path.startswith("~") else path
    return path


def shorten_home(path: str) -> str:
    """Return the path with the user's home folder replaced by `~`; the opposite of `expand_home`."""
    home = f"{Path.home()}/"
    return f"~/{path.removeprefix(home)}" if path.startswith(home) else path


def suggest(name: str, known: Iterable[str]) -> str:
    """Return a hint that names the most similar of the known names, or all of them."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1)
    return f"Did you mean {near[0]!r}?" if near else f"Known names: {', '.join(names)}."


def _declaring_class(definition: EngineDefinition, backend: Backend, key: str) -> type[Options]:
    """Return which of the backend's option classes, load or sampling, declares this option."""
    declared = declared_options(backend)
    if key not in declared:
        raise InputError(
            f"The engine {definition.name!r} has no option {key!r}: its backend {backend.name} does not declare it.",
            hint=suggest(key, declared) if declared else "",
        )
    return declared[key][0]
