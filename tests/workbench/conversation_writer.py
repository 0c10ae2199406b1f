"""Conversations that tests write to a store step by step, without lanes and engines."""

import dataclasses
import time

from paragone import ParagoneError
from paragone.wire import to_json
from paragone_workbench.conversation.tree import Conversation, Prompt
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.ids import new_id
from paragone_workbench.runs.result import RunResult
from paragone_workbench.runs.run import Run
from paragone_workbench.store import LaneRecord, SavedConversation, Store
from paragone_workbench.store.outbox import Outbox

SMOL = EngineDefinition(name="smol", backend="paper", model="/m/smol", options={"n_ctx": 8})
LARGE = EngineDefinition(name="large", backend="paper", model="/m/large")


class ConversationWriter:
    """A conversation in which every change is saved immediately."""

    def __init__(self, store: Store, text: str | None = None, **fields) -> None:
        self.store = store
        self.conversation = Conversation()
        self.lanes: list[LaneRecord] = []
        self._outbox = Outbox(self.conversation)
        if text is not None:
            self.prompt(text, **fields)

    @property
    def number(self) -> int:
        assert self.conversation.number is not None
        return self.conversation.number

    def save(self) -> None:
        """Save what has changed, and give the new records their numbers."""
        writes, lengths = self._outbox.take()
        self._outbox.committed(writes, lengths, self.store.save(writes))

    def load(self) -> SavedConversation:
        return self.store.load(self.number)

    def prompt(self, text: str, parent: Prompt | None = None, **fields) -> Prompt:
        prompt = self.conversation.add(Prompt(text=text, parent=parent, **fields))
        self._outbox.put_prompt(prompt)
        self.save()
        return prompt

    def lane(self, definition: EngineDefinition = SMOL, position: int | None = None) -> LaneRecord:
        lane = LaneRecord(definition=definition, position=len(self.lanes) if position is None else position)
        self.lanes.append(lane)
        self.change(lane)
        return lane

    def change(self, lane: LaneRecord, **fields) -> None:
        for name, value in fields.items():
            setattr(lane, name, value)
        self._outbox.put_lane(lane)
        self.save()

    def start(self, prompt: Prompt, lane: LaneRecord, **fields) -> Run:
        """Begin a run that continues the lane's path, and make it the lane's head."""
        run = Run.of(lane.definition, prompt=prompt, continues=fields.pop("continues", lane.head))
        run.phase = "decode"
        fields.setdefault("manifest", {"engine": to_json(lane.definition)})
        change_result(run, **fields)
        lane.runs.append(run)
        lane.head = run
        self.write(run, lane)
        self.change(lane)
        return run

    def write(self, run: Run, lane: LaneRecord) -> None:
        self._outbox.runs.setdefault(run, lane)
        self._outbox.put_run(run)
        self.save()

    def add(self, run: Run, text: str = "", thinking: str = "") -> None:
        """Add text to a run."""
        run.add("answer", text)
        run.add("thinking", thinking)
        self.save()

    def end(self, run: Run, lane: LaneRecord, state="done", **fields) -> None:
        run.phase = "ended"
        change_result(run, state=state, ended=time.time(), **fields)
        self.write(run, lane)

    def answer(self, prompt: Prompt, lane: LaneRecord, text: str, state="done", **fields) -> Run:
        """Write a complete run."""
        run = self.start(prompt, lane, **fields)
        self.add(run, text)
        self.end(run, lane, state)
        return run


def result_of(engine: EngineDefinition, text: str = "", **fields) -> RunResult:
    """Return the result of a run that has ended."""
    fields = {"id": new_id(), "state": "done", "started": time.time(), **fields}
    return RunResult(definition=engine, text=text, **fields)


def change_result(run: Run, *, error: ParagoneError | None = None, **fields) -> None:
    """Change fields of a run's result."""
    if error is not None:
        fields |= {"error": error.message, "hint": error.hint}
    for token in fields.pop("tokens", ()):
        run.keep(token)
    run.result = dataclasses.replace(run.result, **fields)


def facts(run: Run | None) -> tuple[object, ...] | None:
    """Return what is saved of a run, for comparisons."""
    if run is None:
        return None
    prompt, continues = run.prompt, run.continues
    return run.result, run.number, prompt and prompt.id, continues and continues.id
