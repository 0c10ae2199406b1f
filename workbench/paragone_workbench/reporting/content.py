"""The content of a report on an experiment or a conversation: its parts, and runs as answers, with engines and conditions."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

from paragone import Json, Message
from paragone.options import value_text
from paragone.texts import shortened, size_text
from paragone_workbench.blocks import Remark, Section, Table, briefly, public
from paragone_workbench.compare import diff, divergence, parity, parity_findings
from paragone_workbench.engines import definitions
from paragone_workbench.runs.metrics import RunMetrics
from paragone_workbench.runs.result import RunResult
from paragone_workbench.runs.run import Run
from paragone_workbench.store.experiments import AssertionResult
from paragone_workbench.text import visible

_BEGINNING = 100


NOT_MEASURED = "Not measured"


class FirstPage(NamedTuple):
    """The verdict on engines in words, and a table with a row for each.

    Attributes:
        doubts: Remarks by title: why other engines are not chosen, cautions, and missing measurements.
        brief: Brief names of the engines for the remarks.
    """

    headline: str
    reasons: tuple[str, ...]
    doubts: dict[str, tuple[str, ...]]
    overview: Table
    brief: Mapping[str, str]

    def shown(self) -> FirstPage:
        """Return the page in the form for other people: without secrets and empty doubts, with brief names."""

        def of(sentences: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(briefly(public(message), self.brief) for message in sentences)

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
    """An answer of one engine. `left_out` and `compared` (with the first answer) are messages, which may be empty."""

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
        left_out: A message on how many prompts are not shown; empty if all are shown.
        sound: Number of prompts without any failure, which are folded together.
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


SHOWN = 50_000

NamedRun: TypeAlias = tuple[str, RunResult]
"""The name of an engine or a lane, and its run."""


def answers_side_by_side(
    answers: Sequence[NamedRun],
    *,
    checks: Sequence[tuple[AssertionResult, ...]] | None = None,
    remarks: Sequence[tuple[Remark, ...]] | None = None,
    with_settings: bool = False,
) -> tuple[AnswerView, ...]:
    """Return the answers to one prompt, compared with the first unless it is empty."""
    views: list[AnswerView] = []
    texts = [visible(run.text) for _, run in answers]
    for index, ((name, run), text) in enumerate(zip(answers, texts, strict=True)):
        is_compared = index > 0 and texts[0] != ""
        shown = text[:SHOWN]
        spans = diff.differing_spans(texts[0][:SHOWN], shown) if is_compared else ()
        views.append(
            AnswerView(
                engine=visible(name),
                segments=tuple(_segments(shown, spans)),
                thinking=visible(run.thinking)[:SHOWN],
                left_out=_left_out(len(text)) or _left_out(len(run.thinking)),
                compared=_compared(texts[0], text, visible(answers[0][0])) if is_compared and text else "",
                figures=_figures(run.metrics),
                remarks=(*(remarks[index] if remarks else ()), *_remarks(run)),
                checks=checks[index] if checks else (),
                settings=active_settings(run) if with_settings else {},
            )
        )
    return tuple(views)


def active_settings(run: RunResult) -> Facts:
    settings = run.settings
    if settings is None:
        return {}
    values: dict[str, Json] = {
        "seed": settings.seed,
        **(settings.sampling or {}),
        "threads": settings.threads,
        "answered by": settings.answered_by,
    }
    return {
        public(name): public(value_text(value))
        for name, value in values.items()
        if value not in (None, [], "")
    }


def _segments(text: str, spans: Iterable[diff.Span]) -> Iterator[Segment]:
    at = 0
    for span in spans:
        if span.start > at:
            yield text[at : span.start], False
        yield text[span.start : span.end], True
        at = span.end
    if at < len(text) or not text:
        yield text[at:], False


def _left_out(length: int) -> str:
    if length <= SHOWN:
        return ""
    return f"Only the first {SHOWN:,} of {length:,} characters are shown. The CSV and JSON files have all."


def _compared(reference: str, text: str, first: str) -> str:
    if reference == text:
        return f"The same text as {first}."
    reference_words, answer_words = (
        [word.text for word in diff.words(answer[:SHOWN])] for answer in (reference, text)
    )
    longer = max(len(reference_words), len(answer_words))
    share = len(diff.common_words(reference_words, answer_words)) / longer if longer else 1.0
    # rounded down, so that 100% means that all words are the same
    return f"{int(100 * share)}% of the words are the same as those of {first}."


def _remarks(run: RunResult) -> Iterator[Remark]:
    if run.error:
        yield Remark(public(f"Failed: {run.error}"), stands_out=True)
    elif run.state in ("stopped", "interrupted"):
        yield Remark(f"The answer was {run.state}.", stands_out=True)
    elif run.cut:
        yield Remark(run.cut)
    if run.prefilled is not None:
        yield Remark(public(run.prefilled.sentence))
    for caution in divergence.warnings_of(run):
        yield Remark(public(caution.sentence))


def _figures(metrics: RunMetrics | None) -> str:
    if metrics is None:
        return ""
    parts = metrics.speed_parts
    if metrics.ttft_s is not None:
        ttft = metrics.ttft_s
        parts.append(f"first token after {f'{1000 * ttft:.0f} ms' if ttft < 1 else f'{ttft:.2f} s'}")
    if metrics.prompt_tokens is not None:
        cached = f", {metrics.cached_tokens:,} of them cached" if metrics.cached_tokens else ""
        parts.append(f"prompt {metrics.prompt_tokens:,} tokens{cached}")
    return " · ".join(parts)


def conditions_of(answers: Iterable[tuple[str, Run]], find: definitions.BackendLookup) -> Section | None:
    sides = parity_findings.sides_of(answers, find)
    return parity.check_parity(sides).section() if len(sides) > 1 else None


def engine_view(
    name: str,
    definition: definitions.EngineDefinition,
    run: RunResult | None,
    find: definitions.BackendLookup,
) -> tuple[str, Facts]:
    backend = find(definition.backend)
    shown = definitions.without_secrets(definition, backend)
    loaded = None if run is None else run.loaded
    options = ", ".join(f"{key}={value_text(value)}" for key, value in shown.options.items())
    settings = {} if run is None else active_settings(run)
    facts: dict[str, str] = {
        "Backend": shown.backend,
        "Model": shown.model,
        "Server": definitions.address_of(shown, backend) or "",
    }
    if loaded is not None:
        facts |= {
            "Quantization": loaded.quantization or "",
            "Weights": size_text(loaded.size),
            "Context": f"{loaded.context:,} tokens" if loaded.context else "",
        }
    facts |= {
        "Options set": options or "none",
        "In force": ", ".join(f"{name}={value}" for name, value in settings.items() if name != "seed"),
    }
    return public(name), {key: public(value) for key, value in facts.items() if value}
