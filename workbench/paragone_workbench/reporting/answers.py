"""Runs as answers of a report, the conditions under which they ran, and the engines that gave them."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

from paragone import Json
from paragone.options import value_text
from paragone.texts import size_text
from paragone_workbench import blocks
from paragone_workbench.compare import diff, divergence, parity, parity_findings
from paragone_workbench.engines import definitions
from paragone_workbench.reporting import content
from paragone_workbench.runs.metrics import RunMetrics
from paragone_workbench.runs.result import RunResult
from paragone_workbench.store.experiment_records import AssertionResult
from paragone_workbench.text import visible

SHOWN = 50_000

NamedRun: TypeAlias = tuple[str, RunResult]
"""The name of an engine or a lane, and its run."""


def answers_side_by_side(
    answers: Sequence[NamedRun],
    *,
    checks: Sequence[tuple[AssertionResult, ...]] | None = None,
    remarks: Sequence[tuple[blocks.Remark, ...]] | None = None,
    with_settings: bool = False,
) -> tuple[content.AnswerView, ...]:
    """Return the answers to one prompt, compared with the first unless it is empty."""
    views: list[content.AnswerView] = []
    texts = [visible(run.text) for _, run in answers]
    for index, ((name, run), text) in enumerate(zip(answers, texts, strict=True)):
        is_compared = index > 0 and texts[0] != ""
        shown = text[:SHOWN]
        spans = diff.differing(texts[0][:SHOWN], shown) if is_compared else ()
        views.append(
            content.AnswerView(
                engine=visible(name),
                segments=tuple(_segments(shown, spans)),
                thinking=visible(run.thinking)[:SHOWN],
                left_out=_left_out(len(text)) or _left_out(len(run.thinking)),
                compared=_compared(texts[0], text, visible(answers[0][0])) if is_compared and text else "",
                figures=_figures(run.metrics),
                remarks=(*(remarks[index] if remarks else ()), *_remarks(run)),
                checks=checks[index] if checks else (),
                settings=settings_in_force(run) if with_settings else {},
            )
        )
    return tuple(views)


def settings_in_force(run: RunResult) -> content.Facts:
    settings = run.settings
    if settings is None:
        return {}
    values: dict[str, Json] = {
        "seed": settings.seed,
        **(settings.sampling or {}),
        "threads": settings.threads,
    }
    return {
        blocks.public(name): blocks.public(value_text(value))
        for name, value in values.items()
        if value not in (None, [], "")
    }


def _segments(text: str, spans: Iterable[diff.Span]) -> Iterator[content.Segment]:
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


def _remarks(run: RunResult) -> Iterator[blocks.Remark]:
    if run.error:
        yield blocks.Remark(blocks.public(f"Failed: {run.error}"), stands_out=True)
    elif run.state in ("stopped", "interrupted"):
        yield blocks.Remark(f"The answer was {run.state}.", stands_out=True)
    elif run.cut:
        yield blocks.Remark(run.cut)
    if run.prefilled is not None:
        yield blocks.Remark(blocks.public(run.prefilled.sentence))
    for caution in divergence.warnings_of(run):
        yield blocks.Remark(blocks.public(caution.sentence))


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


def conditions_of(answers: Sequence[NamedRun], find: definitions.BackendLookup) -> blocks.Section | None:
    """Return whether the engines answered under the same conditions; None for fewer than two begun runs."""
    sides = [
        parity_findings.Side.of_run(run, find(run.definition.backend), name=name)
        for name, run in answers
        if run.loaded is not None and run.settings is not None
    ]
    if len(sides) < 2:
        return None
    return parity.check_parity(sides).section()


def engine_view(
    name: str,
    definition: definitions.EngineDefinition,
    run: RunResult | None,
    find: definitions.BackendLookup,
) -> tuple[str, content.Facts]:
    backend = find(definition.backend)
    shown = definitions.without_secrets(definition, backend)
    loaded = None if run is None else run.loaded
    options = ", ".join(f"{key}={value_text(value)}" for key, value in shown.options.items())
    settings = {} if run is None else settings_in_force(run)
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
    return blocks.public(name), {key: blocks.public(value) for key, value in facts.items() if value}
