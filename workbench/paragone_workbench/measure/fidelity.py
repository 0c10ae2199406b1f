"""Measures how much candidates differ from a reference over a text, distribution by distribution."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias, TypeVar

import paragone
from paragone.threads import physical_cores
from paragone_workbench.engines.engine import EngineStopped, EngineTask
from paragone_workbench.measure import fidelity_results as results
from paragone_workbench.statistics import Values, np


def sample_text() -> str:
    """Return a short English text of several kinds, written for paragone: about five windows of 512 tokens."""
    return Path(__file__).with_name("sample.txt").read_text(encoding="utf-8")


SMALLEST = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A window of a text, the second half of which is scored."""

    ids: tuple[int, ...]
    """The tokens to compute: all but the last, with BOS in place of the first if the model adds a BOS token."""
    start: int
    """Index in `ids` of the first token whose successor is scored."""
    targets: results.Targets


def windows_of(ids: Sequence[int], size: int, *, bos: int | None, owner: str) -> list[Window]:
    """Cut the tokens of a text for the model `owner` into windows, without those that are left at the end. Raises
    InputError if the tokens are too few."""
    if size < SMALLEST:
        raise paragone.InputError(
            f"A window of {size} tokens is too small.", hint=f"The smallest is {SMALLEST}."
        )
    if len(ids) < 2 * size:
        raise paragone.InputError(
            f"The text is too short: it has {len(ids):,} tokens for {owner}, and two windows of {size:,} "
            f"need {2 * size:,}.",
            hint="Use a longer text or a smaller window.",
        )
    start, windows = size // 2, []
    for at in range(0, len(ids) - size + 1, size):
        first = ids[at] if bos is None else bos
        targets = np.array(ids[at + start + 1 : at + size], dtype=np.int64)
        windows.append(Window(ids=(first, *ids[at + 1 : at + size - 1]), start=start, targets=targets))
    return windows


T = TypeVar("T")

Take: TypeAlias = Callable[[paragone.LogitsBlock, slice], T]
"""A function that gets a block, valid only during the call, and a slice with the scored positions of the block's rows."""

WINDOW = 512

NOISE_BATCH = 1
"""Batch size with which the reference is measured against itself: one token at a time, as in an answer.

With many other batch sizes, engines compute exactly the same numbers as with the configured size.
"""

_NOISE_EVERY, _NOISE_MOST = 16, 4
"""The noise is measured in one of 16 windows, but in 4 windows at most.

Computing one token at a time takes several times as long as computing a batch, on a GPU fifty times.
"""


class MeasurementStep(NamedTuple):
    """Progress before a step: one window of a text, or the answer to one prompt, of one engine."""

    what: Literal["window", "prompt"]
    done: int
    total: int
    number: int
    last: int


class Fidelity:
    """A measurement of fidelity. The results so far can be read at any time, also after an error or `stop`."""

    def __init__(
        self, reference: EngineTask, candidates: Sequence[EngineTask], text: str, *, window: int = WINDOW
    ) -> None:
        self.reference = results.Measured(reference)
        self.noise = results.Measured(reference)
        """The reference, compared with itself in another batch size."""
        self.candidates = tuple(results.Measured(engine) for engine in candidates)
        self.window = window
        self.windows = 0
        """Number of windows of the text, in the reference's tokens; 0 before the text is tokenized."""
        self.text_bytes = len(text.encode())
        self._text = text
        self._stopped = asyncio.Event()

    @property
    def measured(self) -> tuple[results.Measured, ...]:
        return self.reference, *self.candidates

    @property
    def partial(self) -> bool:
        return self._stopped.is_set() or any(measured.error is not None for measured in self.measured)

    async def measure(self, on_step: Callable[[MeasurementStep], None] = lambda step: None) -> None:
        """Open the engines, and measure window by window.

        An error of one engine is kept with that engine; other engines continue. Raises ParagoneError if nothing can be
        measured because of the reference.
        """
        for measured in self.measured:
            measured.engine.open(physical_cores())  # engines compute one after the other
        vocabulary = await self._vocabulary(self.reference)
        if not self.reference.engine.capabilities.distributions:
            raise paragone.InputError(
                f"{self.reference.name} reports the likeliest tokens only: the reference must report "
                "distributions over its whole vocabulary.",
                hint="Make it a candidate, with an engine that computes on this machine as the reference.",
            )
        windows = await self._windows(self.reference)
        self.windows = len(windows)
        able: dict[results.Measured, list[Window]] = {}
        for candidate in self.candidates:
            own = await self._attempt(candidate, self._prepared(candidate, vocabulary, windows))
            if own is not None:
                able[candidate] = own
        if able:
            await self._measure(windows, vocabulary.size, able, on_step)

    async def stop(self) -> None:
        """End the measurement early. The results of the present window are dropped, and opening engines are closed."""
        self._stopped.set()
        engines = (measured.engine for measured in self.measured)
        await asyncio.gather(*(engine.close() for engine in engines if engine.is_opening))

    async def _vocabulary(self, measured: results.Measured) -> paragone.Vocabulary:
        engine = measured.engine
        await engine.opened()
        measured.size = engine.require_open().size
        if not (engine.capabilities.distributions or engine.capabilities.top_tokens):
            raise paragone.InputError(
                f"{measured.name} reports neither distributions over its vocabulary nor the likeliest tokens at "
                "the positions of a given text, so its fidelity cannot be measured.",
                hint="Use an engine that computes on this machine.",
            )
        vocabulary = await engine.use(lambda opened: opened.vocabulary())
        measured.width = vocabulary.size
        return vocabulary

    async def _windows(self, measured: results.Measured) -> list[Window]:
        async def tokenize(opened: paragone.OpenEngine) -> tuple[Sequence[int], Sequence[int]]:
            bos = await opened.tokenize(paragone.TokenizeRequest(text=""))
            return bos.ids, (await opened.tokenize(paragone.TokenizeRequest(text=self._text))).ids

        start, ids = await measured.engine.use(tokenize)
        bos = start[0] if start else None
        windows = windows_of(ids, self.window, bos=bos, owner=measured.name)
        measured.tokens = len(ids) - (bos is not None and ids[0] == bos)
        return windows

    async def _prepared(
        self, candidate: results.Measured, vocabulary: paragone.Vocabulary, windows: list[Window]
    ) -> list[Window]:
        same = await self._vocabulary(candidate) == vocabulary
        full = candidate.engine.capabilities.distributions
        different = f"{candidate.name} and {self.reference.name} have different vocabularies"
        if not full and not same:
            raise paragone.InputError(
                f"{different}, and {candidate.name} reports no more than its likeliest tokens."
            )
        if not full:
            candidate.top = []
            candidate.reason = (
                f"{candidate.name} reports no more than its likeliest tokens, so there is neither a perplexity "
                f"nor a KL divergence. Compared are the top {results.TOP}."
            )
        if same:
            candidate.tokens = self.reference.tokens
            return windows
        candidate.reason = (
            f"{different}, so there is no KL divergence between them. Compare their bits per byte."
        )
        return await self._windows(candidate)

    async def _measure(
        self,
        windows: list[Window],
        width: int,
        prepared: Mapping[results.Measured, list[Window]],
        on_step: Callable[[MeasurementStep], None],
    ) -> None:
        kept = np.empty((len(windows[0].targets), width), np.float32)
        noisy = noise_windows(len(windows))
        count = max(map(len, (windows, *prepared.values())))
        total = len(windows) + len(noisy) + sum(map(len, prepared.values()))
        done = 0

        def step(number: int) -> None:
            nonlocal done
            on_step(MeasurementStep("window", done, total, number + 1, count))
            done += 1

        for number in range(count):
            if number < len(windows):
                step(number)
                await self._measure_reference(windows[number], kept)
            if number in noisy and not self._over(prepared):
                step(number)
                await self._measure_noise(windows[number], kept)
            for candidate, own in prepared.items():
                if self._over(prepared):
                    return
                if candidate.error is None and number < len(own):
                    step(number)
                    await self._measure_candidate(candidate, own[number], kept)
            if self._over(prepared):
                return

    def _over(self, candidates: Iterable[results.Measured]) -> bool:
        """Whether the comparison is over: because of `stop`, or because the reference or all candidates failed."""
        all_failed = all(candidate.error is not None for candidate in candidates)
        return self._stopped.is_set() or self.reference.error is not None or all_failed

    async def _measure_reference(self, window: Window, kept: results.Rows) -> None:
        def keep(block: paragone.LogitsBlock, part: slice) -> Values:
            kept[part] = results.log_probabilities(block)
            return results.losses(kept[part], window.targets[part])

        if found := await self._read(self.reference, window, keep):
            self.reference.add(np.concatenate(found))

    async def _measure_noise(self, window: Window, kept: results.Rows) -> None:
        found = await self._read(self.reference, window, _comparing(window, kept), batch=NOISE_BATCH)
        if found:
            self.noise.compare(found)

    async def _measure_candidate(
        self, candidate: results.Measured, window: Window, kept: results.Rows
    ) -> None:
        if candidate.top is not None:
            request = paragone.TopTokensRequest(ids=window.ids, start=window.start, top=results.TOP)
            tokens: list[tuple[paragone.Alternative, ...]] = []

            async def read(opened: paragone.OpenEngine) -> int:
                async with contextlib.aclosing(opened.top_tokens(request)) as positions:
                    tokens.extend([at async for at in positions])
                return len(tokens)

            if await self._attempt(candidate, self._read_whole(candidate, window, read)):
                expected = await asyncio.to_thread(results.top_of, kept)
                candidate.top.append(results.top_agreement(expected, tokens))
        elif candidate.reason:

            def loss(block: paragone.LogitsBlock, part: slice) -> Values:
                return results.losses(results.log_probabilities(block), window.targets[part])

            if lost := await self._read(candidate, window, loss):
                candidate.add(np.concatenate(lost))
        elif found := await self._read(candidate, window, _comparing(window, kept)):
            candidate.add(candidate.compare(found).loss)

    async def _read(
        self, measured: results.Measured, window: Window, take: Take[T], *, batch: int | None = None
    ) -> list[T]:
        """Call `take` in a thread for each block of a window's rows, and return the results; empty after `stop` and
        after an error. `batch` is the largest number of tokens to compute at once."""
        request = paragone.DistributionsRequest(ids=window.ids, start=window.start, batch=batch)
        taken: list[T] = []

        async def read(opened: paragone.OpenEngine) -> int:
            rows = 0
            async with contextlib.aclosing(opened.distributions(request)) as blocks:
                async for block in blocks:
                    part = slice(rows, rows + block.rows)
                    if block.start != window.start + rows or block.vocab_size != measured.width:
                        raise paragone.EngineError(
                            f"{measured.name} returned distributions of an unexpected shape."
                        )
                    taken.append(await asyncio.to_thread(take, block, part))
                    rows += block.rows
            return rows

        return taken if await self._attempt(measured, self._read_whole(measured, window, read)) else []

    async def _read_whole(
        self,
        measured: results.Measured,
        window: Window,
        read: Callable[[paragone.OpenEngine], Coroutine[None, None, int]],
    ) -> bool:
        """Return whether a window was read, which `stop` prevents. `read` returns the number of its positions."""
        if self._stopped.is_set():
            return False
        try:
            count = await measured.engine.use(read, self._stopped)
        except EngineStopped:
            if self._stopped.is_set():
                return False
            raise
        expected = len(window.targets)
        if count != expected and not self._stopped.is_set():
            raise paragone.EngineError(
                f"{measured.name} returned {count:,} of the {expected:,} positions of a window."
            )
        return not self._stopped.is_set()

    async def _attempt(self, measured: results.Measured, work: Awaitable[T]) -> T | None:
        try:
            return await work
        except paragone.ParagoneError as error:
            measured.error = error
            return None


def _comparing(window: Window, kept: results.Rows) -> Take[results.Scores]:
    return lambda block, part: results.compared(
        kept[part], results.log_probabilities(block), window.targets[part]
    )


def noise_windows(count: int) -> frozenset[int]:
    wanted = min(max(count // _NOISE_EVERY, 1), _NOISE_MOST)
    return frozenset(number * count // wanted for number in range(wanted))
