"""The remark on the memory that a highlighted engine would take."""

from __future__ import annotations

from paragone import Backend, ParagoneError
from paragone.wording import size_text
from paragone_tui.terminal.text import one_line
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.measure.fit.memory_plan import MemoryPlan
from paragone_workbench.measure.fit.planner import MemoryPlanner

__all__ = ["memory_remark"]


async def memory_remark(definition: EngineDefinition, backend: Backend) -> str:
    """Return what an engine would take, whether it fits, and the largest context; or why that is unknown."""
    try:
        planner = MemoryPlanner(definition, backend)
        plan = await planner.plan()
        largest = await planner.largest_context(plan)
    except ParagoneError as error:
        return f"Its memory cannot be estimated: {one_line(error.sentence)}"
    return _remark(plan, largest)


def _remark(plan: MemoryPlan, largest: int | None) -> str:
    weights = size_text(sum(device.weights for device in plan.devices))
    cache = size_text(sum(device.kv_cache for device in plan.devices))
    compute = size_text(sum(device.compute for device in plan.devices))
    free = " and ".join(size_text(device.free) for device in plan.devices if device.free is not None)
    verdict = {True: "Fits:", False: "Does not fit:", None: "Needs"}[plan.fits]
    of = f" of {free} free" if free else ""
    context = f"; context up to {largest:,}" if largest else ""
    parts = f"weights {weights}, KV cache {cache}, compute {compute}"
    return f"{verdict} {size_text(plan.needed)}{of} ({parts}){context}."
