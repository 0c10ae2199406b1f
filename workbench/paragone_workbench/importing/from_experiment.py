"""Save a prompt of an experiment as a conversation, with a lane for each engine, and the engine's answers as variants."""

from __future__ import annotations

from dataclasses import dataclass

from paragone import Message
from paragone_workbench.conversation.tree import Conversation, Prompt
from paragone_workbench.engines.definitions import IMPORTED, EngineDefinition
from paragone_workbench.experiments.suites.saved_prompts import saved_prompt
from paragone_workbench.experiments.suites.suite import SuitePrompt
from paragone_workbench.identity import derived_id
from paragone_workbench.importing.conversations import Added
from paragone_workbench.runs.result import RunResult
from paragone_workbench.runs.run import Run
from paragone_workbench.store import Experiment, LaneRecord, SavedConversation, Store
from paragone_workbench.store.recording.changes import Changes
from paragone_workbench.store.recording.whole import save_whole

_GIVEN = EngineDefinition(name="suite", backend=IMPORTED, model="suite")
"""The engine of answers that the suite itself has before the prompt."""


def add_prompt(store: Store, experiment_number: int, cell: int) -> Added:
    """Save the prompt of an answer (the 17 in `e3/17`) as a conversation.

    The runs belong to the experiment and to the conversation. A second call finds the conversation again. Raises InputError
    if the answer does not exist, and ParagoneError.
    """
    experiment = store.experiments.get(experiment_number)
    index = store.experiments.run(experiment_number, cell).key.prompt_index
    conversation_id = derived_id(experiment.id, "conversation", str(index))
    known = store.number_of(conversation_id)
    if known is not None:
        is_restored = store.restore_conversation(known)
        return Added(known, is_new=False, is_completed=False, is_restored=is_restored)
    prompt = saved_prompt(store, experiment_number, index)
    builder = _Builder(experiment, conversation_id, prompt)
    for run in store.experiments.runs_of_prompt(experiment_number, index):
        builder.add(run.key.engine_index, run.result)
    title = f"e{experiment_number} #{index}: {prompt.text}"
    number = save_whole(store, Changes.of(builder.saved()), title)
    return Added(number, is_new=True, is_completed=False)


@dataclass(eq=False)
class _Builder:
    experiment: Experiment
    conversation_id: str
    suite_prompt: SuitePrompt

    def __post_init__(self) -> None:
        self.conversation = Conversation(created=self.experiment.created, id=self.conversation_id)
        self._given: list[tuple[Prompt, str]] = []
        """The earlier prompts of the conversation in the suite, each with the suite's answer."""
        self._system: str | None = None
        self._last: Prompt | None = None
        for message in self.suite_prompt.messages:
            self._add_message(message)
        if self._last is None:
            self._add_message(Message(role="user", text=""))
        self._lanes: dict[int, LaneRecord] = {}
        self._runs: list[Run] = []

    def _add_message(self, message: Message) -> None:
        if message.role == "system":
            self._system = message.text
        elif message.role == "user":
            self._last = self.conversation.add(
                Prompt(
                    id=self._id("prompt", str(len(self.conversation.prompts))),
                    text=message.text,
                    images=message.images,
                    parent=self._last,
                    system=self._system if self._last is None else None,
                    created=self.experiment.created,
                )
            )
        elif self._last is not None:
            self._given.append((self._last, message.text))

    def add(self, engine: int, result: RunResult) -> None:
        """Add an answer to the lane of its engine."""
        lane = self._lanes.get(engine)
        if lane is None:
            lane = self._lanes[engine] = LaneRecord(
                id=self._id("lane", str(engine)),
                definition=self.experiment.engines[engine],
                position=engine,
            )
            self._add_given(lane, engine)
        before = (
            lane.head
            if not lane.runs or lane.head is None or lane.head.prompt is not self._last
            else lane.head.continues
        )
        self._answer(lane, Run(result, prompt=self._last, continues=before))

    def _add_given(self, lane: LaneRecord, engine: int) -> None:
        for number, (prompt, text) in enumerate(self._given):
            result = RunResult(
                id=self._id("given", str(engine), str(number)),
                definition=_GIVEN,
                started=self.experiment.created,
                ended=self.experiment.created,
                state="done",
                text=text,
            )
            self._answer(lane, Run(result, prompt=prompt, continues=lane.head))

    def _answer(self, lane: LaneRecord, run: Run) -> None:
        lane.head = run
        lane.runs.append(run)
        self._runs.append(run)

    def _id(self, *parts: str) -> str:
        return derived_id(self.conversation_id, *parts)

    def saved(self) -> SavedConversation:
        """Return the conversation."""
        return SavedConversation(
            conversation=self.conversation,
            title="",
            updated=self.experiment.created,
            lanes=tuple(self._lanes[engine] for engine in sorted(self._lanes)),
            runs=tuple(self._runs),
        )
