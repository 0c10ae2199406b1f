"""Measures the fidelity of engines, and prints and saves the figures."""

from __future__ import annotations

from collections.abc import Sequence

from paragone import Json, ParagoneError
from paragone_cli.command_line.event_loop import interruptible, run
from paragone_cli.command_line.output import note, print_error, put_json
from paragone_cli.command_line.saved import save_measurement
from paragone_cli.measurement_progress.fidelity_progress import FidelityProgress
from paragone_cli.measuring.fidelity.fidelity_text import put_fidelity
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.registry import Registry
from paragone_workbench.measure.fidelity.measurement import Fidelity
from paragone_workbench.measure.fidelity.report import above_limit, fidelity_json
from paragone_workbench.scheduling.pool import EnginePool


def measure_fidelity(
    registry: Registry,
    engines: Sequence[EngineDefinition],
    text: str,
    name: str | None,
    *,
    window: int,
    limit: float | None,
    as_json: bool,
) -> int:
    """Measure engines on a text, the first of them as the reference. Returns the exit code.

    `name` is that of the text's file; None for the text that comes with paragone. `limit` is the largest mean KL
    divergence, in nats, with which the exit code is 0.
    """
    reference, *candidates = map(EnginePool(registry, mode="sequential").add, engines)
    measurement = Fidelity(reference, candidates, text, window=window)
    status = run(_measure(measurement, name, as_json=as_json))
    if measurement.reference.windows:
        save_measurement("fidelity", engines, _to_json(measurement, name), registry)
    exceeded = () if limit is None else above_limit(measurement, limit)
    for sentence in exceeded:
        note(sentence)
    return status or int(bool(exceeded))


async def _measure(measurement: Fidelity, text: str | None, *, as_json: bool) -> int:
    async with interruptible(measurement) as interrupts:
        with FidelityProgress() as progress:
            try:
                await measurement.measure(progress.begin)
            except ParagoneError:
                if not interrupts.interrupted:  # otherwise the engines were closed while they were opened
                    raise
    if as_json:
        put_json(_to_json(measurement, text))
    else:
        put_fidelity(measurement)
    errors = [
        measured.error
        for measured in (measurement.reference, *measurement.candidates)
        if measured.error is not None
    ]
    for error in errors:
        print_error(error)
    return interrupts.exit_code(errors, nothing_done=bool(errors) and not measurement.reference.windows)


def _to_json(measurement: Fidelity, text: str | None) -> dict[str, Json]:
    return {"text": text, **fidelity_json(measurement)}
