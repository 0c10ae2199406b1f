"""The memory planner: how much memory an engine would take, whether that fits, and the largest context that fits.

The planner loads no model: everything follows from the estimates of the engine's backend.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from paragone import Backend, InputError, Json, MemoryEstimate
from paragone.options import describe
from paragone_workbench.engines import questions
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.measure.fit.memory_plan import HYPOTHETICAL, MemoryPlan, place, scaled

_CONTEXT = 4096
"""Context in tokens for engines that would choose their own context by the memory of this machine."""

_STEP = 256
"""Contexts are searched in multiples of this number of tokens."""


class MemoryPlanner:
    """Plans the memory of one engine, for this machine or for hypothetical GPUs with `vram` free bytes each.

    For hypothetical GPUs, and with `comparable`, all engines without a configured context get the same: 4,096 tokens.
    Free memory is read once, so that all plans assume the same free memory.
    """

    def __init__(
        self,
        definition: EngineDefinition,
        backend: Backend,
        *,
        vram: Sequence[int] = (),
        comparable: bool = False,
    ) -> None:
        if not backend.capabilities.estimate:
            raise InputError(
                f"{backend.title} cannot estimate the memory that a model needs.",
                hint="Only engines that compute in paragone's own processes are estimated.",
            )
        self._definition = definition
        self._backend = backend
        self._vram = vram
        self._comparable = comparable or bool(vram)
        self._option = next(
            (info.name for info in describe(backend.load_options) if info.fact == "context"), None
        )
        self._estimates: dict[int | None, MemoryEstimate] = {}
        self._free: dict[str, int | None] = {}

    async def plan(self, context: int | None = None) -> MemoryPlan:
        """Plan with this context window, by default with the engine's own context. Raises ParagoneError."""
        own = self._definition.options.get(self._option or "")
        common = self._comparable and context is None and own is None and self._option is not None
        found = await self._estimate(_CONTEXT if common else context)
        trained = found.trained_context or _CONTEXT
        if common and trained < _CONTEXT:
            found = await self._estimate(trained)
        return place(found, vram=self._vram)

    async def rough(self, context: int, bits: float) -> tuple[int, MemoryPlan] | None:
        """Return the approximate bytes of weights at `bits` bits per weight, and a plan for these weights.

        None if these weights are not smaller than the model's, or if the backend does not report the number of weights.
        """
        found = await self._estimate(context)
        size = round((found.parameters or 0) * bits / 8)
        if not 0 < size < found.weights:
            return None
        return size, place(scaled(found, size / found.weights), vram=self._vram)

    async def largest_context(self, plan: MemoryPlan) -> int | None:
        """Return the largest context that fits, in steps of 256 tokens, up to the context of the model's training.

        0 if no context fits, None if unknown. If `plan` has all layers on hypothetical GPUs, all layers stay there; else
        as many layers as fit. Raises ParagoneError.
        """
        trained = plan.trained_context
        kept = plan.hypothetical if plan.layers == plan.gpu_layers else None
        # GPUs that are filled with layers limit no context: with a larger context, fewer layers are put there.
        filled = plan.hypothetical is not None and kept is None
        limits = [
            device.device
            for device in plan.devices
            if device.free is not None and not (filled and device.device.startswith(HYPOTHETICAL))
        ]
        if trained is None or self._option is None or not limits:
            return None

        async def spare(context: int) -> int:
            placed = place(await self._estimate(context), vram=self._vram, division=kept)
            return min(
                device.free - device.needed
                for device in placed.devices
                if device.free is not None and device.device in limits
            )

        return await _largest(spare, plan.context, trained)

    async def _estimate(self, context: int | None) -> MemoryEstimate:
        if context not in self._estimates:
            options: dict[str, Json] = {}
            if context is not None:
                if self._option is None:
                    raise InputError(f"{self._backend.title} has no option for the context window.")
                options[self._option] = context
            found = await questions.estimate(self._backend, self._definition, options)
            for device in found.devices:
                self._free.setdefault(device.device, device.free)
            devices = tuple(replace(device, free=self._free[device.device]) for device in found.devices)
            found = replace(found, devices=devices)
            self._estimates[context] = self._estimates[found.context] = found
        return self._estimates[context]


async def _largest(spare: Callable[[int], Awaitable[int]], planned: int, most: int) -> int:
    """Return the largest context of at most `most` tokens with which `spare` is not negative.

    `spare` returns the bytes of memory left; those of `planned` are known. The free bytes fall almost linearly with the
    context size, so two estimates usually locate the largest context that fits.
    """
    low, high = min(_STEP, most), most
    if planned < most:
        if await spare(planned) < 0:
            low, high = min(_STEP, planned), planned
        elif planned % _STEP == 0:
            low = planned
    left_most = await spare(high)
    if left_most >= 0:
        return high
    left = await spare(low)
    if left < 0:
        return 0
    slow = 0
    while high - low > _STEP:
        width = high - low
        share = left / (left - left_most) if slow < 2 else 0.5
        guess = max(low + _STEP, min(low + int(width * share) // _STEP * _STEP, high - 1))
        now = await spare(guess)
        if now >= 0:
            low, left = guess, now
        else:
            high, left_most = guess, now
        slow = 0 if high - low <= width / 2 else slow + 1
    return low
