"""The checked values of the form of a choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from paragone import InputError
from paragone_workbench.choosing.questions import deciding_suite, for_questions
from paragone_workbench.choosing.timing.durations import parse_duration
from paragone_workbench.engines.definitions import EngineDefinition, check_engine
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments.differences.non_inferiority import MARGIN
from paragone_workbench.experiments.running.request import SuiteRequest
from paragone_workbench.experiments.suites.assertions import AssertionCatalog, load_assertions
from paragone_workbench.measure.fit.gpu_sizes import parse_sizes


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceRequest:
    """The engines to choose from, the suite, and the limits of the choice.

    Attributes:
        request: The engines and the suite.
        catalog: The assertions that the suite can use.
        seconds: The time limit in seconds; None for no limit.
        vram: The memory of each GPU in bytes; empty for the GPUs of this machine.
        margin: The largest acceptable loss of the pass rate, as a share between 0 and 1.
    """

    request: SuiteRequest
    catalog: AssertionCatalog
    seconds: float | None
    vram: tuple[int, ...]
    margin: float

    @classmethod
    def of(
        cls,
        engines: Sequence[EngineDefinition],
        registry: Registry,
        system: str,
        *,
        suite: str,
        vram: str,
        time: str,
        margin: str,
    ) -> ChoiceRequest:
        """Check the texts of the fields, which may be empty, and return their values. Blocks. Raises InputError."""
        if len(engines) < 2:
            raise InputError("One engine leaves nothing to choose.", hint="Tick two or more with space.")
        for engine in engines:
            check_engine(engine, registry.get(engine.backend), tell=registry.tell)
        seconds = parse_duration(time) if time else None
        sizes = parse_sizes(vram) if vram else ()
        points = _points(margin) if margin else MARGIN
        catalog = load_assertions(registry.tell)
        found = deciding_suite(Path(suite).expanduser() if suite else None, catalog, system)
        if catalog.judges(found.prompts):
            raise InputError(
                "This suite asks engines to judge.",
                hint=f"`paragone choose ENGINE… --suite {suite}` asks for your consent, and runs it.",
            )
        if not suite:
            engines = for_questions(engines, registry)
        return cls(
            request=SuiteRequest(suite=found, engines=tuple(engines)),
            catalog=catalog,
            seconds=seconds,
            vram=sizes,
            margin=points,
        )


def _points(text: str) -> float:
    """Return percentage points as a share: 0.03 for "3". Raises InputError."""
    try:
        points = float(text)
    except ValueError:
        points = 0.0
    if not 0.1 <= points <= 99:
        raise InputError(f"{text!r} is no margin.", hint="Write points of the pass rate, such as 3.")
    return points / 100
