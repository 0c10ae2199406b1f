"""What a report shows of an experiment or a conversation."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

from paragone import Message
from paragone.texts import shortened
from paragone_workbench.blocks import BriefNames, Remark, Section, Table, public
from paragone_workbench.store.experiment_records import AssertionResult

_BEGINNING = 100


NOT_MEASURED = "Not measured"


class FirstPage(NamedTuple):
    """The verdict on engines in words, and a table with a row for each.

    Attributes:
        doubts: Sentences by their titles: why others are not chosen, what to read with care, and what was not measured.
        brief: Brief names of the engines for the sentences.
    """

    headline: str
    reasons: tuple[str, ...]
    doubts: dict[str, tuple[str, ...]]
    overview: Table
    brief: BriefNames

    def shown(self) -> FirstPage:
        """Return the page as others may see it, with brief names, and without empty doubts."""

        def of(sentences: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(self.brief.within(public(sentence)) for sentence in sentences)

        headline, note = of((self.headline, self.overview.note))
        doubts = {title: of(sentences) for title, sentences in self.doubts.items() if sentences}
        overview = dataclasses.replace(self.overview, note=note)
        return FirstPage(headline, of(self.reasons), doubts, overview, self.brief)


Segment: TypeAlias = tuple[str, bool]
"""A part of an answer, and whether the first engine's answer lacks this part."""

Facts: TypeAlias = Mapping[str, str]
"""Values by their names."""


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
    settings: Facts = field(default_factory=dict)

    @property
    def text(self) -> str:
        return "".join(text for text, _ in self.segments)

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
    facts: Facts = field(default_factory=dict)
    remarks: tuple[Remark, ...] = ()
    rounds: tuple[tuple[AnswerView, ...], ...] = ()
    left_out: str = ""
    conditions: Section | None = None
    folded: bool = False
    sound: bool = False

    @property
    def beginning(self) -> str:
        return shortened(" ".join(self.messages[-1].text.split()), _BEGINNING) if self.messages else ""


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
    facts: Facts
    verdict: FirstPage | None = None
    overview: Table
    plots: tuple[Table, ...] = ()
    engines: tuple[tuple[str, Facts], ...]
    sections: tuple[Section, ...]
    conditions: Section | None = None
    prompts: Callable[[], Iterator[PromptView]]
    left_out: str
    sound: int = 0
