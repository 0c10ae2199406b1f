"""Compare the sampling options in force, after each engine's own defaults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from paragone import Json
from paragone.chat.sampling import without_effect
from paragone.options import OptionInfo
from paragone_workbench.compare.parity.findings import Finding, Levelling, enumeration
from paragone_workbench.compare.parity.levelling import level, same
from paragone_workbench.compare.parity.side import Side, is_chosen

_UNSET = "none"


def compare_sampling(
    sides: Sequence[Side], unknown: Mapping[str, list[str]]
) -> tuple[list[Finding], dict[str, list[Levelling]]]:
    """Return the options that differ, and how to set the options whose values a side does not report, by the side's name.

    Adds the names of these unreported options to `unknown`. An option that has no effect in any side is left out, such
    as `top_k` at temperature 0.
    """
    reported = {side.name: side.sampling() for side in sides}
    idle = {name: without_effect(values) for name, values in reported.items()}
    declared = {side.name: side.sampling_options() for side in sides}
    findings: list[Finding] = []
    levellings: dict[str, list[Levelling]] = {}
    for option in dict.fromkeys(option for values in reported.values() for option in values):
        in_effect = [
            name
            for name, values in reported.items()
            if not _is_unset(values.get(option)) and option not in idle[name]
        ]
        if not in_effect:
            continue
        options = {name: declared[name].get(option) for name in reported}
        values = {name: _value(reported[name], option) for name in reported}
        known = [value for value in values.values() if value is not None]
        differs = any(not same(known[0], value) for value in known)
        defaults = [info.default for info in options.values() if info is not None]
        if not differs and any(same(default, known[0]) for default in defaults):
            # Engines without the option behave like engines that have it at its default.
            values = {name: value for name, value in values.items() if options[name] is not None}
        silent = [name for name, value in values.items() if value is None]
        settable = {name: None if value == _UNSET else value for name, value in values.items()}
        levelling = level(sides, settable, options, reloads=False)
        if differs or any(options[name] is None for name in silent):
            findings.append(_finding(_name(option, options), sides, values, options, levelling))
        else:
            for name in silent:
                unknown[name].append(_name(option, {name: options[name]}))
                own = tuple(change for change in levelling.changes if change.engine == name)
                levellings.setdefault(name, []).append(
                    Levelling(changes=own, everywhere=levelling.everywhere)
                )
    return findings, levellings


def _is_unset(value: Json) -> bool:
    return value is None or value in ([], ())


def _value(values: Mapping[str, Json], option: str) -> Json | None:
    """Return the value in force: `none` for an option that is known to be unset, None for an unknown value."""
    if option not in values:
        return None
    value = values[option]
    return _UNSET if _is_unset(value) else value


def _name(option: str, options: Mapping[str, OptionInfo | None]) -> str:
    return next((info.name for info in options.values() if info is not None), option)


def _finding(
    name: str,
    sides: Sequence[Side],
    values: Mapping[str, Json | None],
    options: Mapping[str, OptionInfo | None],
    levelling: Levelling,
) -> Finding:
    without = [side for side, value in values.items() if value is None and options[side] is None]
    silent = [side for side, value in values.items() if value is None and options[side] is not None]
    known = [side for side in sides if values.get(side.name) is not None]
    drawn = all(side.has_drawn(options[side.name]) for side in known)
    sentence = f"{name} is {enumeration(values, silent=silent)}."
    if without:
        sentence += f" There is no such option in {' and '.join(without)}."
    if drawn and len(known) > 1:
        sentence += " Each engine drew its own value."
    return Finding(
        what=name,
        values=values,
        sentence=sentence,
        levelling=levelling,
        is_expected=drawn or is_chosen(sides, options),
    )
