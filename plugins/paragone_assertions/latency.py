"""The assertion `latency`: the answer came fast enough."""

from __future__ import annotations

from dataclasses import dataclass

from paragone import InputError, Options, option
from paragone.assertions import Answer, Assertion, Judge, NoVerdict, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyOptions(Options):
    """The options of `latency`: bounds, all inclusive."""

    max_ttft_s: float | None = option(None, "Largest time to first token in seconds.", minimum=0)
    max_total_s: float | None = option(
        None, "Largest time in seconds from the request to the end of the answer.", minimum=0
    )
    min_decode_tps: float | None = option(None, "Smallest decode rate in tokens per second.", minimum=0)

    def __post_init__(self) -> None:
        """Raise InputError if no bound is set."""
        if self.max_ttft_s is None and self.max_total_s is None and self.min_decode_tps is None:
            raise InputError(
                "The assertion 'latency' has no bound.",
                hint="Give it 'max_ttft_s', 'max_total_s' or 'min_decode_tps'.",
            )


class Latency(Assertion[LatencyOptions]):
    """Compares the times of a run with bounds."""

    name = "latency"
    summary = "The answer came within these times, or at this rate at least."
    options = LatencyOptions

    async def check(self, answer: Answer, options: LatencyOptions, judge: Judge) -> Verdict:
        """Compare the times with the bounds."""
        passed = True
        found: list[str] = []
        if options.max_ttft_s is not None:
            ttft = _known(answer.ttft_s, "the time to first token")
            passed &= ttft <= options.max_ttft_s
            found.append(f"the first token after {ttft:.3g} s")
        if options.max_total_s is not None:
            total = _known(answer.total_s, "the time of the whole answer")
            passed &= total <= options.max_total_s
            found.append(f"the end after {total:.3g} s")
        if options.min_decode_tps is not None:
            rate = _known(answer.decode_tps, "the decode rate")
            passed &= rate >= options.min_decode_tps
            found.append(f"{rate:.3g} tokens/s")
        return Verdict(passed=passed, reason=f"Measured: {', '.join(found)}.")


def _known(value: float | None, what: str) -> float:
    if value is None:
        raise NoVerdict(f"{what[0].upper()}{what[1:]} is unknown.")
    return value
