"""Experiments and conversations with real runs, and their documents, for tests of reports and replay."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from paragone import Json, Message
from paragone.wire import to_json
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments.document import document_of_experiment, documents_of_conversations
from paragone_workbench.lanes.session import Session
from paragone_workbench.machine import describe_machine
from paragone_workbench.runs.result import RunResult
from paragone_workbench.runs.run import RunSpec
from paragone_workbench.store import Experiment, History, RunKey, Store
from paragone_workbench.workbench import Workbench


async def run_experiment(
    history: History, engines: Sequence[EngineDefinition], prompts: Sequence[str]
) -> int:
    """Run prompts on engines, one after the other, save the experiment, and return its id."""
    return await save_experiment(history, engines, prompts, await run_prompts(engines, prompts))


async def run_prompts(
    engines: Sequence[EngineDefinition], prompts: Sequence[str]
) -> Mapping[RunKey, RunResult]:
    """Run prompts on engines, one after the other, and return the results."""
    results = {}
    async with Workbench(Registry(), mode="sequential") as workbench:
        for number, definition in enumerate(engines):
            handle = workbench.add(definition)
            handle.open(1)
            for index, text in enumerate(prompts):
                run = workbench.run(handle, dataclasses.replace(RunSpec.of_prompt(text), cold=True))
                await run.ended()
                key = RunKey(prompt_index=index, engine_index=number, repetition=0)
                results[key] = run.result
    return results


async def save_experiment(
    history: History,
    engines: Sequence[EngineDefinition],
    prompts: Sequence[str],
    results: Mapping[RunKey, RunResult],
) -> int:
    """Save an experiment with the results of `run_prompts`, and return its id."""
    experiment = Experiment(
        name="colours",
        fingerprint="f",
        schedule="sequential",
        repetitions=1,
        engines=tuple(engines),
        machine=await describe_machine(),
        prompts=len(prompts),
        created=1.0,
    )
    contents: list[tuple[int, Json]] = [
        (index, {"index": index, "line": index + 1, "messages": [to_json(Message(role="user", text=text))]})
        for index, text in enumerate(prompts)
    ]
    new = await history.call(lambda store: store.experiments.create(experiment, contents))
    for key, result in results.items():
        await history.call(partial(_save, new, key, result))
    return new


def _save(experiment_id: int, key: RunKey, result: RunResult, store: Store) -> int:
    return store.experiments.save(experiment_id, key, result)


async def chat(history: History, engine: EngineDefinition, prompts: Iterable[str], lanes: int = 1) -> int:
    """Send prompts to an engine in the lanes of a conversation, one after the other, and return its id."""
    session = Session(Registry(), system="Be brief.")
    session.recorder.open(history)
    for _ in range(lanes):
        session.add_lane(engine)
    session.open_engines()
    for text in prompts:
        session.send(text)
        await session.answered()
    await session.saved()
    await session.close()
    assert session.conversation.number is not None
    return session.conversation.number


async def write_document(history: History, number: str, path: Path) -> Path:
    """Write the document of `e3` or `c7`."""

    def pieces(store: Store) -> list[str]:
        if number[0] == "e":
            return list(document_of_experiment(store, int(number[1:])))
        return list(documents_of_conversations(store, [store.load(int(number[1:]))], Registry().find))

    path.write_text("".join(await history.call(pieces)))
    return path
