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


class Windows:
    """The windows of a text. The tokens that are left at the end of the text are dropped."""

    def __init__(self, ids: Sequence[int], size: int, *, bos: int | None, owner: str) -> None:
        """Cut `ids`, the tokens of the text for the model `owner`. Raises InputError if the tokens are too few."""
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
        self._ids = ids
        self._size = size
        self._bos = bos

    def __len__(self) -> int:
        return len(self._ids) // self._size

    def __getitem__(self, index: int) -> Window:
        tokens = tuple(self._ids[index * self._size : (index + 1) * self._size])
        start = self._size // 2
        first = tokens[0] if self._bos is None else self._bos
        return Window(
            ids=(first, *tokens[1:-1]), start=start, targets=np.array(tokens[start + 1 :], dtype=np.int64)
        )

    @property
    def tokens(self) -> int:
        return len(self._ids) - (self._bos is not None and self._ids[0] == self._bos)

    @property
    def positions(self) -> int:
        return self._size - 1 - self._size // 2


T = TypeVar("T")

Take: TypeAlias = Callable[[paragone.LogitsBlock, slice], T]
"""A function that gets a block, valid only during the call, and a slice with the scored positions of the block's rows."""


class DistributionReader:
    """Reads the distributions of one engine. All methods raise ParagoneError."""

    def __init__(self, engine: EngineTask) -> None:
        self._engine = engine
        self._name = engine.definition.name
        self._width = 0
        self._stopped = asyncio.Event()

    @property
    def is_full(self) -> bool:
        return self._engine.capabilities.distributions

    async def vocabulary(self) -> paragone.Vocabulary:
        engine = self._engine
        await engine.opened()
        engine.require_open()
        if not (engine.capabilities.distributions or engine.capabilities.top_tokens):
            raise paragone.InputError(
                f"{self._name} reports neither distributions over its vocabulary nor the likeliest tokens at "
                "the positions of a given text, so its fidelity cannot be measured.",
                hint="Use an engine that computes on this machine.",
            )
        vocabulary = await engine.use(lambda opened: opened.vocabulary())
        self._width = vocabulary.size
        return vocabulary

    async def windows(self, text: str, size: int) -> Windows:
        async def tokenize(opened: paragone.OpenEngine) -> tuple[Sequence[int], Sequence[int]]:
            bos = await opened.tokenize(paragone.TokenizeRequest(text=""))
            return bos.ids, (await opened.tokenize(paragone.TokenizeRequest(text=text))).ids

        bos, ids = await self._engine.use(tokenize)
        return Windows(ids, size, bos=bos[0] if bos else None, owner=self._name)

    async def read(self, window: Window, take: Take[T], *, batch: int | None = None) -> list[T] | None:
        """Call `take` in a thread for each block of a window's rows, and return the results.

        `batch` is the largest number of tokens to compute at once. Returns None after `stop`.
        """
        request = paragone.DistributionsRequest(ids=window.ids, start=window.start, batch=batch)
        taken: list[T] = []

        async def read(opened: paragone.OpenEngine) -> int:
            rows = 0
            async with contextlib.aclosing(opened.distributions(request)) as blocks:
                async for block in blocks:
                    part = slice(rows, rows + block.rows)
                    if block.start != window.start + rows or block.vocab_size != self._width:
                        raise paragone.EngineError(
                            f"{self._name} returned distributions of an unexpected shape."
                        )
                    taken.append(await asyncio.to_thread(take, block, part))
                    rows += block.rows
            return rows

        return taken if await self._read(read, window) else None

    async def read_top(self, window: Window, top: int) -> list[tuple[paragone.Alternative, ...]] | None:
        """Return the likeliest tokens at each scored position of a window; None after `stop`."""
        request = paragone.TopTokensRequest(ids=window.ids, start=window.start, top=top)
        found: list[tuple[paragone.Alternative, ...]] = []

        async def read(opened: paragone.OpenEngine) -> int:
            async with contextlib.aclosing(opened.top_tokens(request)) as positions:
                found.extend([tokens async for tokens in positions])
            return len(found)

        return found if await self._read(read, window) else None

    async def stop(self) -> None:
        """Stop reading the present window, and read no further windows. An engine that is being opened is closed."""
        self._stopped.set()
        if self._engine.is_opening:
            await self._engine.close()

    async def _read(
        self, read: Callable[[paragone.OpenEngine], Coroutine[None, None, int]], window: Window
    ) -> bool:
        """Return whether a window was read, which `stop` prevents. `read` returns the number of its positions."""
        if self._stopped.is_set():
            return False
        try:
            count = await self._engine.use(read, self._stopped)
        except EngineStopped:
            if self._stopped.is_set():
                return False
            raise
        if self._stopped.is_set():
            return False
        expected = len(window.targets)
        if count != expected:
            raise paragone.EngineError(
                f"{self._name} returned {count:,} of the {expected:,} positions of a window."
            )
        return True


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
        self.noise = results.Difference()
        """How the reference differs from itself with another batch size."""
        self.candidates = tuple(results.Measured(engine) for engine in candidates)
        self.window = window
        self.windows = 0
        """Number of windows of the text, in the reference's tokens; 0 before the text is tokenized."""
        self.text_bytes = len(text.encode())
        self.stopped = False
        self._text = text
        engines = (self.reference, *self.candidates)
        self._readers = {measured: DistributionReader(measured.engine) for measured in engines}

    @property
    def partial(self) -> bool:
        return self.stopped or any(measured.error is not None for measured in self._readers)

    async def measure(self, on_step: Callable[[MeasurementStep], None] = lambda step: None) -> None:
        """Open the engines, and measure window by window.

        An error of one engine is kept with that engine; other engines continue. Raises ParagoneError if nothing can be
        measured because of the reference.
        """
        for measured in self._readers:
            measured.engine.open(physical_cores())  # engines compute one after the other
        vocabulary = await self._vocabulary(self.reference)
        if not self._readers[self.reference].is_full:
            raise paragone.InputError(
                f"{self.reference.name} reports the likeliest tokens only: the reference must report "
                "distributions over its whole vocabulary.",
                hint="Make it a candidate, with an engine that computes on this machine as the reference.",
            )
        windows = await self._windows(self.reference)
        self.windows = len(windows)
        able: dict[results.Measured, Windows] = {}
        for candidate in self.candidates:
            own = await self._attempt(candidate, self._prepared(candidate, vocabulary, windows))
            if own is not None:
                able[candidate] = own
        if able:
            await self._measure(windows, vocabulary.size, able, on_step)

    async def stop(self) -> None:
        """End the measurement early. The results of the present window are dropped."""
        self.stopped = True
        await asyncio.gather(*(reader.stop() for reader in self._readers.values()))

    async def _vocabulary(self, measured: results.Measured) -> paragone.Vocabulary:
        vocabulary = await self._readers[measured].vocabulary()
        loaded = measured.engine.loaded
        measured.size = loaded.size if loaded is not None else None
        return vocabulary

    async def _windows(self, measured: results.Measured) -> Windows:
        windows = await self._readers[measured].windows(self._text, self.window)
        measured.tokens = windows.tokens
        return windows

    async def _prepared(
        self, candidate: results.Measured, vocabulary: paragone.Vocabulary, windows: Windows
    ) -> Windows:
        same = await self._vocabulary(candidate) == vocabulary
        full = self._readers[candidate].is_full
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
            candidate.tokens = windows.tokens
            return windows
        candidate.reason = (
            f"{different}, so there is no KL divergence between them. Compare their bits per byte."
        )
        return await self._windows(candidate)

    async def _measure(
        self,
        windows: Windows,
        width: int,
        prepared: Mapping[results.Measured, Windows],
        on_step: Callable[[MeasurementStep], None],
    ) -> None:
        kept = np.empty((windows.positions, width), np.float32)
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
        return self.stopped or self.reference.error is not None or all_failed

    async def _measure_reference(self, window: Window, kept: results.Rows) -> None:
        def keep(block: paragone.LogitsBlock, part: slice) -> Values:
            kept[part] = results.log_probabilities(block)
            return results.losses(kept[part], window.targets[part])

        if found := await self._read(self.reference, window, keep):
            self.reference.add(np.concatenate(found))

    async def _measure_noise(self, window: Window, kept: results.Rows) -> None:
        if found := await self._read(self.reference, window, _comparing(window, kept), batch=NOISE_BATCH):
            self.noise.add(results.joined(found))

    async def _measure_candidate(
        self, candidate: results.Measured, window: Window, kept: results.Rows
    ) -> None:
        if candidate.top is not None:
            tokens = await self._attempt(candidate, self._readers[candidate].read_top(window, results.TOP))
            if tokens is not None:
                candidate.top.append(
                    results.top_agreement(await asyncio.to_thread(results.top_of, kept), tokens)
                )
        elif candidate.reason:

            def loss(block: paragone.LogitsBlock, part: slice) -> Values:
                return results.losses(results.log_probabilities(block), window.targets[part])

            if lost := await self._read(candidate, window, loss):
                candidate.add(np.concatenate(lost))
        elif found := await self._read(candidate, window, _comparing(window, kept)):
            scores = results.joined(found)
            candidate.add(scores.loss)
            candidate.difference.add(scores)

    async def _read(
        self, measured: results.Measured, window: Window, take: Take[T], *, batch: int | None = None
    ) -> list[T] | None:
        return await self._attempt(measured, self._readers[measured].read(window, take, batch=batch))

    async def _attempt(self, measured: results.Measured, work: Awaitable[T]) -> T | None:
        try:
            return await work
        except paragone.ParagoneError as error:
            measured.error = error
            return None


def _comparing(window: Window, kept: results.Rows) -> Take[results.Scores]:

    def compare(block: paragone.LogitsBlock, part: slice) -> results.Scores:
        return results.compared(kept[part], results.log_probabilities(block), window.targets[part])

    return compare


def noise_windows(count: int) -> frozenset[int]:
    wanted = min(max(count // _NOISE_EVERY, 1), _NOISE_MOST)
    return frozenset(number * count // wanted for number in range(wanted))
