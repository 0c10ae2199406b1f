"""Finds the options that give all engines one value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from paragone import InputError, Json
from paragone.options import OptionInfo, Options, build, parse
from paragone_workbench.compare.parity.findings import Levelling, OptionChange
from paragone_workbench.compare.parity.side import Side


def same(first: Json, second: Json) -> bool:
    """Whether two values are equal. Numbers may differ by the rounding of single precision."""
    match first, second:
        case bool() | str(), _:
            return first == second
        case float() | int(), float() | int() if not isinstance(second, bool):
            return abs(first - second) <= 1e-6 * max(1, abs(first))
        case _:
            return first == second


def level(
    sides: Sequence[Side],
    values: Mapping[str, Json | None],
    options: Mapping[str, OptionInfo | None],
    *,
    reloads: bool,
) -> Levelling:
    """Return the options that give all sides one value.

    `values` and `options` have the value and the option of each side by its name; None for an unknown value, or for a side
    without the option. All sides get the value of a side that cannot change it, else the most frequent value. A side that
    has drawn its value, such as a seed, would draw another value in the next run, so the option is set for this side, too.
    """
    able = [side for side in sides if options.get(side.name) is not None]
    drawn = {side.name for side in able if side.has_drawn(options[side.name])} if len(able) > 1 else set()
    chosen = {name: value for name, value in values.items() if name not in drawn}
    target = _target(chosen, options)
    if target is None:
        target = _target(values, options)
    if target is None:
        return Levelling()
    changes: list[OptionChange] = []
    for side in sides:
        info, value = options.get(side.name), values.get(side.name)
        if (
            info is None
            or side.backend is None
            or (value is not None and same(value, target) and side.name not in drawn)
        ):
            continue
        kind = side.backend.load_options if reloads else side.backend.sampling
        wanted = _accepted(kind, info, target)
        if wanted is not None:
            changes.append(OptionChange(engine=side.name, option=info.name, value=wanted, reloads=reloads))
    names = {info.name if info is not None else None for info in (options.get(side.name) for side in sides)}
    return Levelling(changes=tuple(changes), everywhere=len(names) == 1 and None not in names)


def _target(values: Mapping[str, Json | None], options: Mapping[str, OptionInfo | None]) -> Json | None:
    known = [(name, value) for name, value in values.items() if value is not None]
    fixed = [value for name, value in known if options.get(name) is None]
    if fixed:
        return fixed[0] if all(same(fixed[0], value) for value in fixed) else None
    counts = [(sum(same(value, other) for _, other in known), value) for _, value in known]
    return max(counts, key=lambda entry: entry[0])[1] if counts else None


def _accepted(kind: type[Options], info: OptionInfo, value: Json) -> Json | None:
    """Return the value in the form of the option `info`; None if the option does not accept the value."""
    try:
        wanted = parse(kind, info.name, value) if isinstance(value, str) and not info.many else value
        build(kind, {info.name: wanted})
    except InputError:
        return None
    return wanted
