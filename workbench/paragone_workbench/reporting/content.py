"""The content of a report in any format. All texts are safe to show, and free of the user's secrets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from paragone import Message
from paragone.wording import shortened
from paragone_workbench.reporting.drawings import Chart, Plot, Table
from paragone_workbench.store.experiment_records import AssertionResult

_BEGINNING = 100
"""Largest number of characters of `PromptView.beginning`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A property with its value."""

    name: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineView:
    """An engine, with its loaded model and the options that were set."""

    name: str
    facts: tuple[Fact, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """A sentence about a result. `stands_out` says that the sentence reports a difference or a failure."""

    text: str
    stands_out: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Results of one kind.

    Attributes:
        title: The kind of the results.
        remarks: Sentences about the results.
        rest: More sentences, which are folded.
        note: How to read the results.
        folded: Whether the section has details, which are folded at the end of the report.
    """

    title: str
    tables: tuple[Table, ...] = ()
    charts: tuple[Chart, ...] = ()
    remarks: tuple[Remark, ...] = ()
    rest: tuple[Remark, ...] = ()
    note: str = ""
    folded: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to show."""
        return not (self.tables or self.charts or self.remarks or self.rest)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportVerdict:
    """Which engine to deploy, in words.

    Attributes:
        headline: The decision.
        reasons: Why the engine is chosen, with its cost and the certainty of the decision.
        not_chosen: Why the other engines are not chosen.
        not_measured: Which figures are unknown, and why.
        cautions: Which figures to read with care.
    """

    headline: str
    reasons: tuple[str, ...] = ()
    not_chosen: tuple[str, ...] = ()
    not_measured: tuple[str, ...] = ()
    cautions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """Whether engines answered under the same conditions: the verdict, and what differed or is unknown."""

    verdict: str
    remarks: tuple[Remark, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A part of an answer. `differs` says that the first engine's answer lacks this part."""

    text: str
    differs: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerView:
    """An answer of one engine.

    Attributes:
        engine: The name of the engine, or of the lane.
        segments: The answer, with the differences from the first engine's.
        thinking: The thinking of a reasoning model before the answer.
        left_out: How much of the answer is not shown, as a sentence; empty if the whole answer is shown.
        compared: How the answer differs from the first engine's, as a sentence; empty for the first engine.
        figures: Tokens and speeds, in one line.
        remarks: Failures, warnings, and which variant the answer is.
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

    @property
    def verdict(self) -> Literal["passed", "failed", "unknown", ""]:
        """Whether all assertions hold; empty if there are none."""
        found = {check.verdict for check in self.checks}
        if "unknown" in found:
            return "unknown"
        return "failed" if "failed" in found else "passed" if found else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptView:
    """A prompt with the answers to it.

    Attributes:
        number: Index of the prompt in the suite, from 0, or its number in the conversation, from 1.
        title: The heading: `#0` in a suite, as in the terminal, `Prompt 1` in a conversation.
        messages: The messages of the request, without earlier turns of a conversation.
        facts: Expected answer, tags, images.
        remarks: Special properties of the prompt, such as that it was edited.
        rounds: The answers side by side; one tuple for each repetition.
        left_out: How many repetitions are not shown, as a sentence; empty if all are shown.
        conditions: Whether the engines answered under the same conditions; None if `ReportContent.conditions` is set.
        folded: Whether only the beginning of the prompt is shown until the reader unfolds it.
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
        """The beginning of the last message, in one line."""
        return shortened(" ".join(self.messages[-1].text.split()), _BEGINNING) if self.messages else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportContent:
    """A report, whose answers are read from the history one prompt at a time.

    Attributes:
        id: `e3` for an experiment, `c7` for a conversation.
        title: The name of the suite, or the title of the conversation.
        summary: Numbers of engines or lanes, prompts and repetitions, in one line.
        facts: Date, schedule, machine.
        verdict: Which engine to deploy; None for a conversation.
        overview: A row for each engine.
        plots: The quality of the engines over their memory and speed.
        engines: The engines. Each other engine is compared with the first.
        sections: The results: figures, differences between the engines, ratings by votes, earlier measurements.
        conditions: Whether the engines answered under the same conditions; None if each prompt has its own conditions.
        prompts: Returns an iterator over the prompts that the report shows.
        left_out: How many prompts are not shown, as a sentence; empty if all are shown.
        sound: Number of prompts at which nothing failed, and which are folded together.
    """

    id: str
    title: str
    summary: str
    facts: tuple[Fact, ...]
    verdict: ReportVerdict | None
    overview: Table
    plots: tuple[Plot, ...]
    engines: tuple[EngineView, ...]
    sections: tuple[Section, ...]
    conditions: Conditions | None
    prompts: Callable[[], Iterator[PromptView]]
    left_out: str
    sound: int = 0
