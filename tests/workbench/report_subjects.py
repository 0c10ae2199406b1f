"""Conversations and experiments that tests write reports of."""

import time
from collections.abc import Collection, Mapping, Sequence

from tests.workbench.conversation_writer import LARGE, SMOL, result_of

from paragone import Json, LoadedModel, Message, RunRequest, RunSettings
from paragone.wire import to_json
from paragone_workbench.conversation.tree import Conversation, Prompt
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.experiments.suite import SuitePrompt
from paragone_workbench.runs.metrics import RunMetrics
from paragone_workbench.runs.result import RunResult, manifest
from paragone_workbench.runs.run import Run
from paragone_workbench.store import Experiment, LaneRecord, RunKey, SavedConversation, Store

ENGINES = (SMOL, LARGE)


def ended(text: str, engine=SMOL, **fields) -> RunResult:
    """A run that has ended by itself."""
    loaded = LoadedModel(name=engine.name, context=1024, quantization="Q4_1", size=97_000_000)
    fields.setdefault(
        "metrics", RunMetrics(ttft_s=0.25, decode_tps=40.0, completion_tokens=12, prompt_tokens=7)
    )
    fields.setdefault("settings", RunSettings(seed=3, sampling={"temperature": 0.5}))
    fields.setdefault("manifest", manifest(engine, None, loaded, RunRequest(messages=())))
    return result_of(engine, text, waited_s=1.5, **fields)


def conversation(prompt: str, *answers: str, **fields) -> SavedConversation:
    """A conversation with one prompt, which a lane for each answer has answered."""
    asked = Prompt(text=prompt, **fields)
    lanes = []
    for position, text in enumerate(answers):
        engine = ENGINES[position % 2]
        run = Run(ended(text, engine), prompt=asked)
        run.number = position + 1
        lanes.append(LaneRecord(definition=engine, position=position, head=run, runs=[run]))
    return SavedConversation(
        conversation=Conversation(prompts=[asked], number=7),
        title=prompt,
        updated=time.time(),
        lanes=tuple(lanes),
        runs=tuple(lane.runs[0] for lane in lanes),
    )


def add_experiment(
    store: Store,
    answers: Mapping[int, Sequence[str]],
    *,
    repetitions: int = 1,
    assertions: Mapping[int, Json] | None = None,
    tags: Mapping[int, tuple[str, ...]] | None = None,
    name: str = "colours.jsonl",
    engines: Sequence[EngineDefinition] = ENGINES,
    failed: Collection[tuple[int, int]] = (),
) -> Experiment:
    """Save an experiment. `answers` has those of the engines to each prompt, by its index; all repetitions
    have the same. `assertions` are the results at prompts, for the second engine. `failed` has the indices
    of prompts and engines."""
    messages = {index: (Message(role="user", text=f"Prompt at {index}"),) for index in answers}
    prompts = [
        SuitePrompt(index=index, line=index + 1, messages=asked, tags=(tags or {}).get(index, ()))
        for index, asked in messages.items()
    ]
    new = store.experiments.create(
        Experiment(
            name=name,
            fingerprint=name,
            schedule="sequential",
            repetitions=repetitions,
            engines=tuple(engines),
            machine={"cores": 2},
            prompts=len(prompts),
            created=7.0,
        ),
        [(prompt.index, to_json(prompt)) for prompt in prompts],
    )
    for index, texts in answers.items():
        for number, (engine, text) in enumerate(zip(engines, texts, strict=True)):
            for repetition in range(repetitions):
                key = RunKey(prompt_index=index, engine_index=number, repetition=repetition)
                results = [(assertions or {})[index]] if number and index in (assertions or {}) else []
                state = "failed" if (index, number) in failed else "done"
                store.experiments.save(new, key, ended(text, engine, state=state), results)
    return store.experiments.get(new)
