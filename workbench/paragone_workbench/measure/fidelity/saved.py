"""Finds, in the history, how far a quantized model's distributions are from a reference's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from paragone.json_fields import number_at, objects_at
from paragone_workbench.measure.fit.quantizations import is_same_file
from paragone_workbench.statistics.estimate import Estimate
from paragone_workbench.store.experiment_records import Measurement


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedFidelity:
    """How far a model's distributions are from a reference's."""

    kld: Estimate
    """Mean KL divergence, in nats."""
    same_top: float | None
    """Share of the positions at which the likeliest token is the same; None if unknown."""
    reference: str
    """The name of the reference."""
    created: float
    """When the fidelity was measured, in seconds since 1970."""


def saved_fidelity(measurements: Iterable[Measurement], backend: str, model: str) -> SavedFidelity | None:
    """Return the first of `measurements`, newest first, in which the model was a candidate; None without one.

    A measurement whose reference is the same model says nothing about the quantization, and is skipped.
    """
    for measurement in measurements:
        reference = measurement.engines[0]
        if reference.backend == backend and is_same_file(reference.model, model):
            continue
        for candidate in measurement.measured:
            if candidate.backend == backend and is_same_file(candidate.model, model):
                items = objects_at(measurement.data, "candidates")
                item = next((item for item in items if item.get("engine") == candidate.name), None)
                if (kld := number_at(item, "mean_kld")) is not None:
                    return SavedFidelity(
                        kld=Estimate(kld, number_at(item, "mean_kld_se")),
                        same_top=number_at(item, "top1_agreement"),
                        reference=reference.name,
                        created=measurement.created,
                    )
    return None
