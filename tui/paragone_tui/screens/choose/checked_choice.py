"""Makes a choice from the texts of its form."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from paragone import InputError
from paragone_workbench.choosing.choice import Choice
from paragone_workbench.choosing.observer import ChoiceObserver
from paragone_workbench.choosing.questions import deciding_suite, for_questions
from paragone_workbench.choosing.timing.durations import parse_duration
from paragone_workbench.engines.definitions import EngineDefinition, check_engine
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments.differences.non_inferiority import MARGIN
from paragone_workbench.experiments.running.request import SuiteRequest
from paragone_workbench.experiments.suites.assertions import load_assertions
from paragone_workbench.measure.fit.gpu_sizes import parse_sizes
from paragone_workbench.store.history import History


def checked_choice(
    engines: Sequence[EngineDefinition],
    *,
    history: History,
    registry: Registry,
    system: str,
    observer: ChoiceObserver,
    suite: str,
    vram: str,
    time: str,
    margin: str,
) -> tuple[Choice, float]:
    """Return the choice between engines, and the margin: the largest acceptable loss of the pass rate, as a share.

    `suite`, `vram`, `time` and `margin` are the texts of the form's fields, which may be empty. Blocks. Raises InputError.
    """
    if len(engines) < 2:
        raise InputError("One engine leaves nothing to choose.", hint="Tick two or more with space.")
    for engine in engines:
        check_engine(engine, registry.get(engine.backend), tell=registry.tell)
    seconds = parse_duration(time) if time else None
    sizes = parse_sizes(vram) if vram else ()
    share = _share(margin) if margin else MARGIN
    catalog = load_assertions(registry.tell)
    found = deciding_suite(Path(suite).expanduser() if suite else None, catalog, system)
    if catalog.judges(found.prompts):
        raise InputError(
            "This suite asks engines to judge.",
            hint=f"`paragone choose ENGINE… --suite {suite}` asks for your consent, and runs it.",
        )
    if not suite:
        engines = for_questions(engines, registry)
    choice = Choice(
        history=history,
        registry=registry,
        catalog=catalog,
        request=SuiteRequest(suite=found, engines=tuple(engines)),
        seconds=seconds,
        vram=sizes,
        observer=observer,
    )
    return choice, share


def _share(text: str) -> float:
    """Return percentage points as a share: 0.03 for "3". Raises InputError."""
    try:
        points = float(text)
    except ValueError:
        points = 0.0
    if not 0.1 <= points <= 99:
        raise InputError(f"{text!r} is no margin.", hint="Write points of the pass rate, such as 3.")
    return points / 100
