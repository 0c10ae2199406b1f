"""The metrics of a run, computed from the timestamps that the engine puts on its events."""

import random
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from paragone import Event, Finish, Json, PromptProgress, Queued, Timings, Token, Usage
from paragone.texts import counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Percentiles:
    """The 50th, 95th and 99th percentile of a set of values; None for an empty set."""

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunMetrics:
    """Durations, rates and token counts of a run. None if unknown."""

    load_s: float | None = None
    """Seconds that opening the engine took; None if the engine was already open."""
    ttft_s: float | None = None
    """Time to first token: seconds from sending the prompt to the first text of the thinking or the answer."""
    ttfo_s: float | None = None
    """Time to first output: seconds from sending the prompt to the first text of the answer itself."""
    tpot_ms: float | None = None
    """Time per output token: milliseconds from the first token to the end of the run, divided by the number of tokens
    after the first. The definition is vLLM's; AIPerf calls this figure ITL."""
    prefill_tps: float | None = None
    """Uncached prompt tokens per second of prefill; None unless the engine reports cached tokens and duration."""
    decode_tps: float | None = None
    """Tokens generated per second, after the first token."""
    itl_ms: Percentiles = Percentiles()
    """Inter-token latency: milliseconds from each token to the next, or from each piece to the next if `is_in_pieces`."""
    prompt_tokens: int | None = None
    """Length of the whole prompt, including the cached part."""
    cached_tokens: int | None = None
    completion_tokens: int = 0
    """Number of generated tokens as the engine reports it, else the number of token events."""
    estimated: bool = False
    """Whether `completion_tokens` is the number of token events, because the engine did not count the tokens."""
    thinking_tokens: int | None = None
    """Number of token events with text of the thinking, without the tags around it; None in results of earlier versions."""
    thinking_s: float | None = None
    """Seconds from the first text of the thinking to the first text of the answer, or, without an answer, to the last
    text of the thinking; None without thinking."""
    pieces: int | None = None
    """Number of token events: the generated tokens, or fewer if the engine sends several tokens in a piece."""
    drafted_tokens: int | None = None
    """Tokens that speculative decoding proposed; None without speculative decoding."""
    accepted_tokens: int | None = None
    shared: bool | None = None
    """Whether another run used the same server or machine, or the run was queued: its speeds are not comparable."""
    machine_load: float | None = None
    """The load of this machine at the end of the run, see `machine.machine_load`; None in results of earlier versions."""

    @property
    def is_in_pieces(self) -> bool:
        """Whether the engine sent several tokens in a piece. A difference of one token does not count: the last token
        may have no piece."""
        return self.pieces is not None and self.completion_tokens > self.pieces + 1

    @property
    def acceptance(self) -> float | None:
        """The share of the drafted tokens that the model accepted, from 0 to 1. None without speculative decoding."""
        if not self.drafted_tokens or self.accepted_tokens is None:
            return None
        return min(1.0, self.accepted_tokens / self.drafted_tokens)

    @property
    def tokens_per_step(self) -> float | None:
        """Tokens generated per step of the model, accepted drafts included: the upper limit of the speed-up."""
        if self.acceptance is None or self.accepted_tokens is None:
            return None
        return self.completion_tokens / max(1, self.completion_tokens - self.accepted_tokens)

    @property
    def speed_parts(self) -> list[str]:
        """Return phrases for the generated tokens, the decode rate and the accepted drafts, as far as these are known."""
        parts = [counted(self.completion_tokens, "token")]
        if self.decode_tps is not None:
            parts.append(f"{self.decode_tps:.1f} tokens/s{' (shared)' if self.shared else ''}")
        if self.tokens_per_step is not None and self.acceptance is not None:
            parts.append(
                f"{self.tokens_per_step:.1f} tokens a step, {self.acceptance:.0%} of the drafts accepted"
            )
        return parts


_GAPS = 65_536
"""Largest number of inter-token latencies that are kept."""
_RECENT = 10_000
"""The times of at least this many of the last tokens are kept."""


class Meter:
    """Computes the metrics of a run from the timestamps of its events, which may arrive late. Keeps at most `_GAPS`
    latencies (1 MB)."""

    def __init__(self, *, sent: float, load_s: float | None = None) -> None:
        self.shared: bool | None = None
        """Whether another run used the same server or this machine. `execute` sets this at the end of the run."""
        self.machine_load: float | None = None
        """The load of this machine. `execute` sets this at the end of the run."""
        self.heard = sent
        """When the last event came, on the monotonic clock. `execute` sets this."""
        self._sent = sent
        self._load_s = load_s
        self._pieces = 0
        self._first: float | None = None
        self._recent = array("d")
        self.gaps_ms = array("d")
        """Milliseconds from each token to the next so far; in a long run, a random sample of these latencies."""
        self._chance = random.Random(0)  # noqa: S311 (the numbers select a sample)
        self._first_text: float | None = None
        self._first_answer: float | None = None
        self.thinking_tokens = 0
        """Number of token events with text of the thinking so far."""
        self._thought: tuple[float, float] | None = None
        self._ended: float | None = None
        self._progress: PromptProgress | None = None
        self._queued = False
        self._usage = Usage()
        self._timings = Timings()

    def feed(self, event: Event) -> None:
        match event:
            case Token():
                self._count(event.time)
                if self._first_text is None and event.text:
                    self._first_text = event.time
                if event.channel == "thinking" and event.text:
                    self.thinking_tokens += 1
                    self._thought = (self._thought or (event.time,))[0], event.time
                if self._first_answer is None and event.text and event.channel == "answer":
                    self._first_answer = event.time
            case PromptProgress():
                self._progress = event
            case Queued():
                self._queued = True
            case Finish():
                self._usage, self._timings, self._ended = event.usage, event.timings, event.time

    def _count(self, time: float) -> None:
        self._pieces += 1
        if self._first is None:
            self._first = time
        else:
            gap, number = 1000 * (time - self._recent[-1]), self._pieces - 1
            # reservoir sampling, Vitter's algorithm R
            if number <= _GAPS:
                self.gaps_ms.append(gap)
            elif (place := self._chance.randrange(number)) < _GAPS:
                self.gaps_ms[place] = gap
        self._recent.append(time)
        if len(self._recent) >= 2 * _RECENT:
            del self._recent[:_RECENT]

    @property
    def tokens(self) -> int:
        """Number of tokens generated so far; after the end of the run, the engine's own count, if any."""
        counted = self._usage.completion_tokens
        return self._pieces if counted is None else counted

    @property
    def ttft_s(self) -> float | None:
        """Seconds from sending the prompt to the first text; None before the first text."""
        return self._since_sent(self._first_text)

    @property
    def thinking_s(self) -> float | None:
        """Seconds that the thinking has taken so far, until the answer began; None without thinking."""
        if self._thought is None:
            return None
        began, last = self._thought
        return (last if self._first_answer is None else self._first_answer) - began

    def rate(self, now: float) -> float | None:
        """Return the tokens per second in the last second before `now`, from the first token on; None before the
        second token."""
        if self._first is None or self._pieces < 2:
            return None
        start = max(now - 1, self._first)
        if now <= start:
            return None
        return (bisect_right(self._recent, now) - bisect_right(self._recent, start)) / (now - start)

    def metrics(self) -> RunMetrics:
        """Return the metrics so far. Durations that the engine reports take precedence over the tokens' timestamps."""
        prompt, cached = self._usage.prompt_tokens, self._usage.cached_tokens
        if self._progress is not None:
            prompt = self._progress.total if prompt is None else prompt
            cached = self._progress.cached if cached is None else cached
        return RunMetrics(
            load_s=self._load_s,
            ttft_s=self.ttft_s,
            ttfo_s=self._since_sent(self._first_answer),
            tpot_ms=self._tpot_ms(),
            prefill_tps=self._prefill_tps(prompt, cached),
            decode_tps=self._decode_tps(),
            itl_ms=self._itl_ms(),
            prompt_tokens=prompt,
            cached_tokens=cached,
            completion_tokens=self.tokens,
            estimated=self._usage.completion_tokens is None and bool(self._pieces),
            thinking_tokens=self.thinking_tokens,
            thinking_s=self.thinking_s,
            pieces=self._pieces,
            drafted_tokens=self._usage.drafted_tokens,
            accepted_tokens=self._usage.accepted_tokens,
            shared=self._queued or self.shared,
            machine_load=self.machine_load,
        )

    def _since_sent(self, time: float | None) -> float | None:
        return None if time is None else max(0.0, time - self._sent)

    def _tpot_ms(self) -> float | None:
        if self._ended is None or self._first is None or self.tokens < 2:
            return None
        return max(0.0, 1000 * (self._ended - self._first) / (self.tokens - 1))

    def _prefill_tps(self, prompt: int | None, cached: int | None) -> float | None:
        # The time to first token would be wrong here, because it includes the time in a server's queue.
        seconds = self._timings.prefill_s
        if not seconds or prompt is None or cached is None or prompt <= cached:
            return None
        return (prompt - cached) / seconds

    def _decode_tps(self) -> float | None:
        seconds = self._timings.decode_s
        if seconds is None and self._first is not None:
            seconds = self._recent[-1] - self._first
        return (self.tokens - 1) / seconds if seconds and seconds > 0 and self.tokens > 1 else None

    def _itl_ms(self) -> Percentiles:
        gaps = sorted(self.gaps_ms)
        if not gaps:
            return Percentiles()
        return Percentiles(p50=percentile(gaps, 50), p95=percentile(gaps, 95), p99=percentile(gaps, 99))


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return a percentile of ascending values by linear interpolation: Hyndman and Fan's type 7, numpy's default."""
    rank = (len(ordered) - 1) * percent / 100
    below = int(rank)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (rank - below)


_USAGE = (
    *("prompt_tokens", "cached_tokens", "completion_tokens", "thinking_tokens", "pieces"),
    *("drafted_tokens", "accepted_tokens"),
)
_TIMINGS = (
    *("load_s", "ttft_s", "ttfo_s", "thinking_s", "tpot_ms", "prefill_tps", "decode_tps", "itl_ms", "shared"),
    "machine_load",
)


def figures_json(known: RunMetrics | None) -> dict[str, Json]:
    """Return the token counts and the times of a run, as commands with `--json` print them."""
    data: dict[str, Json] = asdict(known or RunMetrics())
    if known is None:
        data["completion_tokens"] = None
    return {
        "usage": {name: data[name] for name in _USAGE},
        "timings": {name: data[name] for name in _TIMINGS},
    }
