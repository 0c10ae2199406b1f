"""Greedy answers of engines to the same prompts, and KV cache types as candidates."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from paragone import Backend, InputError, Json, Message, ParagoneError
from paragone.options import describe
from paragone_workbench.compare.agreement import summarize
from paragone_workbench.engines.definitions import EngineDefinition, check_engine, with_options
from paragone_workbench.engines.engine import EngineTask
from paragone_workbench.engines.registry import Registry
from paragone_workbench.measure.fidelity import WINDOW, Fidelity, MeasurementStep
from paragone_workbench.measure.fidelity_verdict import fidelity_json
from paragone_workbench.runs import execute, result, run
from paragone_workbench.scheduling import EnginePool


def known_sampling(engine: EngineTask) -> frozenset[str]:
    return (
        frozenset(info.name for info in describe(engine.backend.sampling)) if engine.backend else frozenset()
    )


def greedy(engine: EngineTask, **more: Json) -> Mapping[str, Json]:
    """Return the sampling options for greedy answers, and the options `more`, without options that the engine lacks."""
    wanted: dict[str, Json] = {"temperature": 0, **more}
    known = known_sampling(engine)
    return {name: value for name, value in wanted.items() if name in known}


_OPTIONS = frozenset({"type_k", "type_v", "cache_type"})
"""The names of load options that set the type of the KV cache, or of one half (keys or values) of the cache."""


def kv_candidates(
    engine: EngineDefinition, backend: Backend, types: Sequence[str]
) -> tuple[EngineDefinition, tuple[EngineDefinition, ...]]:
    """Return the engine with the default types of its backend, and a candidate for each distinct type in `types`.

    Both halves of the cache get the type. The name of each candidate ends in the type. Raises InputError if the
    backend has no option for the type, or a type is not one of the option's choices.
    """
    names = [info.name for info in describe(backend.load_options) if info.name in _OPTIONS]
    if not names:
        raise InputError(
            f"The KV cache of {engine.name} has no type that paragone can set: {backend.title} has no option for it.",
            hint="Use a backend that loads the model itself.",
        )
    default = dataclasses.replace(
        engine, options={name: value for name, value in engine.options.items() if name not in names}
    )
    candidates = tuple(
        with_options(
            dataclasses.replace(default, name=f"{engine.name} KV {kind}"), dict.fromkeys(names, kind), backend
        )
        for kind in dict.fromkeys(types)
    )
    for candidate in candidates:
        check_engine(candidate, backend)
    return default, candidates


LONGEST = 200
"""Largest number of tokens of an answer, unless the user sets `max_tokens`: enough to show whether an answer repeats
itself."""

_SEED = 1
"""The seed for engines that sample although greedy answers are wanted, so that all use the same seed."""


class Comparison:
    """A comparison of engines by distributions over a text and by greedy answers to prompts. The results so far can be
    read at any time, also after an error or `stop`."""

    def __init__(
        self,
        registry: Registry,
        engines: Sequence[EngineDefinition],
        text: str,
        prompts: Sequence[Sequence[Message]],
        *,
        known: frozenset[str] = frozenset(),
        window: int = WINDOW,
    ) -> None:
        """Prepare to compare the first engine with the others. `known` has the names of the engines whose distributions
        are known, and which therefore only answer the prompts."""
        self._pool = EnginePool(registry, mode="sequential")
        reference, *candidates = self.engines = tuple(map(self._pool.add, engines))
        unknown = [candidate for candidate in candidates if candidate.definition.name not in known]
        self.fidelity = Fidelity(reference, unknown, text, window=window)
        self.refused: ParagoneError | None = None
        """Why no distributions were compared."""
        self.prompts = tuple(tuple(messages) for messages in prompts)
        self.answers: dict[EngineTask, dict[int, result.RunResult]] = {engine: {} for engine in self.engines}
        """The answers of each engine by the number of the prompt."""
        self.answer_errors: dict[EngineTask, ParagoneError] = {}
        self.stopped = False
        self._execution: execute.Execution | None = None

    @property
    def cautions(self) -> tuple[str, ...]:
        return tuple(
            f"{engine.definition.name} has no option `temperature`: whether its answers are greedy is unknown."
            for engine in self.engines
            if "temperature" not in known_sampling(engine)
        )

    async def measure(self, on_step: Callable[[MeasurementStep], None]) -> None:
        """Measure the distributions, then ask prompt by prompt. An error of an engine is kept with that engine; other
        engines continue."""
        if self.fidelity.candidates:
            try:
                await self.fidelity.measure(on_step)
            except ParagoneError as error:
                self.refused = None if self.stopped else error
        total = len(self.prompts) * len(self.engines)
        for number in range(len(self.prompts)):
            for position, engine in enumerate(self.engines):
                if self.stopped:
                    return
                done = number * len(self.engines) + position
                on_step(MeasurementStep("prompt", done, total, number + 1, len(self.prompts)))
                if engine not in self.answer_errors or engine.is_open:
                    await self._ask(engine, number)

    async def _ask(self, engine: EngineTask, number: int) -> None:
        longest = engine.definition.options.get("max_tokens", LONGEST)
        spec = run.RunSpec(
            messages=self.prompts[number],
            sampling=greedy(engine, max_tokens=longest, seed=_SEED),
            logprobs=0 if engine.capabilities.logprobs else None,
            cold=True,  # an answer depends on no earlier one
        )
        execution = self._execution = self._pool.run(engine, spec)
        try:
            answer = await execution.result()
        except ParagoneError as error:
            if not self.stopped:
                self.answer_errors.setdefault(engine, error)
            return
        finally:
            self._execution = None
        if answer.state == "done":
            self.answers[engine][number] = answer

    async def stop(self) -> None:
        self.stopped = True
        if self._execution is not None:
            await self._execution.stop()
        await self.fidelity.stop()

    async def close(self) -> None:
        await self._pool.close()

    @property
    def is_measured(self) -> bool:
        return bool(self.fidelity.reference.windows) or any(self.answers.values())

    def errors(self) -> dict[str, ParagoneError]:
        if self.stopped:
            return {}
        found = {engine.definition.name: error for engine, error in self.answer_errors.items()}
        return found | {one.name: one.error for one in self.fidelity.measured if one.error is not None}

    def to_json(self, *, text: str | None, prompts: str | None) -> dict[str, Json]:
        """Return what was measured. `text` and `prompts` name the files; None for those that come with paragone."""
        free_running: Json = None
        if any(self.answers.values()):
            free_running = {
                "prompts": prompts,
                "asked": len(self.prompts),
                "partial": self.stopped or bool(self.answer_errors),
                "notes": list(self.cautions),
                **summarize([(engine.definition.name, own) for engine, own in self.answers.items()]),
            }
        return {"text": text, **fidelity_json(self.fidelity), "free_running": free_running}
