"""Conversations that tests write to a store step by step, without lanes and engines."""

from __future__ import annotations

import time

from paragone.wire import to_json
from paragone_workbench.conversation.tree import Conversation, Prompt
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.runs.record import RunRecord
from paragone_workbench.store import Batch, LaneRecord, LaneRow, NewText, RunRow, SavedConversation, Store

SMOL = EngineDefinition(name="smol", backend="paper", model="/m/smol", options={"n_ctx": 8})
LARGE = EngineDefinition(name="large", backend="paper", model="/m/large")


class ConversationWriter:
    """A conversation in which every change is saved immediately."""

    def __init__(self, store: Store, text: str | None = None, **fields) -> None:
        self.store = store
        self.conversation = Conversation()
        self.lanes: list[LaneRecord] = []
        if text is not None:
            self.prompt(text, **fields)

    @property
    def id(self) -> int:
        assert self.conversation.id is not None
        return self.conversation.id

    def save(self, **parts) -> None:
        """Save a batch and assign ids to the new records."""
        for record, new_id in self.store.save(Batch(conversation=self.conversation, **parts)).items():
            record.id = new_id

    def load(self) -> SavedConversation:
        return self.store.load(self.id)

    def prompt(self, text: str, parent: Prompt | None = None, **fields) -> Prompt:
        prompt = self.conversation.add(Prompt(text=text, parent=parent, **fields))
        self.save(prompts=(prompt,))
        return prompt

    def lane(self, definition: EngineDefinition = SMOL, position: int | None = None) -> LaneRecord:
        lane = LaneRecord(definition=definition, position=len(self.lanes) if position is None else position)
        self.lanes.append(lane)
        self.change(lane)
        return lane

    def change(self, lane: LaneRecord, **fields) -> None:
        for name, value in fields.items():
            setattr(lane, name, value)
        self.save(lanes=(LaneRow.of(lane),))

    def start(self, prompt: Prompt, lane: LaneRecord, **fields) -> RunRecord:
        """Begin a run that continues the lane's path, and make it the lane's head."""
        fields.setdefault("continues", lane.head)
        fields.setdefault("manifest", {"engine": to_json(lane.definition)})
        run = RunRecord(definition=lane.definition, prompt=prompt, phase="decode", **fields)
        lane.runs.append(run)
        lane.head = run
        self.write(run, lane)
        self.change(lane)
        return run

    def write(self, run: RunRecord, lane: LaneRecord) -> None:
        self.save(runs=(RunRow.of(run, lane, continues=run.continues),))

    def add(self, run: RunRecord, text: str = "", thinking: str = "") -> None:
        """Add text to a run."""
        run.add("answer", text)
        run.add("thinking", thinking)
        self.save(texts=(NewText(run=run, text=text, thinking=thinking),))

    def end(self, run: RunRecord, lane: LaneRecord, state="done", **fields) -> None:
        run.state, run.phase, run.ended = state, "ended", time.time()
        for name, value in fields.items():
            setattr(run, name, value)
        self.write(run, lane)

    def answer(self, prompt: Prompt, lane: LaneRecord, text: str, state="done", **fields) -> RunRecord:
        """Write a complete run."""
        run = self.start(prompt, lane, **fields)
        self.add(run, text)
        self.end(run, lane, state)
        return run


def facts(run: RunRecord | None) -> dict[str, object] | None:
    """Return the saved fields of a run, for comparisons."""
    if run is None:
        return None
    names = ("id", "definition", "state", "finish", "cautions", "settings", "metrics", "manifest", "tokens")
    return {
        **{name: getattr(run, name) for name in (*names, "started", "ended", "text", "thinking")},
        "error": None if run.error is None else (run.error.sentence, run.error.hint),
        "prompt": run.prompt.id if run.prompt else None,
        "continues": run.continues.id if run.continues else None,
    }
