"""The settings of a lane: every option of its engine, its value, and where the value comes from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from paragone import Json
from paragone.options import OptionInfo, address_option, parse, value_text
from paragone_workbench.engines.definitions import EngineDefinition, declared_options

if TYPE_CHECKING:
    from paragone import Backend


Origin: TypeAlias = Literal["default", "config.toml", "saved", "command line", "conversation", "here"]
"""`default`: of the backend or the engine. `saved`: with an engine that was added on the screen. `conversation`: saved with a conversation that was reopened.
`here`: changed on the screen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """An option of a lane's engine."""

    info: OptionInfo
    reloads: bool
    """Whether a change reloads the model. Other changes take effect with the next run."""
    value: Json
    """The value that was set; None for the default."""
    origin: Origin
    in_force: Json
    """The value that the engine reported for the last run; None if it reported none."""


def lane_settings(
    definition: EngineDefinition,
    backend: Backend,
    *,
    configured: EngineDefinition | None = None,
    configured_origin: Origin = "config.toml",
    first: EngineDefinition | None = None,
    first_origin: Origin = "command line",
    in_force: Mapping[str, Json] | None = None,
) -> tuple[Setting, ...]:
    """Return the settings of a lane with this definition: sampling options first, then load options.

    `configured` is the engine of this name that is defined, and `first` the definition with which the lane
    was created; each has its origin. `in_force` are the sampling options that the
    engine reported for the last run.
    """
    values = _values(definition, backend)
    sources: list[tuple[Origin, Mapping[str, Json]]] = []
    if configured is not None and configured.backend == backend.name:
        sources.append((configured_origin, _values(configured, backend)))
    if first is not None and first.is_called_like(definition):
        sources.append((first_origin, _values(first, backend)))

    def origin(name: str) -> Origin:
        if name not in values:
            return "default"
        found = (source for source, given in sources if name in given and given[name] == values[name])
        return next(found, "here")

    settings = [
        Setting(
            info=info,
            reloads=kind is backend.load_options,
            value=values.get(name),
            origin=origin(name),
            in_force=(in_force or {}).get(name),
        )
        for name, (kind, info) in declared_options(backend).items()
    ]
    return tuple(sorted(settings, key=lambda setting: setting.reloads))


def edited(definition: EngineDefinition, backend: Backend, edits: Mapping[str, str]) -> EngineDefinition:
    """Return the definition with options set to these texts, as they are typed; empty for the default.

    Options that the backend does not have are ignored. Raises InputError if a value is invalid.
    """
    options, address = dict(definition.options), definition.address
    for name, (kind, info) in declared_options(backend).items():
        if name in edits:
            options.pop(name, None)
            address = None if info.address else address
            if edits[name]:
                options[name] = parse(kind, name, edits[name])
    return dataclasses.replace(definition, options=options, address=address)


def summary(definition: EngineDefinition, backend: Backend | None) -> str:
    """Return the options that are set, as `name=value`; empty if all have their defaults.

    Secrets and the server's address are left out, and so are all options of a backend that is not installed.
    """
    return "  ".join(f"{name}={value_text(value)}" for name, value in _shown(definition, backend).items())


def changes(before: EngineDefinition, after: EngineDefinition, backend: Backend | None) -> str:
    """Return the options that differ between two definitions, as `name=value`; empty if none does.

    The same options are left out as in `summary`.
    """
    old, new = _shown(before, backend), _shown(after, backend)
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return ", ".join(f"{name}={value_text(new.get(name)) or 'default'}" for name in names)


def _shown(definition: EngineDefinition, backend: Backend | None) -> dict[str, Json]:
    if backend is None:
        return {}
    infos = {name: info for name, (_, info) in declared_options(backend).items()}
    return {
        name: value
        for name, value in definition.options.items()
        if name in infos and value is not None and not (infos[name].secret or infos[name].address)
    }


def _values(definition: EngineDefinition, backend: Backend) -> dict[str, Json]:
    values: dict[str, Json] = {name: value for name, value in definition.options.items() if value is not None}
    option = address_option(backend.load_options)
    if definition.address is not None and option is not None:
        values[option.name] = definition.address
    return values
