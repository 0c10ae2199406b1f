"""Save a prompt of an experiment as a conversation, with a lane for each engine, and the engine's answers as variants."""

from __future__ import annotations

from collections.abc import Iterable

from paragone import Message
from paragone_workbench.conversation.tree import Conversation, Prompt
from paragone_workbench.engines.definitions import IMPORTED, EngineDefinition
from paragone_workbench.experiments.suite import saved_prompt
from paragone_workbench.files.importing import Added
from paragone_workbench.ids import derived_id
from paragone_workbench.runs.result import RunResult
from paragone_workbench.runs.run import Run
from paragone_workbench.store import Experiment, LaneRecord, SavedConversation, Store
from paragone_workbench.store.changes import Changes
from paragone_workbench.store.saving import save_whole

_GIVEN = EngineDefinition(name="suite", backend=IMPORTED, model="suite")
"""The engine of the answers that the suite itself gives to earlier prompts."""


def add_prompt(store: Store, experiment_number: int, cell: int) -> Added:
    """Save the prompt of an answer as a conversation; `cell` is the number of the answer, such as 17 in `e3/17`.

    The runs belong to the experiment and to the conversation. A second call finds the conversation again. Raises InputError
    if the answer does not exist, and ParagoneError if the history cannot be read or written.
    """
    experiment = store.experiments.get(experiment_number)
    index = store.experiments.run(experiment_number, cell).key.prompt_index
    conversation_id = derived_id(experiment.id, "conversation", str(index))
    number = store.number_of(conversation_id)
    is_new = number is None
    if number is None:
        prompt = saved_prompt(store, experiment_number, index)
        builder = _Builder(experiment, conversation_id, prompt.messages)
        for run in store.experiments.runs_of_prompt(experiment_number, index):
            builder.add(run.key.engine_index, run.result)
        title = f"e{experiment_number} #{index}: {prompt.text}"
        number = save_whole(store, Changes.of(builder.saved()), title)
    return Added(number, store.summaries([number])[number].title, is_new=is_new, is_completed=False)


class _Builder:
    """Builds the conversation of a prompt of an experiment from the messages of the suite and the runs of the engines."""

    def __init__(self, experiment: Experiment, conversation_id: str, messages: Iterable[Message]) -> None:
        self._experiment = experiment
        self._conversation = Conversation(created=experiment.created, id=conversation_id)
        self._given: list[tuple[Prompt, str]] = []
        """The earlier prompts of the conversation in the suite, each with the suite's answer."""
        self._system: str | None = None
        self._last: Prompt | None = None
        self._lanes: dict[int, LaneRecord] = {}
        for message in messages:
            self._add_message(message)
        if self._last is None:
            self._add_message(Message(role="user", text=""))

    def _add_message(self, message: Message) -> None:
        if message.role == "system":
            self._system = message.text
        elif message.role == "user":
            self._last = self._conversation.add(
                Prompt(
                    id=self._id("prompt", str(len(self._conversation.prompts))),
                    text=message.text,
                    images=message.images,
                    parent=self._last,
                    system=self._system if self._last is None else None,
                    created=self._experiment.created,
                )
            )
        elif self._last is not None:
            self._given.append((self._last, message.text))

    def add(self, engine: int, result: RunResult) -> None:
        """Add an answer to the lane of its engine. Answers are added in the order of the engines."""
        lane = self._lanes.get(engine)
        if lane is None:
            lane = self._lanes[engine] = LaneRecord(
                id=self._id("lane", str(engine)),
                definition=self._experiment.engines[engine],
                position=engine,
            )
            self._add_given(lane)
        before = lane.head
        if before is not None and before.prompt is self._last:  # an earlier repetition
            before = before.continues
        _answer(lane, Run(result, prompt=self._last, continues=before))

    def _add_given(self, lane: LaneRecord) -> None:
        for number, (prompt, text) in enumerate(self._given):
            result = RunResult(
                id=self._id("given", str(lane.position), str(number)),
                definition=_GIVEN,
                started=self._experiment.created,
                ended=self._experiment.created,
                state="done",
                text=text,
            )
            _answer(lane, Run(result, prompt=prompt, continues=lane.head))

    def _id(self, *parts: str) -> str:
        return derived_id(self._conversation.id, *parts)

    def saved(self) -> SavedConversation:
        lanes = tuple(self._lanes.values())
        return SavedConversation(
            conversation=self._conversation,
            title="",
            updated=self._experiment.created,
            lanes=lanes,
            runs=tuple(run for lane in lanes for run in lane.runs),
        )


def _answer(lane: LaneRecord, run: Run) -> None:
    lane.head = run
    lane.runs.append(run)
