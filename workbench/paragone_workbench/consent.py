"""The user's consent to a document's actions outside its folder, in words such as `contacts http://gpu-box:8000`."""

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from paragone import Backend, InputError, Json, Options, ParagoneError
from paragone.files import reading
from paragone.json_values import object_at
from paragone.options import address_option, describe
from paragone.texts import without_key_words
from paragone_workbench.config.settings import Config
from paragone_workbench.config.state import State
from paragone_workbench.engines.definitions import (
    EngineDefinition,
    expand_home,
    load_and_sampling_options,
    resolve,
)
from paragone_workbench.engines.failures import naming
from paragone_workbench.engines.registry import Registry, reached
from paragone_workbench.models import USUAL_FOLDER
from paragone_workbench.paths import accessible, cache_folder


class ConsentNeeded(InputError):
    def __init__(self, document: Path, actions: Sequence[str], *, hint: str) -> None:
        super().__init__(
            f"{document} needs your consent: a third party may have written it. If you consent, {'; '.join(actions)}. "
            "Without your consent, paragone does not use the file.",
            hint=hint,
        )
        self.actions = tuple(actions)


@dataclass(frozen=True, kw_only=True)
class Consent:
    """Whether the user consents to a document's actions outside its folder. Consent is remembered for its path and
    these actions."""

    document: Path
    state: State
    ask: Callable[[Sequence[str]], bool] | None = None
    """Shows the user the actions and returns whether the user consents; None if the user cannot be asked."""
    trusted: bool = False
    """Whether the user has consented to all actions beforehand."""

    def require(self, actions: Sequence[str], *, hint: str = "Write --trust to consent.") -> None:
        """Require the user's consent. Raises InputError without consent; ConsentNeeded, with the hint, if the user
        cannot be asked."""
        if not actions or self.trusted:
            return
        digest = self._digest(actions)
        if digest in self.state.saved.consents or self._is_own_export():
            return
        shown = [without_key_words(action) for action in actions]
        if self.ask is not None:
            if not self.ask(shown):
                raise InputError(f"{self.document} is not used: you did not consent to its actions.")
            with contextlib.suppress(ParagoneError):  # not saved: the user is asked again next time
                self.state.remember_consent(digest)
            return
        raise ConsentNeeded(self.document, shown, hint=hint)

    def _is_own_export(self) -> bool:
        """Return whether this program wrote the document, and nobody has changed it since."""
        if not self.state.saved.exports:
            return False
        with contextlib.suppress(ParagoneError):
            return file_digest(self.document) in self.state.saved.exports
        return False

    def _digest(self, actions: Sequence[str]) -> str:
        """Return a SHA-256 of the document's path and the actions, which is saved instead of the actions themselves."""
        import hashlib  # imported here because the import takes milliseconds, and few commands need consent

        named = json.dumps([str(self.document.absolute()), *actions])
        return hashlib.sha256(named.encode("utf-8", "surrogatepass")).hexdigest()


def remember_export(path: Path, state: State) -> None:
    """Remember that this program wrote a file: reading it back needs no consent. If that cannot be saved, the user is asked."""
    with contextlib.suppress(ParagoneError):
        state.remember_export(file_digest(path))


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file. Raises InputError."""
    import hashlib  # see `Consent._digest`

    with reading(path, hint="Name another file.") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


_WORDS = {
    "program": "starts the program {value}",
    "command": "runs the command {value}",
    "arguments": "starts its program with the argument {value}",
    "sent": "sends to its server: {name} = {value}",
}
"""The actions by `OptionInfo.outside`, the kind of thing that an option names. `_reading` returns the action for files."""


def engine_actions(
    definition: EngineDefinition, backend: Backend, document: Path, folders: Sequence[str] = ()
) -> tuple[str, ...]:
    """Return the actions of a document's engine outside its folder, except reading models in the user's or the
    backend's folders. Raises InputError for an invalid option, and EngineError if the backend fails."""
    load, sampling = load_and_sampling_options(definition, backend)
    actions = [f"contacts {address}" for address in reached(backend, definition.model, load)]
    # A model that is not a file is a name that the backend looks up.
    if backend.capabilities.local and accessible(expand_home(definition.model)):
        with naming(backend.name):
            theirs = [*map(str, backend.model_folders())]
        own = (*folders, USUAL_FOLDER, *theirs)
        if not _is_in_cache(definition.model) and not any(
            _is_in(definition.model, Path(expand_home(folder))) for folder in own
        ):
            actions += _reading(definition.model, document)
    if definition.python is not None:
        actions.append(f"starts the interpreter {definition.python}")
    actions += option_actions(backend.load_options, load, document)
    actions += option_actions(backend.sampling, sampling, document)
    return tuple(dict.fromkeys(actions))


def option_actions(options: type[Options], values: Mapping[str, Json], document: Path) -> Iterator[str]:
    """Yield the actions that these values of options cause outside a document's folder."""
    for info in describe(options):
        given = values.get(info.name)
        for value in given if isinstance(given, list | tuple) else [given]:
            if not isinstance(value, str) or not info.outside:
                continue
            if info.address and "$" not in value:
                continue  # `engine_actions` lists the address; an address with the user's variables is listed here too
            if info.outside == "file":
                yield from _reading(value, document)
            elif info.outside != "text or file":
                yield _WORDS[info.outside].format(name=info.name, value=value)
            elif value.startswith("@"):
                yield from _reading(value[1:], document)


def config_actions(config: Config, registry: Registry) -> tuple[str, ...]:
    """Return the actions of a config file outside its folder. Raises EngineError if a backend fails."""
    document = config.document.path
    engines = [engine for name, engine in config.engines.items() if name not in config.added]
    if "lanes" in config.document.data:
        for text in config.lanes.start:
            with contextlib.suppress(InputError):  # an invalid text does not open a lane
                engines.append(resolve(text, config.engines))
    actions = [
        f"searches for models in {folder}"
        for folder in config.models.folders
        if not _is_beside(folder, document)
    ]
    actions += named_actions(engines, registry, document)
    named = object_at(config.document.data, "presets")
    for name in (name for name in named if name in config.presets):
        for value in config.presets[name].sampling.values():  # @ can only precede the path of a file
            if isinstance(value, str) and value.startswith("@"):
                actions += (f"the preset {name} {action}" for action in _reading(value[1:], document))
    return tuple(dict.fromkeys(actions))


def named_actions(
    engines: Iterable[EngineDefinition], registry: Registry, document: Path, folders: Sequence[str] = ()
) -> Iterator[str]:
    """Yield the actions outside the document's folder, each with the engine's name, for engines whose backend is installed."""
    for engine in engines:
        backend = registry.find(engine.backend)
        if backend is not None:
            valid = _with_valid_options(engine, backend)
            for action in engine_actions(valid, backend, document, folders):
                yield f"the engine {engine.name} {action}"


def _with_valid_options(engine: EngineDefinition, backend: Backend) -> EngineDefinition:
    """Return the engine without invalid options, and without an address that the backend does not use."""
    valid: dict[str, Json] = {}
    for name, value in engine.options.items():
        with contextlib.suppress(InputError):
            load_and_sampling_options(
                dataclasses.replace(engine, address=None, options={name: value}), backend
            )
            valid[name] = value
    address = engine.address if address_option(backend.load_options) is not None else None
    return dataclasses.replace(engine, address=address, options=valid)


def _reading(path: str, document: Path) -> list[str]:
    return [] if _is_beside(path, document) else [f"reads {path}"]


def _is_beside(path: str, document: Path) -> bool:
    """Return whether a file is in the folder of a document or below; False if this folder contains the user's home folder."""
    folder = document.resolve().parent
    return not Path.home().resolve().is_relative_to(folder) and _is_in(path, folder)


def _is_in_cache(path: str) -> bool:
    """Return whether a path is in paragone's cache by its name. Links are not followed, because links in the cache
    are paragone's own."""
    named = Path(expand_home(path))
    return ".." not in named.parts and named.is_relative_to(cache_folder())


def _is_in(path: str, folder: Path) -> bool:
    """Return whether a file is in a folder or below. Links are followed."""
    try:
        return Path(path).expanduser().resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):  # a loop of links, an unknown home folder, a null character
        return False
