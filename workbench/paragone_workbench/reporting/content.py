"""The content of a report in any format. All texts are safe to show, and without the user's secrets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from paragone import Message
from paragone_workbench.store.experiment_records import AssertionResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A property with its value."""

    name: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineView:
    """An engine: what was loaded, and the options that were set."""

    name: str
    facts: tuple[Fact, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A value of one engine, as a row of a chart.

    Attributes:
        name: The engine.
        value: The value.
        low: The lower end of its interval; None if there is none.
        high: The upper end.
        text: The value with its unit.
        interval: The interval, in words; empty if there is none.
        count: What it was measured on, such as `20 prompts`; may be empty.
    """

    name: str
    value: float
    text: str
    low: float | None = None
    high: float | None = None
    interval: str = ""
    count: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Values of several engines, drawn as bars beside a table.

    Attributes:
        title: What the values are.
        note: How to read them, as sentences.
        figures: The rows.
        start: Value at the left end of the axis.
        end: Value at the right end.
        mark: `bar`: from the left end to the value; `dot`: at the value, for scales without a zero.
    """

    title: str
    note: str
    figures: tuple[Figure, ...]
    start: float
    end: float
    mark: Literal["bar", "dot"] = "bar"

    def place(self, value: float) -> float:
        """Return where a value is on the axis, from 0 to 100; values beyond its ends are put there."""
        return max(0.0, min(100.0, 100 * (value - self.start) / (self.end - self.start)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """A sentence about a result. `stands_out` if it reports a difference or a failure."""

    text: str
    stands_out: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Results of one kind: charts, remarks on them, and a note on how to read them."""

    title: str
    charts: tuple[Chart, ...] = ()
    remarks: tuple[Remark, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """Whether engines answered under the same conditions: the verdict, and what differed or is unknown."""

    verdict: str
    remarks: tuple[Remark, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A part of an answer. `differs` if it is not in the answer of the first engine."""

    text: str
    differs: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerView:
    """An answer of one engine.

    Attributes:
        engine: The name of the engine, or of the lane.
        segments: The answer, with the differences from the first engine's.
        thinking: What a reasoning model wrote before it.
        left_out: How much of the answer is not shown, as a sentence; empty if all of it is.
        compared: How it differs from the first engine's answer, as a sentence; empty for the first one.
        figures: Tokens and speeds, in one line.
        remarks: Failures, warnings, and which variant it is.
        checks: The results of the assertions.
        settings: The settings in force.
    """

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
        """The answer without marks."""
        return "".join(segment.text for segment in self.segments)


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptView:
    """A prompt with the answers to it.

    Attributes:
        number: Its index in the suite, from 0, or its number in the conversation, from 1.
        title: The heading: `#0` in a suite, as in the terminal, `Prompt 1` in a conversation.
        messages: What was sent, without earlier turns of a conversation.
        facts: Expected answer, tags, images.
        remarks: What is special about the prompt, such as that it was edited.
        rounds: The answers side by side; one tuple for each repetition.
        left_out: How many repetitions are not shown, as a sentence; empty if all are.
        conditions: Whether they were answered under the same conditions; None if that is said elsewhere.
    """

    number: int
    title: str
    messages: tuple[Message, ...]
    facts: tuple[Fact, ...] = ()
    remarks: tuple[Remark, ...] = ()
    rounds: tuple[tuple[AnswerView, ...], ...] = ()
    left_out: str = ""
    conditions: Conditions | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A report. The answers are read when they are needed, a prompt at a time.

    Attributes:
        id: `e3` for an experiment, `c7` for a conversation.
        title: The name of the suite, or the title of the conversation.
        summary: What was done, in one line.
        facts: Date, schedule, machine.
        engines: The engines, the first of which is the one that others are compared with.
        sections: The results: figures, differences between the engines, ratings by votes, earlier measurements.
        conditions: Whether the engines answered under the same conditions; None if each prompt says that.
        prompts: Returns an iterator over the prompts that are shown in full.
        left_out: How many prompts are not shown, as a sentence; empty if all are.
    """

    id: str
    title: str
    summary: str
    facts: tuple[Fact, ...]
    engines: tuple[EngineView, ...]
    sections: tuple[Section, ...]
    conditions: Conditions | None
    prompts: Callable[[], Iterator[PromptView]]
    left_out: str
