"""Measures the fidelity of engines, and prints and saves the figures."""

from __future__ import annotations

from collections.abc import Sequence

from paragone import Json, ParagoneError
from paragone_cli.command_line.event_loop import interruptible, run
from paragone_cli.command_line.output import note, print_error, put_json, warn
from paragone_cli.command_line.saved import save_measurement
from paragone_cli.measurement_progress.fidelity_progress import FidelityProgress
from paragone_cli.measuring.fidelity.fidelity_text import put_fidelity
from paragone_cli.measuring.fidelity.free_running_text import put_answers
from paragone_cli.measuring.fidelity.prompts import PromptFile
from paragone_workbench.choosing.comparison import Comparison
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.registry import Registry
from paragone_workbench.measure.fidelity.report import fidelity_json
from paragone_workbench.measure.fidelity.verdict import above_limit, unchanged


class FidelityRun:
    """The measurements of one command. The first engine is the reference."""

    def __init__(
        self,
        registry: Registry,
        engines: Sequence[EngineDefinition],
        text: str,
        name: str | None,
        *,
        window: int,
        prompts: PromptFile | None,
    ) -> None:
        """Prepare to measure engines on a text. `name` is the name of the text's file; None for the text of paragone.

        The engines answer `prompts` greedily; None for no answers.
        """
        self._registry = registry
        self._engines = engines
        self._name = name
        self._prompts = prompts
        self._comparison = Comparison(
            registry, engines, text, () if prompts is None else prompts.prompts, window=window
        )
        self._fidelity = self._comparison.fidelity
        self._refused = False

    def run(self, *, limit: float | None, as_json: bool) -> int:
        """Measure, print and save. Returns the exit code.

        `limit` is the largest mean KL divergence, in nats, with which the exit code is 0.
        """
        status = run(self._run(as_json=as_json))
        if self._is_measured:
            save_measurement("fidelity", self._engines, self._to_json(), self._registry)
        exceeded = () if limit is None else above_limit(self._fidelity, limit)
        for sentence in exceeded:
            note(sentence)
        return status or int(bool(exceeded))

    @property
    def _is_measured(self) -> bool:
        return bool(self._fidelity.reference.windows) or self._comparison.summary is not None

    async def _run(self, *, as_json: bool) -> int:
        async with interruptible(self._comparison) as interrupts:
            with FidelityProgress() as progress:
                await self._measure(progress)
        if as_json:
            put_json(self._to_json())
        else:
            self._put()
        for candidate in self._fidelity.candidates:
            if sentence := unchanged(candidate, self._fidelity):
                warn(sentence)
        errors = self._errors()
        for error in errors:
            print_error(error)
        status = interrupts.exit_code(errors, nothing_done=bool(errors) and not self._is_measured)
        return status or int(self._refused)

    def _put(self) -> None:
        summary = self._comparison.summary
        if self._fidelity.reference.windows or summary is None:
            put_fidelity(self._fidelity)
        if summary is not None:
            put_answers(summary, self._comparison.answers)

    async def _measure(self, progress: FidelityProgress) -> None:
        await self._comparison.measure(progress.begin, progress.answer)
        if (refused := self._comparison.refused) is not None:
            if not self._is_measured:
                raise refused
            # an engine without distributions is compared by its answers: nothing failed
            self._refused = self._fidelity.reference.engine.capabilities.distributions
            note(f"There is no comparison of distributions. {refused}")

    def _errors(self) -> list[ParagoneError]:
        measured = (self._fidelity.reference, *self._fidelity.candidates)
        found = [*(one.error for one in measured), *self._comparison.answers.errors.values()]
        return list({id(error): error for error in found if error is not None}.values())

    def _to_json(self) -> dict[str, Json]:
        answers = self._comparison.answers_json(None if self._prompts is None else self._prompts.name)
        return {"text": self._name, **fidelity_json(self._fidelity), "free_running": answers}
