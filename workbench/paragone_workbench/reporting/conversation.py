"""The report of a conversation: its prompts with the answers on the lanes' paths."""

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from paragone import Message
from paragone.options import value_text
from paragone.texts import counted
from paragone_workbench import blocks
from paragone_workbench.choosing.figures import EngineFigures, with_speeds_of_answers
from paragone_workbench.conversation.tree import Prompt
from paragone_workbench.engines.definitions import BackendLookup
from paragone_workbench.experiments import comparison_rows, identity, known_measurements
from paragone_workbench.lanes.lane import names_of
from paragone_workbench.reporting import content
from paragone_workbench.reporting.charts import measurements_of, metric_charts, ratings_sections
from paragone_workbench.reporting.verdict import overview_of
from paragone_workbench.runs.context import path_to
from paragone_workbench.runs.result import RunResult
from paragone_workbench.runs.run import Run
from paragone_workbench.store import ExperimentRun, RunKey
from paragone_workbench.store.records import LaneRecord, SavedConversation
from paragone_workbench.store.store import Store
from paragone_workbench.text import visible


class _Lane(NamedTuple):
    """A lane with its name in the report, the runs of its path by prompt, and the newest run that its engine began."""

    name: str
    record: LaneRecord
    path: Mapping[Prompt, Run]
    begun: RunResult | None
    variants: Mapping[tuple[Run | None, Prompt | None], Sequence[Run]]
    """All answers of the lane, by the run that they continue and their prompt."""


def conversation_report(
    saved: SavedConversation, find: BackendLookup, store: Store | None = None
) -> content.ReportContent:
    """Return the report of a conversation. `store` has the votes and the measurements; None if it is not saved. Raises
    StoreError, and InputError if a package for the figures is missing."""
    names = names_of(saved.lanes, find)
    lanes = [
        _Lane(
            names[lane.id],
            lane,
            {run.prompt: run for run in path_to(lane.head) if run.prompt is not None},
            _last_begun(lane),
            _variants(lane),
        )
        for lane in [lane for lane in saved.lanes if not lane.closed] or saved.lanes
    ]
    prompts = [
        (number, prompt)
        for number, prompt in enumerate(saved.conversation.prompts, 1)
        if any(prompt in lane.path for lane in lanes)
    ]
    closed = sum(lane.closed for lane in saved.lanes)
    facts = {
        "Begun": blocks.date_text(saved.conversation.created),
        "Last used": blocks.date_text(saved.updated),
    }
    if 0 < closed < len(saved.lanes):
        facts["Closed lanes"] = f"{closed}, not shown"
    values = _values(lanes, [prompt for _, prompt in prompts])
    figures = [
        EngineFigures(
            engine=lane.name,
            size=lane.begun.loaded.size if lane.begun is not None and lane.begun.loaded is not None else None,
        )
        for lane in lanes
    ]
    sections = []
    if charts := metric_charts(values):
        sections.append(blocks.Section(title="Results", tables=charts))
    if store is not None:
        asked = {prompt.id for prompt in saved.conversation.prompts}
        sections += ratings_sections([vote for vote in store.votes.all() if vote.prompt_id in asked])
        identities = {
            names[lane.id]: identity.measured_identity(lane.definition, find(lane.definition.backend))
            for lane in saved.lanes
        }
        sections += measurements_of(known_measurements.saved_measurements(store), identities)
    return content.ReportContent(
        id="not saved" if saved.conversation.number is None else f"c{saved.conversation.number}",
        title=visible(saved.title) or "Conversation",
        summary=f"{counted(len(lanes), 'lane')} · {counted(len(prompts), 'prompt')}",
        facts=facts,
        overview=overview_of(with_speeds_of_answers(figures, values)),
        engines=tuple(
            content.engine_view(lane.name, lane.record.definition, lane.begun, find) for lane in lanes
        ),
        sections=tuple(sections),
        prompts=lambda: _prompts(saved, lanes, prompts, find),
        left_out=" ".join(_left_out(len(saved.conversation.prompts) - len(prompts), lanes)),
    )


def _left_out(others: int, lanes: list[_Lane]) -> Iterator[str]:
    if others:
        yield (
            f"{counted(others, 'prompt')} on other branches {'is' if others == 1 else 'are'} not shown. "
            "The CSV and JSON files have all."
        )
    earlier = sum(
        not run.result.definition.has_model_of(lane.record.definition)
        for lane in lanes
        for run in lane.path.values()
    )
    begun = sum(run.result.prefilled is not None for lane in lanes for run in lane.path.values())
    if begun:
        yield f"{counted(begun, 'answer')} with a given beginning {'does' if begun == 1 else 'do'} not count in the mean speeds."
    if earlier:
        yield (
            f"{counted(earlier, 'answer')} of earlier engines of lanes {'is' if earlier == 1 else 'are'} shown, "
            f"but {'does' if earlier == 1 else 'do'} not count in the figures."
        )


def _last_begun(lane: LaneRecord) -> RunResult | None:
    for run in reversed(lane.all_runs):
        if run.result.loaded is not None and run.result.definition.has_model_of(lane.definition):
            return run.result
    return None


def _variants(lane: LaneRecord) -> Mapping[tuple[Run | None, Prompt | None], Sequence[Run]]:
    found = defaultdict(list)
    for run in lane.all_runs:
        found[run.continues, run.prompt].append(run)
    return found


def _values(lanes: list[_Lane], prompts: list[Prompt]) -> tuple[comparison_rows.EngineValues, ...]:
    rows = [
        # with a given beginning, the engine computed only the rest, mostly from its cache
        (
            lane.name,
            run.result if run.result.prefilled is None else dataclasses.replace(run.result, metrics=None),
            index,
        )
        for index, prompt in enumerate(prompts)
        for lane in lanes
        if (run := lane.path.get(prompt)) is not None
        and run.result.definition.has_model_of(lane.record.definition)
    ]
    runs = (
        (name, ExperimentRun(key=RunKey(index, 0, 0), number=0, result=result), False)
        for name, result, index in rows
    )
    return comparison_rows.collect(runs, [lane.name for lane in lanes])


def _prompts(
    saved: SavedConversation, lanes: list[_Lane], prompts: list[tuple[int, Prompt]], find: BackendLookup
) -> Iterator[content.PromptView]:
    active: dict[Prompt | None, str] = {None: ""}
    for prompt in saved.conversation.prompts:  # each after its parent
        active[prompt] = active[prompt.parent] if prompt.system is None else prompt.system
    siblings = Counter(prompt.parent for prompt in saved.conversation.prompts)
    system = ""
    for number, prompt in prompts:
        messages = [Message(role="user", text=visible(prompt.text))]
        if active[prompt] != system:
            system = active[prompt]
            messages.insert(
                0, Message(role="system", text=visible(system) or "(no system prompt from here on)")
            )
        answering = [(lane, lane.path[prompt]) for lane in lanes if prompt in lane.path]
        yield content.PromptView(
            number=number,
            title=f"Prompt {number}",
            messages=tuple(messages),
            facts=_facts(prompt),
            remarks=tuple(_remarks(siblings[prompt.parent], everywhere=len(answering) == len(lanes))),
            rounds=(
                content.answers_side_by_side(
                    [(lane.name, run.result) for lane, run in answering],
                    remarks=[tuple(_variant(lane, run)) for lane, run in answering],
                    with_settings=True,
                ),
            ),
            conditions=content.conditions_of(((lane.name, run) for lane, run in answering), find),
        )


def _facts(prompt: Prompt) -> content.Facts:
    sampling = (f"{name}={value_text(value)}" for name, value in (prompt.sampling or {}).items())
    facts = {
        "Files": ", ".join(blocks.public(file.label) for file in prompt.files),
        "Images": ", ".join(blocks.public(image.name) for image in prompt.images),
        "Sampling from here on": blocks.public(", ".join(sampling)),
    }
    return {name: value for name, value in facts.items() if value}


def _remarks(places: int, *, everywhere: bool) -> Iterator[blocks.Remark]:
    if not everywhere:
        yield blocks.Remark("This prompt is not on the path of every lane.")
    if places > 1:
        yield blocks.Remark(
            f"One of {places} prompts that follow the same prompt: it was edited, or lanes got different prompts."
        )


def _variant(lane: _Lane, run: Run) -> Iterator[blocks.Remark]:
    variants = lane.variants[run.continues, run.prompt]
    if len(variants) > 1:
        yield blocks.Remark(f"Answer {variants.index(run) + 1} of {len(variants)}, the one on the path.")
    if run.result.definition.name != lane.record.definition.name:
        engine = run.result.definition
        yield blocks.Remark(
            blocks.public(f"From the engine {engine.name} ({engine.backend}:{engine.model}).")
        )
