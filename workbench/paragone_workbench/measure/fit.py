"""The memory planner: how much memory an engine would take, whether that fits, and the largest context that fits."""

import math
import re
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import accumulate
from pathlib import Path

import paragone
from paragone.options import describe
from paragone.texts import counted, size_text
from paragone_workbench.engines import questions
from paragone_workbench.engines.definitions import EngineDefinition, expand_home
from paragone_workbench.machine import MARGIN
from paragone_workbench.models import find_models

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)(B?)", re.IGNORECASE)
_SMALLEST = 1 << 24
"""A smaller size in bytes is a mistake: the smallest models need more."""

_LARGEST = 1 << 50


def parse_sizes(text: str) -> tuple[int, ...]:
    """Return the bytes of one or several sizes of GPUs, such as `24G,24G`. Raises InputError."""
    if not all(map(str.strip, text.split(","))):
        raise paragone.InputError(
            f"--vram {text} has a comma without a size on one side.",
            hint="Write for example 24G, or 24G,24G for two GPUs.",
        )
    sizes = tuple(map(parse_size, text.split(",")))
    if min(sizes) < _SMALLEST:
        raise paragone.InputError(
            f"A GPU of --vram {text} is too small for any model.",
            hint="Is the unit missing? Write for example 24G, 24GB or 512M.",
        )
    return sizes


def parse_size(text: str) -> int:
    """Return the bytes of a size such as `24G`, `24GiB` (both 24 × 2^30) or `24GB` (24 × 10^9). Raises InputError."""
    match = _SIZE.fullmatch(text.strip())
    if match is None or (match[3] and not match[2]):
        raise paragone.InputError(f"{text!r} is not a size.", hint="Write for example 24G, 24GB or 512M.")
    number, unit, binary, byte = match.groups()
    base = 1000 if byte and not binary else 1024
    size = float(number) * float(base ** " KMGT".index(unit.upper() or " "))
    if not 1 <= size <= _LARGEST:
        raise paragone.InputError(
            f"A GPU cannot have {text} of memory.", hint="Write for example 24G, 24GB or 512M."
        )
    return math.floor(size)


DRIVER = 450 << 20
"""Approximate number of bytes that a GPU's driver uses for a process."""

KEPT_FREE = DRIVER + MARGIN
"""Bytes of each GPU that plans leave free: the driver's share and the margin that llama.cpp keeps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Division:
    count: int
    """Number of the model's parts on GPUs, counted from the last part."""
    expert_layers: int = 0
    """Number of parts whose experts stay in main memory, counted from the first part."""


def best(layout: paragone.ModelLayout, rooms: Sequence[int]) -> Division:
    """Return the division that puts as much as possible on GPUs of these sizes in bytes. An indivisible model stays whole."""
    whole = found = Division(count=len(layout.parts))
    for found in _choices(layout) if layout.splits else [whole]:
        memory = on_gpus(layout, found, rooms)
        if all(gpu.needed <= room for gpu, room in zip(memory, rooms, strict=True)):
            break
    return found


def on_gpus(
    layout: paragone.ModelLayout, division: Division, rooms: Sequence[int]
) -> list[paragone.DeviceMemory]:
    at = len(layout.parts) - division.count
    parts = [
        (part.weights - (part.experts if index < division.expert_layers else 0), part.kv_cache)
        for index, part in enumerate(layout.parts)
    ][at:]
    gpus = list(_in_order(layout, parts, rooms) if layout.in_order else _in_proportion(len(parts), rooms))
    # For a long prompt, a GPU copies experts from main memory, one layer at a time, and computes with the copies.
    copied = max((part.experts for part in layout.parts[at : division.expert_layers]), default=0)
    return [
        paragone.DeviceMemory(
            device="",
            weights=sum(weights for (weights, _), used in zip(parts, gpus, strict=True) if used == gpu),
            kv_cache=sum(cache for (_, cache), used in zip(parts, gpus, strict=True) if used == gpu),
            compute=layout.compute + copied if gpu in gpus else 0,
        )
        for gpu in range(len(rooms))
    ]


def _choices(layout: paragone.ModelLayout) -> Iterator[Division]:
    count = len(layout.parts)
    yield Division(count=count)
    most = max((index + 1 for index, part in enumerate(layout.parts) if part.experts), default=0)
    yield from (Division(count=count, expert_layers=layers) for layers in range(1, most + 1))
    yield from (Division(count=fewer, expert_layers=most) for fewer in range(count - 1, -1, -1))


def _in_proportion(count: int, rooms: Sequence[int]) -> Iterator[int]:
    """Yield the GPU of each of `count` parts. llama.cpp counts the margin, which plans leave free, as free memory."""
    free = [room + MARGIN for room in rooms]
    ends = [end / sum(free) for end in accumulate(free)]
    yield from (min(bisect_right(ends, index / count), len(rooms) - 1) for index in range(count))


def _in_order(
    layout: paragone.ModelLayout, parts: Sequence[tuple[int, int]], rooms: Sequence[int]
) -> Iterator[int]:
    """Yield the GPU of each part. The last GPU gets everything that does not fit."""
    gpu, left = 0, rooms[0] - layout.compute
    for weights, cache in parts:
        while weights + cache > left and gpu < len(rooms) - 1:
            gpu += 1
            left = rooms[gpu] - layout.compute
        left -= weights + cache
        yield gpu


HYPOTHETICAL = "hypothetical GPU"
"""The name of a GPU that this machine may lack. If there are several such GPUs, a number follows the name."""

_MAIN = "CPU"


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPlan(paragone.MemoryEstimate):
    """An estimate of an engine's memory, divided between the devices of this machine or hypothetical GPUs. Hypothetical
    GPUs come first in `devices`, without `KEPT_FREE` in their free memory. In plans for hypothetical GPUs, the
    model's output counts as a layer."""

    hypothetical: Division | None = None
    """How the model is divided between hypothetical GPUs; None in a plan for this machine."""
    offload: Division | None = None
    """The best division between the machine's GPUs and main memory, if not all layers fit on the GPUs; else None."""

    @property
    def experts_option(self) -> str:
        """The load option for the number of first layers whose experts stay in main memory; empty if unknown."""
        return self.layout.experts_option if self.layout is not None else ""

    @property
    def fits(self) -> bool | None:
        found = [device.fits for device in self.devices]
        return False if False in found else None if None in found else True

    @property
    def fits_whole(self) -> bool:
        """Whether the model fits, and is either wholly on GPUs or planned without a GPU."""
        split = self.hypothetical is not None and self.hypothetical.expert_layers > 0
        return bool(self.fits) and (len(self.devices) == 1 or (self.layers == self.gpu_layers and not split))

    @property
    def is_tight(self) -> bool:
        """Whether the model fits, but leaves less memory free than the margin that the schedule `auto` requires."""
        return bool(self.fits) and any(
            device.free is not None and device.free - device.needed < MARGIN for device in self.devices
        )

    @property
    def needed(self) -> int:
        return sum(device.needed for device in self.devices)

    def misfit(self, name: str) -> str:
        """Return the reason why the engine does not fit (on hypothetical GPUs: why it does not fit whole); else empty."""
        if self.fits is not False if self.hypothetical is None else self.fits_whole:
            return ""
        gpus = [device for device in self.devices if device.device.startswith(HYPOTHETICAL)]
        limits = gpus or [device for device in self.devices if device.fits is False]
        free = sum(device.free or 0 for device in limits)
        where = (
            f"GPUs of this size leave {size_text(free) if free else 'no memory'} for a model: {size_text(KEPT_FREE)} of each GPU are for the driver and a margin"
            if gpus
            else f"{size_text(free)} are free on {' and '.join(device.device for device in limits)}"
        )
        message = f"{name} does not fit: it needs {size_text(self.needed)} with a context of {self.context:,} tokens, and {where}."
        offload = self.hypothetical or self.offload
        return message if offload is None or not self.layers else message + _part(offload, self.layers)


_SLOWER = 10
"""How many times slower a CPU is than a GPU for a layer, in the example of a message about offload."""


def _part(offload: Division, layers: int) -> str:
    rest = layers - offload.count
    if not offload.count:
        return " No layer would fit."
    if rest:
        times = 1 + (_SLOWER - 1) * rest / layers
        return (
            f" {offload.count} of {layers} layers would fit. The CPU would compute the other {rest} for each token: where it takes "
            f"{_SLOWER} times as long for a layer as a GPU, an answer takes about {times:.1f} times as long as on the GPU alone."
        )
    if offload.expert_layers:
        return (
            f" The model would fit with the experts of {counted(offload.expert_layers, 'layer')} in main memory, which the CPU "
            "would compute for each token: that is slower than on the GPU alone."
        )
    return ""


def place(
    found: paragone.MemoryEstimate, *, vram: Sequence[int] = (), division: Division | None = None
) -> MemoryPlan:
    """Return the plan of an estimate: for this machine, or for hypothetical GPUs with `vram` free bytes each.

    `division` divides the parts between hypothetical GPUs, even if they do not fit; the default is the best division.
    Raises EngineError if hypothetical GPUs are given and the estimate has no layout.
    """
    plan = MemoryPlan(**{field.name: getattr(found, field.name) for field in fields(paragone.MemoryEstimate)})
    if not vram:
        return replace(plan, offload=_offload(found))
    if found.layout is None:
        raise paragone.EngineError("The backend does not report how a model can be divided between devices.")
    rooms = [max(0, size - KEPT_FREE) for size in vram]
    division = division or best(found.layout, rooms)
    numbers = [f" {number}" for number in range(len(rooms))] if len(rooms) > 1 else [""]
    gpus = [
        replace(gpu, device=f"{HYPOTHETICAL}{number}", free=room)
        for gpu, number, room in zip(on_gpus(found.layout, division, rooms), numbers, rooms, strict=True)
    ]
    main = next((device for device in found.devices if device.device == _MAIN), None)
    return replace(
        plan,
        devices=(*gpus, _main(found.layout, division, main)),
        layers=len(found.layout.parts),
        gpu_layers=division.count,
        hypothetical=division,
    )


def _offload(found: paragone.MemoryEstimate) -> Division | None:
    """Return the best division between the GPUs; None if all fits there, or if the layout is unknown."""
    gpus = [device for device in found.devices if device.device != _MAIN]
    if found.layout is None or not found.layout.splits or all(gpu.fits is not False for gpu in gpus):
        return None
    return best(found.layout, [max(0, (gpu.free or 0) - KEPT_FREE) for gpu in gpus])


def _main(
    layout: paragone.ModelLayout, division: Division, main: paragone.DeviceMemory | None
) -> paragone.DeviceMemory:
    """Return how much main memory the model needs. `main` is the estimate without hypothetical GPUs."""
    at = len(layout.parts) - division.count
    rest = layout.parts[:at]
    experts = sum(part.experts for part in layout.parts[at : division.expert_layers])
    return paragone.DeviceMemory(
        device=_MAIN,
        weights=layout.main_weights + experts + sum(part.weights - part.shared for part in rest),
        kv_cache=sum(part.kv_cache for part in rest),
        compute=main.compute if main is not None and (rest or experts) else 0,
        free=None if main is None else main.free,
        total=None if main is None else main.total,
    )


def scaled(found: paragone.MemoryEstimate, factor: float) -> paragone.MemoryEstimate:
    def times(size: int) -> int:
        return round(size * factor)

    layout = found.layout
    if layout is not None:
        parts = [
            replace(part, weights=times(part.weights), shared=times(part.shared), experts=times(part.experts))
            for part in layout.parts
        ]
        layout = replace(layout, parts=tuple(parts), main_weights=times(layout.main_weights))
    devices = tuple(replace(device, weights=times(device.weights)) for device in found.devices)
    return replace(found, devices=devices, layout=layout)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantization:
    name: str
    model: paragone.ModelInfo | None
    """The model on this machine; None for a quantization that this machine lacks: its plan is rough."""
    size: int
    """Bytes of the quantization's files or, if this machine has no such files, of the weights."""
    plan: MemoryPlan


_CONTEXT = 4096
"""Context in tokens for engines that would choose a context by the memory of this machine."""

_STEP = 256


class MemoryPlanner:
    """Plans the memory of one engine, for this machine or for hypothetical GPUs with `vram` free bytes each.

    For hypothetical GPUs, and with `comparable`, all engines without a configured context get the same: 4,096 tokens.
    Free memory is read once, so that all plans assume the same free memory.
    """

    def __init__(
        self,
        definition: EngineDefinition,
        backend: paragone.Backend,
        *,
        vram: Sequence[int] = (),
        comparable: bool = False,
    ) -> None:
        if not backend.capabilities.estimate:
            raise paragone.InputError(
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
        self._estimates: dict[int | None, paragone.MemoryEstimate] = {}
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

    async def usual_quantizations(
        self, plan: MemoryPlan, *, without: Sequence[str | None]
    ) -> list[Quantization]:
        """Return rough plans for the backend's usual quantizations that are smaller than the model of `plan`. They
        assume that KV cache and computation need as much memory as with that model."""
        estimate, found = await self._estimate(plan.context), []
        for name, bits in self._backend.quantizations.items():
            size = round((estimate.parameters or 0) * bits / 8)
            if name not in without and 0 < size < estimate.weights:
                rough = place(scaled(estimate, size / estimate.weights), vram=self._vram)
                found.append(Quantization(name=name, model=None, size=size, plan=rough))
        return found

    async def largest_context(self, plan: MemoryPlan) -> int | None:
        """Return the largest context that fits, in steps of 256 tokens, up to the context of the model's training.

        0 if no context fits, None if unknown. If `plan` has all layers on hypothetical GPUs, all layers stay there;
        else as many layers as fit. Raises ParagoneError.
        """
        trained = plan.trained_context
        kept = plan.hypothetical if plan.layers == plan.gpu_layers else None
        # GPUs that are filled with layers do not limit the context: with a larger context, they get fewer layers.
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

    async def _estimate(self, context: int | None) -> paragone.MemoryEstimate:
        if context not in self._estimates:
            options: dict[str, paragone.Json] = {}
            if context is not None:
                if self._option is None:
                    raise paragone.InputError(f"{self._backend.title} has no option for the context window.")
                options[self._option] = context
            found = await questions.estimate(self._backend, self._definition, options)
            for device in found.devices:
                self._free.setdefault(device.device, device.free)
            devices = tuple(replace(device, free=self._free[device.device]) for device in found.devices)
            found = replace(found, devices=devices)
            self._estimates[context] = self._estimates[found.context] = found
        return self._estimates[context]


async def _largest(spare: Callable[[int], Awaitable[int]], planned: int, most: int) -> int:
    """Return the largest context of at most `most` tokens for which `spare`, the bytes of memory left, is not negative.
    The free bytes fall almost linearly with the context, so two estimates usually locate the largest one."""
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


_PART = re.compile(r"-\d{5}-of-\d{5}$")
"""The end of a file's name if the model has several files."""


async def find_siblings(
    definition: EngineDefinition, backend: paragone.Backend, folders: Sequence[str]
) -> tuple[paragone.ModelInfo | None, list[paragone.ModelInfo]]:
    """Return the engine's model, if its file is on this machine, and other quantizations, the largest first. Raises
    ParagoneError."""
    beside = Path(expand_home(definition.model)).absolute().parent
    # Searching a folder that contains the home folder would take too long.
    near = [str(beside)] if beside.is_dir() and not Path.home().is_relative_to(beside) else []
    models = await find_models(backend, [*folders, *near]) or ()
    own = next((model for model in models if is_same_file(model.model, definition.model)), None)
    if own is None:
        return None, []
    siblings = [
        model for model in models if model is not own and not model.problem and _is_sibling(own, model)
    ]
    return own, sorted(siblings, key=lambda model: -(model.size or 0))


async def plan_siblings(
    definition: EngineDefinition,
    backend: paragone.Backend,
    models: Sequence[paragone.ModelInfo],
    context: int,
    vram: Sequence[int],
) -> list[Quantization]:
    found = []
    for model in models:
        planner = MemoryPlanner(replace(definition, model=model.model), backend, vram=vram)
        try:
            plan = await planner.plan(context)
        except paragone.ParagoneError:
            continue
        name, weights = model.quantization or model.name, sum(device.weights for device in plan.devices)
        found.append(Quantization(name=name, model=model, size=model.size or weights, plan=plan))
    return found


def is_same_file(one: str, other: str) -> bool:
    return one == other or Path(expand_home(one)).resolve() == Path(expand_home(other)).resolve()


def _is_sibling(one: paragone.ModelInfo, other: paragone.ModelInfo) -> bool:
    return (
        one.architecture == other.architecture
        and one.context == other.context
        and bool(_names(one) & _names(other))
    )


def _names(model: paragone.ModelInfo) -> set[str]:
    path = Path(model.model)
    stem = path.stem if path.suffix[1:].isalpha() else path.name
    quantization = _plain(model.quantization or "")
    names = (_plain(_PART.sub("", stem)), _plain(model.name))
    return {name.replace(quantization, "") if quantization else name for name in names}


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name.casefold())
