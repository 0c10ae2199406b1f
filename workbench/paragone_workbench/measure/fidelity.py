"""Measures how much candidates differ from a reference over a text. The probability distributions of the next token
are compared at each scored position."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias, TypeVar

import paragone
from paragone.threads import physical_cores
from paragone_workbench.engines.engine import EngineStopped, EngineTask
from paragone_workbench.measure.distances import (
    TOP,
    Measured,
    Rows,
    Scores,
    Window,
    compared,
    log_probabilities,
    losses,
    top_agreement,
    top_of,
)
from paragone_workbench.statistics import Values, np


def sample_text() -> str:
    """Return a short English text written for paragone, of several kinds: about five windows of 512 tokens."""
    return Path(__file__).with_name("sample.txt").read_text(encoding="utf-8")


SMALLEST = 8


def windows_of(ids: Sequence[int], size: int, *, bos: int | None, owner: str) -> list[Window]:
    """Cut the tokens of a text for the model `owner` into windows, without the remaining tokens at the end. Raises
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
    for unit, at in enumerate(range(0, len(ids) - size + 1, size)):
        first = ids[at] if bos is None else bos
        targets = np.array(ids[at + start + 1 : at + size], dtype=np.int64)
        window = Window(ids=(first, *ids[at + 1 : at + size - 1]), start=start, targets=targets, unit=unit)
        windows.append(window)
    return windows


T = TypeVar("T")

Take: TypeAlias = Callable[[paragone.LogitsBlock, slice], T]
"""A function that gets a block, which is valid only during the call, and a slice of the block's rows: the scored positions."""

WINDOW = 512

NOISE_BATCH = 1
"""Batch size with which the reference is measured against itself: one token at a time, as in an answer. With many other
batch sizes, engines compute exactly the same numbers as with the configured size."""

_NOISE_EVERY, _NOISE_MOST = 16, 4
"""The noise is measured in one of 16 windows, but in 4 windows at most. One token at a time takes several times as long
as a batch, on a GPU fifty times."""


class MeasurementStep(NamedTuple):
    """Progress before a step: one window of a text, one given answer, or the answer to one prompt, of one engine."""

    what: Literal["window", "answer", "prompt"]
    done: int
    total: int
    number: int
    last: int


class Fidelity:
    """A measurement of fidelity. The results so far can be read at any time, also after an error or `stop`."""

    unit: Literal["window", "conversation"] = "window"
    """The unit of uncertainty."""
    step: Literal["window", "answer"] = "window"
    least_noise = 1
    """Least number of windows in which the noise is measured."""

    def __init__(
        self, reference: EngineTask, candidates: Sequence[EngineTask], text: str, *, window: int = WINDOW
    ) -> None:
        self.reference = Measured(reference)
        self.noise = Measured(reference)
        """The reference, compared with itself in another batch size."""
        self.candidates = tuple(Measured(engine) for engine in candidates)
        self.window = window
        self.windows = 0
        """Number of windows of the text, in the reference's tokens, or of conversations; 0 before they are tokenized."""
        self.text_bytes = len(text.encode())
        self._text = text
        self._stopped = asyncio.Event()

    @property
    def measured(self) -> tuple[Measured, ...]:
        return self.reference, *self.candidates

    @property
    def partial(self) -> bool:
        return self._stopped.is_set() or any(measured.error is not None for measured in self.measured)

    async def measure(self, on_step: Callable[[MeasurementStep], None] = lambda step: None) -> None:
        """Open the engines, and measure window by window. An error of one engine is kept with that engine; other engines
        continue. Raises ParagoneError if nothing can be measured because of the reference."""
        for measured in self.measured:
            measured.engine.open(physical_cores())  # engines compute one after the other
        vocabulary = await self._vocabulary(self.reference)
        if not self.reference.engine.capabilities.distributions:
            raise paragone.InputError(
                f"{self.reference.name} reports only the most likely tokens: the reference must report "
                "distributions over its whole vocabulary.",
                hint="Make it a candidate, with an engine that computes on this machine as the reference.",
            )
        windows = await self._windows(self.reference)
        self.reference.units = [window.unit for window in windows]
        self.noise.units = [
            windows[number].unit for number in sorted(noise_windows(len(windows), self.least_noise))
        ]
        self.windows = len(set(self.reference.units))
        able: dict[Measured, list[Window]] = {}
        for candidate in self.candidates:
            own = await self._attempt(candidate, self._prepared(candidate, vocabulary, windows))
            if own is not None:
                able[candidate] = own
                candidate.units = [window.unit for window in own]
        if able:
            await self._measure(windows, vocabulary.size, able, on_step)

    async def stop(self) -> None:
        """End the measurement early. The results of the current window are dropped, and engines that are being opened
        are closed."""
        self._stopped.set()
        engines = (measured.engine for measured in self.measured)
        await asyncio.gather(*(engine.close() for engine in engines if engine.is_opening))

    async def _vocabulary(self, measured: Measured) -> paragone.Vocabulary:
        engine = measured.engine
        await engine.opened()
        measured.size = engine.require_open().size
        if not (engine.capabilities.distributions or engine.capabilities.top_tokens):
            raise paragone.InputError(
                f"{measured.name} reports neither distributions over its vocabulary nor the most likely tokens at "
                "the positions of a given text, so its fidelity cannot be measured.",
                hint="Use an engine that computes on this machine.",
            )
        vocabulary = await engine.use(lambda opened: opened.vocabulary())
        measured.width = vocabulary.size
        return vocabulary

    async def _windows(self, measured: Measured) -> list[Window]:
        async def tokenize(opened: paragone.OpenEngine) -> tuple[Sequence[int], Sequence[int]]:
            bos = await opened.tokenize(paragone.TokenizeRequest(text=""))
            return bos.ids, (await opened.tokenize(paragone.TokenizeRequest(text=self._text))).ids

        start, ids = await measured.engine.use(tokenize)
        bos = start[0] if start else None
        windows = windows_of(ids, self.window, bos=bos, owner=measured.name)
        measured.tokens = len(ids) - (bos is not None and ids[0] == bos)
        return windows

    async def _prepared(
        self, candidate: Measured, vocabulary: paragone.Vocabulary, windows: list[Window]
    ) -> list[Window] | None:
        """Return the windows of the candidate's own tokens; None if it has nothing to compute."""
        same = await self._vocabulary(candidate) == vocabulary
        full = candidate.engine.capabilities.distributions
        different = f"{candidate.name} and {self.reference.name} have different vocabularies"
        if not full and not same:
            raise paragone.InputError(
                f"{different}, and {candidate.name} reports only its most likely tokens."
            )
        if not full:
            candidate.top = []
            candidate.reason = (
                f"{candidate.name} reports only its most likely tokens, so there is neither a perplexity "
                f"nor a KL divergence. The top {TOP} tokens are compared."
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
        prepared: Mapping[Measured, list[Window]],
        on_step: Callable[[MeasurementStep], None],
    ) -> None:
        kept = np.empty((max(len(window.targets) for window in windows), width), np.float32)
        noisy = noise_windows(len(windows), self.least_noise)
        count = max(map(len, (windows, *prepared.values())))
        total = len(windows) + len(noisy) + sum(map(len, prepared.values()))
        done = 0

        def step(number: int) -> None:
            nonlocal done
            on_step(MeasurementStep(self.step, done, total, number + 1, count))
            done += 1

        for number in range(count):
            if number < len(windows):
                step(number)
                if found := await self._read(
                    self.reference, windows[number], _keeping(windows[number], kept)
                ):
                    self.reference.window_losses.append(np.concatenate(found))
            if number in noisy and not self._over(prepared):
                step(number)
                compare = _comparing(self.noise, windows[number], kept)
                if scores := await self._read(self.reference, windows[number], compare, batch=NOISE_BATCH):
                    self.noise.compare(scores)
            for candidate, own in prepared.items():
                if self._over(prepared):
                    return
                if candidate.error is None and number < len(own):
                    step(number)
                    await self._measure_candidate(candidate, own[number], kept)
            if self._over(prepared):
                return

    def _over(self, candidates: Iterable[Measured]) -> bool:
        """Whether the comparison has ended: by `stop`, or because the reference or all candidates failed."""
        all_failed = all(candidate.error is not None for candidate in candidates)
        return self._stopped.is_set() or self.reference.error is not None or all_failed

    async def _measure_candidate(self, candidate: Measured, window: Window, kept: Rows) -> None:
        if candidate.top is not None:
            request = paragone.TopTokensRequest(ids=window.ids, start=window.start, top=TOP)
            tokens: list[tuple[paragone.Alternative, ...]] = []

            async def read(opened: paragone.OpenEngine) -> int:
                async with contextlib.aclosing(opened.top_tokens(request)) as positions:
                    tokens.extend([at async for at in positions])
                return len(tokens)

            if await self._attempt(candidate, self._read_whole(candidate, window, read)):
                expected = await asyncio.to_thread(top_of, kept[: len(window.targets)])
                candidate.top.append(top_agreement(expected, tokens))
        elif candidate.reason:

            def loss(block: paragone.LogitsBlock, part: slice) -> Values:
                return losses(log_probabilities(block), window.targets[part])

            if lost := await self._read(candidate, window, loss):
                candidate.window_losses.append(np.concatenate(lost))
        elif found := await self._read(candidate, window, _comparing(candidate, window, kept)):
            candidate.window_losses.append(candidate.compare(found).loss)

    async def _read(
        self, measured: Measured, window: Window, take: Take[T], *, batch: int | None = None
    ) -> list[T]:
        """Call `take` in a thread for each block of a window's rows, and return the results; empty after `stop` and
        after an error. `batch` is the largest number of tokens to compute in one step."""
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
        measured: Measured,
        window: Window,
        read: Callable[[paragone.OpenEngine], Coroutine[None, None, int]],
    ) -> bool:
        """Return whether a window was read completely: `stop` prevents this. `read` returns the number of positions
        that were read."""
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

    async def _attempt(self, measured: Measured, work: Awaitable[T]) -> T | None:
        try:
            return await work
        except paragone.ParagoneError as error:
            measured.error = error
            return None


def _keeping(window: Window, kept: Rows) -> Take[Values]:
    def keep(block: paragone.LogitsBlock, part: slice) -> Values:
        kept[part] = log_probabilities(block)
        return losses(kept[part], window.targets[part])

    return keep


def _comparing(measured: Measured, window: Window, kept: Rows) -> Take[Scores]:
    def compare(block: paragone.LogitsBlock, part: slice) -> Scores:
        own = log_probabilities(block)
        scores = compared(kept[part], own, window.targets[part])
        measured.note_worst(window, part.start, scores.kld, kept[part], own)
        return scores

    return compare


def noise_windows(count: int, least: int = 1) -> frozenset[int]:
    wanted = min(max(count // _NOISE_EVERY, least), _NOISE_MOST, count)
    return frozenset(number * count // wanted for number in range(wanted))
