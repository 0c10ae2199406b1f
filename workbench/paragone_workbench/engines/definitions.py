"""Engine definitions: a backend, a model and its options, under a name."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from urllib.parse import urlsplit

from paragone import Backend, InputError, Json, Options
from paragone.options import address_option, build, describe, parse

__all__ = [
    "EngineDefinition",
    "address_of",
    "apply_settings",
    "check_engine",
    "choose",
    "expand_home",
    "from_spec",
    "nearest",
    "on_the_spot",
    "resolve",
    "secret_options",
    "server_of",
    "split_options",
    "to_keep",
    "with_options",
    "without_password",
    "without_secrets",
    "written",
]

_SPEC = re.compile(r"(?P<backend>[A-Za-z_]\w*):(?P<model>.*?)(?:@(?P<url>[A-Za-z][\w+.-]*://.*))?", re.DOTALL)
_PASSWORD = re.compile(r"([A-Za-z][\w+.-]*://)[^/?#\s]*@")
"""A URL's beginning, and who is to be let in there."""
_BARE_SERVER = re.compile(r"(?P<model>[^/].*)@(?P<server>(?:[\w.-]+|\[[\da-fA-F:]+\]):\d{1,5}(?:/\S*)?)")
"""A model that is no absolute path, and HOST:PORT where a URL belongs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineDefinition:
    """A configured way to get answers. Nothing in it is checked against the backend yet."""

    name: str
    backend: str
    model: str
    """A path, or the model's name at an endpoint."""
    python: str | None = None
    """Interpreter for a native engine's worker; None for the program's own."""
    address: str | None = None
    """URL of its server, where the engine was written on the spot; otherwise an option has it."""
    options: Mapping[str, Json] = field(default_factory=dict)
    """Load and sampling options in one table, as the user wrote them."""


def from_spec(text: str) -> EngineDefinition | None:
    """Return the engine that is written on the spot, or None where `text` is no such thing.

    `BACKEND:MODEL`, or `BACKEND:MODEL@URL` where an endpoint is meant. The engine is named after the
    model. Raises InputError where a server is named without its scheme: the model would be looked for
    at another one.
    """
    match = _SPEC.fullmatch(text.strip())
    if match is None or not match["model"]:
        return None
    bare = None if match["url"] else _BARE_SERVER.fullmatch(match["model"])
    if bare is not None:
        raise InputError(
            f"{bare['server']} is no URL.",
            hint=f"Write {match['backend']}:{bare['model']}@http://{bare['server']}",
        )
    return on_the_spot(match["backend"], match["model"], match["url"])


def on_the_spot(backend: str, model: str, address: str | None = None) -> EngineDefinition:
    """Return the engine of a model that no config names: it is named after the model."""
    if address is not None:
        return EngineDefinition(
            name=PurePath(model).name or backend, backend=backend, model=model, address=address
        )
    model = expand_home(model)
    path = PurePath(model)
    # `.gguf` goes; the `.0bpw` of a folder's name is part of it
    name = path.stem if path.suffix[1:].isalpha() else path.name
    return EngineDefinition(name=name or backend, backend=backend, model=model)


def to_keep(definition: EngineDefinition) -> EngineDefinition:
    """Return the engine as it may be written to disk: with no password in a URL of its options."""
    options = {
        name: without_password(value) if isinstance(value, str) and _PASSWORD.match(value) else value
        for name, value in definition.options.items()
    }
    address = None if definition.address is None else without_password(definition.address)
    return dataclasses.replace(definition, options=options, address=address)


def without_secrets(definition: EngineDefinition, backend: Backend | None) -> EngineDefinition:
    """Return the engine as it may be shown or exported: without options that its backend calls secret.

    Where the backend is not installed, no option is kept.
    """
    if backend is None:
        return dataclasses.replace(to_keep(definition), options={})
    secret = secret_options(backend)
    options = {name: value for name, value in definition.options.items() if name not in secret}
    return to_keep(dataclasses.replace(definition, options=options))


def secret_options(backend: Backend) -> frozenset[str]:
    """Return the names of the options that hold a secret, or say how one is had."""
    kinds = (backend.load_options, backend.sampling)
    return frozenset(info.name for kind in kinds for info in describe(kind) if info.secret)


def address_of(definition: EngineDefinition, backend: Backend | None) -> str | None:
    """Return the URL of the server that the engine names; None where it names none."""
    if definition.address is not None or backend is None:
        return definition.address
    option = address_option(backend.load_options)
    address = definition.options.get(option.name) if option is not None else None
    return address if isinstance(address, str) else None


def server_of(definition: EngineDefinition, backend: Backend | None) -> str:
    """Return HOST:PORT of the server that the engine names; empty where it names none."""
    try:
        return urlsplit(address_of(definition, backend) or "").netloc.rpartition("@")[2]
    except ValueError:  # no URL; its backend says so
        return ""


def written(definition: EngineDefinition, backend: Backend | None) -> str:
    """Return the engine as it is written on the spot, without its other options."""
    address = address_of(definition, backend)
    return f"{definition.backend}:{definition.model}" + (f"@{address}" if address else "")


def without_password(text: str) -> str:
    """Return a URL, or an engine written on the spot, without the user's name and password in it."""
    return _PASSWORD.sub(r"\1", text)


def resolve(text: str, engines: Mapping[str, EngineDefinition]) -> EngineDefinition:
    """Return the engine that a user means: a defined one's name, else one written on the spot.

    Raises InputError.
    """
    found = engines.get(text) or from_spec(text)
    if found is None:
        hint = nearest(text, engines) if engines else "None is defined in config.toml yet."
        raise InputError(
            f"There is no engine {text!r}.",
            hint=f"{hint} One can be written on the spot, too, as BACKEND:MODEL.",
        )
    return found


def choose(texts: Iterable[str], engines: Mapping[str, EngineDefinition]) -> tuple[EngineDefinition, ...]:
    """Resolve several engines and give each a name of its own: `smol`, `smol-2` …. Raises InputError."""
    chosen: list[EngineDefinition] = []
    definitions = [resolve(text, engines) for text in texts]
    taken = {definition.name for definition in definitions}
    used: set[str] = set()
    for definition in definitions:
        name, number = definition.name, 1
        while name in used or (number > 1 and name in taken):
            number += 1
            name = f"{definition.name}-{number}"
        used.add(name)
        chosen.append(dataclasses.replace(definition, name=name))
    return tuple(chosen)


def apply_settings(
    definition: EngineDefinition, backend: Backend, settings: Iterable[str]
) -> EngineDefinition:
    """Return the engine with `key=value` settings, as typed on a command line, over its options.

    Raises InputError.
    """
    options = dict(definition.options)
    address = definition.address
    for setting in settings:
        key, equals, text = setting.partition("=")
        key = key.strip()
        if not equals or not key:
            raise InputError(
                f"{setting!r} is no setting.", hint="Write key=value, for instance temperature=0.2"
            )
        kind = _home(definition, backend, key)
        options[key] = parse(kind, key, text, owner=f"the engine {definition.name!r}")
        if any(info.name == key and info.address for info in describe(kind)):
            address = None
    return dataclasses.replace(definition, options=options, address=address)


def with_options(
    definition: EngineDefinition, options: Mapping[str, Json], backend: Backend | None
) -> EngineDefinition:
    """Return the engine with these options over its own; one that is the server's URL replaces its address."""
    address = None if backend is None else address_option(backend.load_options)
    replaced = address is not None and address.name in options
    return dataclasses.replace(
        definition,
        options={**definition.options, **options},
        address=None if replaced else definition.address,
    )


def split_options(definition: EngineDefinition, backend: Backend) -> tuple[dict[str, Json], dict[str, Json]]:
    """Return the engine's load options and its sampling options, both checked. Raises InputError."""
    load: dict[str, Json] = {}
    sampling: dict[str, Json] = {}
    for key, value in definition.options.items():
        kind = _home(definition, backend, key)
        build(kind, {key: value}, owner=f"the engine {definition.name!r}")
        (sampling if kind is backend.sampling else load)[key] = value
    if definition.address is not None:
        option = address_option(backend.load_options)
        if option is None:
            raise InputError(
                f"The engine {definition.name!r} names a server, {without_password(definition.address)}, and "
                f"{backend.title} has none.",
                hint="Leave out what follows the @.",
            )
        load[option.name] = definition.address
    return load, sampling


def check_engine(definition: EngineDefinition, backend: Backend) -> None:
    """Check an engine's options, each and together. Raises InputError; a plugin's mistake is told."""
    load, _ = split_options(definition, backend)
    try:
        backend.check(definition.model, load)
    except Exception as error:
        from paragone_workbench.engines.error_boundary import (
            as_told,  # asyncio is not needed to read definitions
        )

        raise as_told(error, backend.name) from error


def expand_home(path: str) -> str:
    """Return the path with a leading `~/` replaced by the user's home folder."""
    return str(Path(path).expanduser()) if path.startswith("~/") else path


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint that names what was most likely meant, or all there is."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1)
    return f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(names)}."


def _home(definition: EngineDefinition, backend: Backend, key: str) -> type[Options]:
    """Return which of the backend's two sets of options has this one."""
    kinds = (backend.load_options, backend.sampling)
    names = [info.name for kind in kinds for info in describe(kind)]
    for kind in kinds:
        if any(info.name == key for info in describe(kind)):
            return kind
    raise InputError(
        f"The engine {definition.name!r} has no option {key!r}: its backend {backend.name} knows none such.",
        hint=nearest(key, names) if names else "",
    )
