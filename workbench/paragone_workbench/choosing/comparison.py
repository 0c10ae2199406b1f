"""Compares engines with the reference, by distributions over a text and by greedy answers. Each engine is opened once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from paragone import Json, Message, ParagoneError
from paragone_workbench.compare.agreement.summary import AnswerSummary, summarize
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments.known_measurements import by_engine
from paragone_workbench.measure.fidelity.measurement import Fidelity
from paragone_workbench.measure.fidelity.report import fidelity_json
from paragone_workbench.measure.free_running import FreeRunning
from paragone_workbench.scheduling.pool import EnginePool

if TYPE_CHECKING:
    from paragone_workbench.measure.fidelity.measurement import FidelityStep
    from paragone_workbench.measure.free_running import FreeRunningStep


class Comparison:
    """A comparison of engines. The results so far can be read at any time, also after an error or `stop`."""

    def __init__(
        self,
        registry: Registry,
        engines: Sequence[EngineDefinition],
        text: str,
        prompts: Sequence[Sequence[Message]],
        *,
        known: frozenset[str] = frozenset(),
        window: int,
    ) -> None:
        """Prepare to compare the first engine with the others, by distributions over a text and by answers to prompts.

        `known` has the names of the engines whose distributions are known, and which therefore only answer the prompts.
        """
        pool = EnginePool(registry, mode="sequential")
        reference, *candidates = map(pool.add, engines)
        unknown = [candidate for candidate in candidates if candidate.definition.name not in known]
        self.fidelity = Fidelity(reference, unknown, text, window=window)
        self.answers = FreeRunning(pool, prompts)
        self.refused: ParagoneError | None = None
        """Why no distributions are compared."""
        self.stopped = False
        self._pool = pool

    async def measure(
        self, on_step: Callable[[FidelityStep], None], on_answer: Callable[[FreeRunningStep], None]
    ) -> None:
        """Open and compare the engines. An error of one engine is kept; other engines continue."""
        if self.fidelity.candidates:
            try:
                await self.fidelity.measure(on_step)
            except ParagoneError as error:
                self.refused = None if self.stopped else error
        if not self.stopped:
            await self.answers.measure(on_answer)

    async def stop(self) -> None:
        """End the measurement early."""
        self.stopped = True
        await self.answers.stop()
        await self.fidelity.stop()

    async def close(self) -> None:
        """Close the engines."""
        await self._pool.close()

    def errors(self) -> dict[str, ParagoneError]:
        """Return why engines could not be compared, by the names of the engines."""
        if self.stopped:
            return {}
        found = {engine.definition.name: error for engine, error in self.answers.errors.items()}
        measured = (self.fidelity.reference, *self.fidelity.candidates)
        return found | {one.name: one.error for one in measured if one.error is not None}

    def candidates_json(self) -> dict[str, Mapping[str, Json]]:
        """Return the figures of each candidate's distributions, by the candidate's name."""
        compared = {one.name for one in self.fidelity.candidates if one.windows or one.reason}
        items = fidelity_json(self.fidelity)["candidates"] if compared else ()
        return {name: item for name, item in by_engine(items, "engine").items() if name in compared}

    @property
    def summary(self) -> AnswerSummary | None:
        """The comparison of the answers; None if there are none."""
        answers = self.answers
        if not any(map(answers.answers, answers.engines)):
            return None
        return summarize([(engine.definition.name, answers.answers(engine)) for engine in answers.engines])

    def answers_json(self, prompts: str | None) -> dict[str, Json] | None:
        """Return the figures of the answers in the form of `fidelity --free-running`; None without answers.

        `prompts` is the name of the suite; None for the prompts that come with paragone.
        """
        if (summary := self.summary) is None:
            return None
        return {
            "prompts": prompts,
            "asked": len(self.answers.prompts),
            "partial": self.answers.partial,
            "notes": list(self.answers.cautions),
            **summary.to_json(),
        }
