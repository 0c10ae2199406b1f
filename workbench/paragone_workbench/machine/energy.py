"""Read the energy that this machine has used from the counters of its processors and NVIDIA GPUs.

A counter includes the energy of all programs on the device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

_POWERCAP = Path("/sys/class/powercap")


@dataclass(frozen=True, slots=True, kw_only=True)
class Energy:
    """The energy that a run has used."""

    joules: float | None = None
    """Joules; None if unknown."""
    devices: tuple[str, ...] = ()
    """The devices whose energy is included, such as `CPU package-0` and `GPU 0`."""


@dataclass(slots=True, kw_only=True)
class _Counter:
    name: str
    read: Callable[[], float]
    """Returns the joules since some time in the past."""
    range_j: float | None = None
    """Number of joules after which the counter restarts at zero; None if the counter never restarts."""
    last: float = 0.0
    total: float = 0.0

    def update(self) -> float:
        """Return the joules since the first reading."""
        now = self.read()
        used = now - self.last
        if used < 0 and self.range_j is not None:
            used += self.range_j
        self.last, self.total = now, self.total + max(0.0, used)
        return self.total


class EnergyCounters:
    """The readable counters of this machine."""

    def __init__(self, counters: Sequence[_Counter], missing: Sequence[str]) -> None:
        self._counters = counters
        self.missing = tuple(missing)
        """Sentences that say why a device has no readable counter, and how to make the counter readable."""
        for counter in counters:
            counter.last = counter.read()

    @property
    def names(self) -> tuple[str, ...]:
        """The devices whose energy is counted, such as `CPU package-0` and `GPU 0`."""
        return tuple(counter.name for counter in self._counters)

    def joules(self) -> float | None:
        """Return the joules that all devices together have used since the counters were found.

        None without counters, and if a counter has become unreadable. Call this every few minutes: a counter begins again
        at zero after its largest value, and this method notices only one such restart between two calls.
        """
        try:
            return sum(counter.update() for counter in self._counters) if self._counters else None
        except Exception:  # noqa: BLE001 (NVML has its own errors, after which the energy is unknown)
            return None


def find_energy_counters(powercap: Path = _POWERCAP) -> EnergyCounters:
    """Return the counters of RAPL (Intel and AMD processors on Linux) and of NVML. Never raises."""
    counters, missing = _rapl(powercap)
    gpus, reason = _nvml()
    return EnergyCounters([*counters, *gpus], [*missing, *([reason] if reason else [])])


def _rapl(powercap: Path) -> tuple[list[_Counter], list[str]]:
    """Return a counter for each processor package, which includes its parts (`intel-rapl:0:0`), and reasons for missing counters."""
    counters: list[_Counter] = []
    zones = sorted(zone for zone in powercap.glob("*rapl:*") if zone.name.count(":") == 1)
    if not zones:
        return [], ["The energy of the CPU is unknown: the kernel offers no RAPL counters on this machine."]
    missing: list[str] = []
    for zone in zones:
        file = zone / "energy_uj"
        try:
            name = (zone / "name").read_text().strip()
            if name == "psys":  # the counter of the whole machine, which includes the packages
                continue
            file.read_text()
            limit = int((zone / "max_energy_range_uj").read_text()) / 1e6
        except PermissionError:
            missing.append(
                f"The energy of the CPU is unknown: only root may read {file}. "
                f"To allow it until the next start: sudo chmod a+r {file}"
            )
        except (OSError, ValueError) as error:
            missing.append(f"The energy of the CPU is unknown: {file} cannot be read ({error}).")
        else:
            counters.append(_Counter(name=f"CPU {name}", read=_microjoules(file), range_j=limit))
    return counters, missing


def _microjoules(file: Path) -> Callable[[], float]:
    return lambda: int(file.read_text()) / 1e6


def _nvml() -> tuple[list[_Counter], str]:
    """Return a counter for each NVIDIA GPU, or why the counters are missing. GPUs before Volta have no counter."""
    if not Path("/dev/nvidiactl").exists():
        return [], ""
    try:
        import pynvml
    except ModuleNotFoundError:
        return [], "The energy of the GPU is unknown. To measure it: pip install nvidia-ml-py"
    try:
        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(n) for n in range(pynvml.nvmlDeviceGetCount())]
        read = pynvml.nvmlDeviceGetTotalEnergyConsumption
        counters = [
            _Counter(name=f"GPU {number}", read=_millijoules(read, handle))
            for number, handle in enumerate(handles)
        ]
        for counter in counters:
            counter.read()
    except (pynvml.NVMLError, AttributeError) as error:  # an old package lacks functions
        return [], f"The energy of the GPU is unknown: {error}."
    return counters, ""


def _millijoules(read: Callable[[object], int], handle: object) -> Callable[[], float]:
    return lambda: read(handle) / 1000
