"""Texts of a file that the user may give to others: secrets are removed, and names of engines can be shortened."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from paragone import Message
from paragone.texts import shortened, without_keys
from paragone_workbench.store.experiment_records import AssertionResult
from paragone_workbench.text import local_date, visible

_LONG = 24
_SEPARATORS = " .-:/@"


def public(text: str) -> str:
    """Return a text as it may be shown to others: without passwords in URLs, home folder and control characters."""
    home = str(Path.home())
    if home != "/":
        text = re.sub(rf"(?<![\w.~/-]){re.escape(home)}(?![\w.-])", "~", text)
    return visible(without_keys(text))


def date_text(seconds: float) -> str:
    """Return a time, in seconds since 1970, as local date and time with the offset from UTC; `?` if the time is invalid."""
    return local_date(seconds, "%Y-%m-%d %H:%M %z")


class BriefNames:
    """Brief names of engines: of `Llama-8B-Instruct.Q8_0.gguf` beside `Llama-8B-Instruct.Q4_0.gguf`, `Q8_0` remains.

    Names stay whole if all are short, or if the shared beginning or end is itself one of the names.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._brief = _brief(names)
        longest_first = sorted(self._brief, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    def of(self, name: str) -> str:
        return self._brief.get(name, name)

    def within(self, sentence: str) -> str:
        return self._pattern.sub(lambda found: self._brief[found[0]], sentence) if self._brief else sentence


def _brief(names: Sequence[str]) -> Mapping[str, str]:
    if len(names) < 2 or max(map(len, names)) <= _LONG:
        return {}
    head, tail = _shared(names), _shared([name[::-1] for name in names])
    if head in names or tail[::-1] in names:
        return {}
    brief = {name: name[_words(head) : len(name) - _words(tail)] for name in names}
    return brief if all(brief.values()) and len(set(brief.values())) == len(names) else {}


def _words(shared: str) -> int:
    """Return the number of characters up to the end of the last whole word."""
    return max((shared.rfind(separator) + 1 for separator in _SEPARATORS), default=0)


def _shared(names: Sequence[str]) -> str:
    first, last = min(names), max(names)
    pairs = enumerate(zip(first, last, strict=False))
    return first[: next((at for at, (one, other) in pairs if one != other), len(first))]


_BEGINNING = 100
_STEPS = (1, 2, 2.5, 5, 10)
_TICKS = 4


class Fact(NamedTuple):
    name: str
    value: str


class Remark(NamedTuple):
    """A sentence about a result. `stands_out` says that the sentence reports a difference or a failure."""

    text: str
    stands_out: bool = False


class Axis(NamedTuple):
    start: float
    end: float
    title: str = ""

    def place(self, value: float) -> float:
        """Return where a value is on the axis, from 0 to 100. A value beyond an end is put at that end."""
        return round(max(0.0, min(100.0, 100 * (value - self.start) / (self.end - self.start))), 2)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        widest = (self.end - self.start) / _TICKS
        power = 10 ** math.floor(math.log10(widest))
        step = next(step * power for step in _STEPS if step * power >= widest)
        counts = range(math.ceil(self.start / step), math.floor(self.end / step) + 1)
        return [(self.place(step * count), f"{step * count:,.6g}") for count in counts]


class ChartMark(NamedTuple):
    """A value in a drawing, and the ends of its interval, in percent from the left and the top. A ring is an empty dot."""

    kind: Literal["bar", "dot", "ring"]
    x: float
    y: float
    ends: tuple[tuple[float, float], tuple[float, float]] | None = None


class TableCell(NamedTuple):
    text: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableLine:
    """A row of a table, with a cell for each column. `note` is a word or two, such as `reference` or `20 prompts`."""

    name: str
    cells: tuple[TableCell, ...]
    note: str = ""
    stands_out: bool = False
    mark: ChartMark | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table. Marks of its rows are drawn: each in its row, or, with two axes, all in one plot."""

    title: str = ""
    first: str = "engine"
    columns: tuple[str, ...]
    lines: tuple[TableLine, ...]
    note: str = ""
    axes: tuple[Axis, Axis] | None = None

    @property
    def is_chart(self) -> bool:
        return self.axes is None and any(line.mark is not None for line in self.lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Results of one kind. `rest` has more remarks, which are folded; a folded section is at the end of the report."""

    title: str
    tables: tuple[Table, ...] = ()
    remarks: tuple[Remark, ...] = ()
    rest: tuple[Remark, ...] = ()
    note: str = ""
    folded: bool = False

    @property
    def is_empty(self) -> bool:
        return not (self.tables or self.remarks or self.rest)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportVerdict:
    """Which engine to deploy, in words: why it is chosen, what it costs, and how sure that is."""

    headline: str
    reasons: tuple[str, ...] = ()
    not_chosen: tuple[str, ...] = ()
    not_measured: tuple[str, ...] = ()
    cautions: tuple[str, ...] = ()

    @property
    def doubts(self) -> list[tuple[str, tuple[str, ...]]]:
        doubts = (
            ("Not chosen, and why", self.not_chosen),
            ("Read with care", self.cautions),
            ("Not measured", self.not_measured),
        )
        return [(title, sentences) for title, sentences in doubts if sentences]


class Conditions(NamedTuple):
    verdict: str
    remarks: tuple[Remark, ...] = ()


class Segment(NamedTuple):
    """A part of an answer. `differs` says that the first engine's answer lacks this part."""

    text: str
    differs: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerView:
    """An answer of one engine. `left_out` and `compared`, with the first answer, are sentences or empty."""

    engine: str
    segments: tuple[Segment, ...]
    thinking: str = ""
    left_out: str = ""
    compared: str = ""
    figures: str = ""
    remarks: tuple[Remark, ...] = ()
    checks: tuple[AssertionResult, ...] = ()
    settings: tuple[Fact, ...] = ()

    @property
    def text(self) -> str:
        return "".join(segment.text for segment in self.segments)

    @property
    def verdict(self) -> Literal["passed", "failed", "unknown", ""]:
        found = {check.verdict for check in self.checks}
        if "unknown" in found:
            return "unknown"
        return "failed" if "failed" in found else "passed" if found else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptView:
    """A prompt with the answers to it.

    Attributes:
        number: Index of the prompt in the suite, from 0, or its number in the conversation, from 1.
        messages: The messages of the request, without earlier turns of a conversation.
        rounds: The answers side by side; one tuple for each repetition.
        conditions: Whether the engines answered under the same conditions; None if `ReportContent.conditions` is set.
        sound: Whether no run and no assertion failed. All sound prompts are folded together.
    """

    number: int
    title: str
    messages: tuple[Message, ...]
    facts: tuple[Fact, ...] = ()
    remarks: tuple[Remark, ...] = ()
    rounds: tuple[tuple[AnswerView, ...], ...] = ()
    left_out: str = ""
    conditions: Conditions | None = None
    folded: bool = False
    sound: bool = False

    @property
    def beginning(self) -> str:
        return shortened(" ".join(self.messages[-1].text.split()), _BEGINNING) if self.messages else ""


class EngineView(NamedTuple):
    name: str
    facts: tuple[Fact, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportContent:
    """A report, whose answers are read from the history one prompt at a time.

    Attributes:
        id: `e3` for an experiment, `c7` for a conversation.
        conditions: None if each prompt has its own conditions.
        left_out: How many prompts are not shown, as a sentence; empty if all are shown.
        sound: Number of prompts at which nothing failed, and which are folded together.
    """

    id: str
    title: str
    summary: str
    facts: tuple[Fact, ...]
    verdict: ReportVerdict | None = None
    overview: Table
    plots: tuple[Table, ...] = ()
    engines: tuple[EngineView, ...]
    sections: tuple[Section, ...]
    conditions: Conditions | None = None
    prompts: Callable[[], Iterator[PromptView]]
    left_out: str
    sound: int = 0
