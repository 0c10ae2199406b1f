"""The result of a parity check, and parts of the sentences that state the result."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from paragone import Json
from paragone.facts import BUILD_FACTS, PROGRAM, ROUNDING, STANDARD_FACTS
from paragone.options import value_text
from paragone.wording import counted, shortened

_LONGEST_QUOTE = 120
_LONGEST_VALUE = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionChange:
    """An option to set in one engine."""

    engine: str
    """Name of the engine's side."""
    option: str
    value: Json
    reloads: bool
    """Whether the option takes effect only when the model is loaded again."""

    @property
    def assignment(self) -> str:
        """The option and its value, in the form of `--set`."""
        return f"{self.option}={value_text(self.value)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Levelling:
    """Changes of options that give all engines the same value of one property. Empty if no option sets the property."""

    changes: tuple[OptionChange, ...] = ()
    everywhere: bool = False
    """Whether all engines have the option under one name, so that it can be set in all at once."""

    def __bool__(self) -> bool:
        return bool(self.changes)

    @property
    def reloads(self) -> tuple[str, ...]:
        """Names of the engines that have to be loaded again."""
        return tuple(dict.fromkeys(change.engine for change in self.changes if change.reloads))

    @property
    def arguments(self) -> tuple[str, ...]:
        """The arguments of the command line that set the options."""
        if self.everywhere:
            texts = dict.fromkeys(change.assignment for change in self.changes)
        else:
            texts = dict.fromkeys(f"{change.engine}.{change.assignment}" for change in self.changes)
        return tuple(f"--set {shlex.quote(text)}" for text in texts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A condition that differs between the engines."""

    what: str
    """The name of the option that sets the condition; without such an option, the name of the condition."""
    values: Mapping[str, Json]
    """The value of each engine by its name; None where the engine does not report it."""
    sentence: str
    """The difference and its effect, as a sentence without advice."""
    levelling: Levelling = Levelling()
    system: str = ""
    """The system prompt that a chat template added in one engine. Giving this text to all engines makes the prompts equal."""
    is_expected: bool = False
    """Whether the difference is no alarm: because the user has set the option for all engines, or for one engine
    during the comparison; or because of the compared models, the engines' earlier answers, a cache, or a drawn seed."""

    @property
    def sign(self) -> str:
        """The character before the sentence: `≠`, or `·` for an expected difference."""
        return "·" if self.is_expected else "≠"

    @property
    def advice(self) -> str:
        """A sentence that says which option of the command line makes the setting equal for all engines; empty if no option can."""
        if self.system:
            return (
                f"To level it, give all engines the same system prompt: --system {shlex.quote(self.system)}"
            )
        if not self.levelling:
            return ""
        return f"To level it: {' '.join(self.levelling.arguments)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """Facts that can differ, but that an engine does not report."""

    engine: str
    names: tuple[str, ...]
    levelling: Levelling = Levelling()
    """Options that give the engine the values of the other engines, so that the unknown values become known."""

    @property
    def sentence(self) -> str:
        """The unknown conditions, as a sentence without advice."""
        return f"{self.engine} does not report: {', '.join(self.names)}."

    @property
    def advice(self) -> str:
        """How to set the unknown property on the command line; empty if no option sets the property."""
        return f"To set it: {' '.join(self.levelling.arguments)}" if self.levelling else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """Whether the engines answered under the same conditions, as far as they report the conditions."""

    findings: tuple[Finding, ...] = ()
    """The differences, the expected ones last."""
    unknown: tuple[Unknown, ...] = ()

    @property
    def alarms(self) -> int:
        """Number of unexpected differences."""
        return sum(not finding.is_expected for finding in self.findings)

    @property
    def remark(self) -> str:
        """What unreported facts mean for rounding, as a sentence; empty if all engines report these facts."""
        unreported = {name for unknown in self.unknown for name in unknown.names}
        facts = (PROGRAM, *BUILD_FACTS, *STANDARD_FACTS)
        rounding = [fact.name for fact in facts if fact.effect == ROUNDING and fact.name in unreported]
        if not rounding:
            return ""
        return (
            f"Rounding depends on {joined(rounding)}: a difference can change answers after some "
            "tokens, also at temperature 0."
        )

    @property
    def verdict(self) -> str:
        """The result in one sentence."""
        if self.alarms:
            return f"{counted(self.alarms, 'condition was', 'conditions were')} not the same:"
        if self.findings:
            known = " in all that the engines report" if self.unknown else ""
            return f"The comparison was fair{known}. These differences were expected:"
        if self.unknown:
            return "The comparison was fair in all that the engines report: nothing differs."
        return "The comparison was fair: the conditions were the same."


def joined(names: Iterable[str]) -> str:
    """Return names as an enumeration: `a, b and c`."""
    names = list(names)
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)


def quoted(text: str) -> str:
    """Return a text in quotation marks, with escaped line breaks, shortened in the middle."""
    if len(text) > _LONGEST_QUOTE:
        half = _LONGEST_QUOTE // 2
        text = f"{text[:half]} … {text[-half:]}"
    return json.dumps(text, ensure_ascii=False)


def enumeration(values: Mapping[str, Json | None], *, silent: Sequence[str] = ()) -> str:
    """Return which engines have which value: `1.1 in a and 1 in b and c; d does not report it`."""
    groups: dict[str, list[str]] = {}
    for name, value in values.items():
        if value is not None:
            groups.setdefault(_shown(value), []).append(name)
    text = joined(f"{value} in {joined(names)}" for value, names in groups.items())
    if silent:
        text += f"; {joined(silent)} {'does' if len(silent) == 1 else 'do'} not report it"
    return text


def _shown(value: Json) -> str:
    return shortened(value_text(value) or "none", _LONGEST_VALUE)
