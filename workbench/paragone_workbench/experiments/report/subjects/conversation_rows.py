"""The runs of a conversation as rows of a table."""

from __future__ import annotations

from collections.abc import Iterator

from paragone_workbench.conversation.tree import Prompt
from paragone_workbench.experiments.report.parts.engines import distinct_names
from paragone_workbench.experiments.report.table import Row, row_of
from paragone_workbench.runs.context import path_to
from paragone_workbench.store.records import SavedConversation

__all__ = ["conversation_rows"]


def conversation_rows(saved: SavedConversation) -> Iterator[Row]:
    """Yield all runs of a conversation as rows of a table, lane by lane."""
    places = {prompt: index for index, prompt in enumerate(saved.conversation.prompts)}
    for lane, name in zip(saved.lanes, distinct_names(it.definition.name for it in saved.lanes), strict=True):
        path = path_to(lane.head)
        answered: dict[Prompt, int] = {}
        for run in lane.runs:
            assert run.prompt is not None  # a run of a conversation answers a prompt
            repetition = answered.get(run.prompt, 0)
            answered[run.prompt] = repetition + 1
            yield row_of(
                run.result,
                name=name
                if run.result.definition.name == lane.definition.name
                else run.result.definition.name,
                id=f"r{run.number}",
                prompt_index=places[run.prompt],
                repetition=repetition,
                prompt=run.prompt.text,
                chosen=run in path,
            )
