"""The outcome of a soak, as a table and as JSON."""

import os
import platform
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.soak.key_times import LIMIT_S, KeyTime
from bench.soak.memory import MIB, MOST_MIB_AN_HOUR, MemoryOverTime
from bench.soak.plan import Plan
from bench.soak.saved import KEPT_S, Answers


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The figures of a soak, and the broken promises."""

    plan: Plan
    minutes: float
    done: Mapping[str, int]
    """How often each action and fault happened."""
    wrong: Sequence[str]
    keys: Sequence[KeyTime]
    memory: Sequence[MemoryOverTime]
    """The memory of each program that ran."""
    answers: Answers
    prompts: int
    suites: int
    runs: int
    """Number of runs in the history."""
    cpu_s: float
    """CPU seconds of the soak and of all its programs."""

    @property
    def repeat(self) -> str:
        """The command that repeats the soak."""
        return f"make soak MINUTES={self.plan.minutes:g} SEED={self.plan.seed}"

    def json(self) -> dict[str, object]:
        """Return the figures as JSON."""
        return {
            "minutes": round(self.minutes, 2),
            "seed": self.plan.seed,
            "python": platform.python_version(),
            "cpus": os.cpu_count(),
            "load": os.getloadavg()[0],
            "cpu_s": round(self.cpu_s, 1),
            "done": dict(self.done),
            "wrong": list(self.wrong),
            "prompts": self.prompts,
            "suites": self.suites,
            "runs": self.runs,
            "tokens": self.answers.tokens,
            "tokens_missing": self.answers.missing,
            "unfinished_in_suites": self.answers.unfinished,
            "most_lost_s": round(self.answers.most_lost_s, 3),
            "keys": self._key_figures(),
            "memory": [
                {
                    "name": life.name,
                    "growth_mib_an_hour": life.growth,
                    "seconds": [round(second) for second in life.seconds],
                    "mib": [round(used / MIB, 2) for used in life.bytes],
                    "descriptors": life.descriptors,
                }
                for life in self.memory
            ],
        }

    def table(self) -> str:
        """Return the figures as text."""
        lines = [
            f"soak: {self.minutes:.1f} minutes, seed {self.plan.seed}, Python {platform.python_version()}, "
            f"{os.cpu_count()} CPUs, {self.cpu_s / self.minutes / 60:.0%} of one CPU used, "
            f"load {os.getloadavg()[0]:.1f} at the end",
            "",
        ]
        rows = list(self._rows())
        width = max(len(name) for name, _ in rows)
        lines += [f"{name:{width}}  {figure}" for name, figure in rows]
        lines.append("")
        if self.wrong:
            lines += [f"WRONG: {wrong}" for wrong in self.wrong]
            lines.append(f"Repeat: {self.repeat}. What happened when: {self.plan.folder / 'journal.jsonl'}")
        else:
            lines.append("All promises were kept.")
        return "\n".join(lines)

    def _rows(self) -> Iterator[tuple[str, str]]:
        yield from ((name, f"{times:,} ×") for name, times in sorted(self.done.items()))
        yield "prompts, each once in the history", f"{self.prompts:,}"
        yield "suites, finished", f"{self.suites:,}"
        yield "runs in the history", f"{self.runs:,}"
        yield "numbered tokens sent", f"{self.answers.tokens:,}"
        yield (
            "not in the history",
            f"{self.answers.missing:,}; the last {self.answers.most_lost_s:.2f} s of an interrupted answer "
            f"at most (promised: {KEPT_S} s)",
        )
        yield "answers of killed suites, asked again", f"{self.answers.unfinished:,}"
        figures = self._key_figures()
        if figures:
            for name in ("answer", "echo", "cpu"):
                p50, p99, most = (figures[f"{name}_{part}_ms"] for part in ("p50", "p99", "max"))
                yield f"keys: {_KEY_NAMES[name]}", f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, max {most:.1f} ms"
            yield (
                f"keys over {LIMIT_S * 1000:.0f} ms",
                f"{figures['over']:.0f} of {figures['count']:.0f}; "
                f"{figures['late']:.0f} of them not mostly because other programs had the CPU",
            )
        for life in self.memory:
            growth = "too short to tell" if life.growth is None else f"{life.growth:+.2f} MiB an hour"
            if life.bytes:
                yield (
                    f"memory, {life.name}",
                    f"{life.bytes[0] / MIB:.0f} MiB at first, {life.bytes[-1] / MIB:.0f} MiB after "
                    f"{life.seconds[-1] / 60:.0f} min, most {max(life.bytes) / MIB:.0f} MiB; {growth} "
                    f"(flat: at most {MOST_MIB_AN_HOUR:g}); {life.descriptors[0]} descriptors at first, "
                    f"{life.descriptors[-1]} at the end",
                )

    def _key_figures(self) -> dict[str, float]:
        keys = self.keys
        if len(keys) < 2:
            return {}
        figures = {
            "count": float(len(keys)),
            "over": float(sum(key.answer_s > LIMIT_S for key in keys)),
            "late": float(sum(key.is_late for key in keys)),
        }
        for name in ("answer", "echo", "waited", "cpu"):
            times = sorted(getattr(key, f"{name}_s") * 1000 for key in keys)
            percentiles = statistics.quantiles(times, n=100, method="inclusive")
            shown = {"p50": percentiles[49], "p99": percentiles[98], "max": times[-1]}
            figures.update((f"{name}_{part}_ms", round(value, 2)) for part, value in shown.items())
        return figures


_KEY_NAMES = {
    "answer": "time until the screen shows a key",
    "echo": "time until a minimal program echoes a key",
    "cpu": "CPU time of the program for a key",
}
