"""Save a prompt of an experiment as a conversation, with a lane for each engine, and the engine's answers as variants."""

from collections.abc import Iterable

from paragone import Message
from paragone_workbench.conversation.tree import Conversation, Prompt
from paragone_workbench.engines.definitions import IMPORTED, EngineDefinition
from paragone_workbench.experiments.suite import saved_prompt
from paragone_workbench.files.importing import Added
from paragone_workbench.ids import derived_id
from paragone_workbench.runs.result import RunResult
from paragone_workbench.runs.run import Run
from paragone_workbench.store import Experiment, ExperimentRun, LaneRecord, SavedConversation, Store
from paragone_workbench.store.outbox import whole_writes
from paragone_workbench.store.saving import save_whole

_GIVEN = EngineDefinition(name="suite", backend=IMPORTED, model="suite")
"""The engine of the answers that the suite itself gives to earlier prompts."""


def add_prompt(store: Store, experiment_number: int, cell: int) -> Added:
    """Save the prompt of an answer, 17 in `e3/17`, as a conversation with the experiment's runs; a second call finds
    it again. Raises InputError without such an answer, and ParagoneError."""
    experiment = store.experiments.get(experiment_number)
    index = store.experiments.run(experiment_number, cell).key.prompt_index
    conversation_id = derived_id(experiment.id, "conversation", str(index))
    number = store.number_of(conversation_id)
    is_new = number is None
    if number is None:
        prompt = saved_prompt(store, experiment_number, index)
        runs = store.experiments.runs_of_prompt(experiment_number, index)
        saved = _conversation(experiment, conversation_id, prompt.messages, runs)
        title = f"e{experiment_number} #{index}: {prompt.text}"
        number = save_whole(store, saved.conversation, whole_writes(saved), title)
    return Added(number, store.summaries([number])[number].title, is_new=is_new, is_completed=False)


def _conversation(
    experiment: Experiment, own_id: str, messages: Iterable[Message], runs: Iterable[ExperimentRun]
) -> SavedConversation:
    """Return the conversation of a prompt, from the messages of the suite and the runs in the order of the engines."""
    conversation = Conversation(created=experiment.created, id=own_id)
    given: list[tuple[Prompt, str]] = []  # the earlier prompts in the suite, each with the suite's answer
    system: str | None = None
    last: Prompt | None = None
    for message in (*messages, None):
        if message is not None and message.role == "system":
            system = message.text
        elif message is not None and message.role == "assistant":
            given += [(last, message.text)] if last is not None else []
        elif message is not None or last is None:  # a conversation without a prompt gets an empty one
            last = conversation.add(
                Prompt(
                    id=derived_id(own_id, "prompt", str(len(conversation.prompts))),
                    text="" if message is None else message.text,
                    images=() if message is None else message.images,
                    parent=last,
                    system=system if last is None else None,
                    created=experiment.created,
                )
            )
    lanes: dict[int, LaneRecord] = {}
    for run in runs:
        engine = run.key.engine_index
        if engine not in lanes:
            lanes[engine] = _lane(experiment, own_id, engine, given)
        before = lanes[engine].head
        if before is not None and before.prompt is last:  # an earlier repetition
            before = before.continues
        _answer(lanes[engine], Run(run.result, prompt=last, continues=before))
    return SavedConversation(
        conversation=conversation,
        title="",
        updated=experiment.created,
        lanes=tuple(lanes.values()),
        runs=tuple(run for lane in lanes.values() for run in lane.runs),
    )


def _lane(
    experiment: Experiment, own_id: str, engine: int, given: Iterable[tuple[Prompt, str]]
) -> LaneRecord:
    """Return the lane of an engine, with the answers that the suite itself gives."""
    lane = LaneRecord(
        id=derived_id(own_id, "lane", str(engine)), definition=experiment.engines[engine], position=engine
    )
    for number, (prompt, text) in enumerate(given):
        result = RunResult(
            id=derived_id(own_id, "given", str(engine), str(number)),
            definition=_GIVEN,
            started=experiment.created,
            ended=experiment.created,
            state="done",
            text=text,
        )
        _answer(lane, Run(result, prompt=prompt, continues=lane.head))
    return lane


def _answer(lane: LaneRecord, run: Run) -> None:
    lane.head = run
    lane.runs.append(run)
