"""Measures how much candidates differ from a reference over a text, distribution by distribution.

All engines are open and take turns: the reference's rows of one window are kept, and each candidate's rows
are compared with the reference's on arrival. Apart from a few numbers for each position, memory is bounded by the
window.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from paragone import InputError, LogitsBlock, ParagoneError, Vocabulary
from paragone.cores import physical_cores
from paragone_workbench.engines.handle import EngineHandle
from paragone_workbench.measure.fidelity.distribution_reader import DistributionReader, Take
from paragone_workbench.measure.fidelity.log_probabilities import (
    Rows,
    Scores,
    compared,
    joined,
    log_probabilities,
    losses,
)
from paragone_workbench.measure.fidelity.measured import Candidate, Difference, Measured
from paragone_workbench.measure.fidelity.text_windows import Window, Windows
from paragone_workbench.measure.fidelity.top_tokens import TOP, TopAgreement, top_of
from paragone_workbench.statistics.numeric import Values, np

T = TypeVar("T")

WINDOW = 512
"""Default size of a window in tokens."""

NOISE_BATCH = 1
"""Batch size with which the reference is measured against itself: one token at a time, as in an answer.

With many other batch sizes, engines compute exactly the same numbers as with the configured size.
"""

_NOISE_EVERY, _NOISE_MOST = 16, 4
"""The noise is measured in one of 16 windows, but in 4 windows at most.

Computing one token at a time takes several times as long as computing a batch, on a GPU fifty times.
"""


class FidelityStep(NamedTuple):
    """Progress of a measurement, before each step. A step measures one window with one engine."""

    done: int
    total: int
    window: int
    windows: int


class Fidelity:
    """A measurement of fidelity. The results so far can be read at any time, also after an error or `stop`."""

    def __init__(
        self, reference: EngineHandle, candidates: Sequence[EngineHandle], text: str, *, window: int = WINDOW
    ) -> None:
        self.reference = Measured(reference)
        """The engine with which the candidates are compared."""
        self.noise = Difference()
        """How the reference differs from itself with another batch size."""
        self.candidates = tuple(Candidate(engine) for engine in candidates)
        """The engines that are compared with the reference, in the given order."""
        self.window = window
        """Size of a window in tokens."""
        self.windows = 0
        """Number of windows of the text, in the reference's tokens; 0 before the text is tokenized."""
        self.text_bytes = len(text.encode())
        """Bytes of the text in UTF-8."""
        self.stopped = False
        """Whether `stop` was called."""
        self._text = text
        engines = (self.reference, *self.candidates)
        self._readers = {measured: DistributionReader(measured.engine) for measured in engines}

    @property
    def partial(self) -> bool:
        """Whether results are missing."""
        return self.stopped or any(measured.error is not None for measured in self._readers)

    async def measure(self, on_step: Callable[[FidelityStep], None] = lambda step: None) -> None:
        """Open the engines, and measure window by window.

        An error of one engine is kept with that engine; other engines continue. Raises ParagoneError if nothing can be
        measured because of the reference.
        """
        for measured in self._readers:
            measured.engine.open(physical_cores())  # engines compute one after the other
        vocabulary = await self._vocabulary(self.reference)
        if not self._readers[self.reference].is_full:
            raise InputError(
                f"{self.reference.name} reports the likeliest tokens only: the reference must report "
                "distributions over its whole vocabulary.",
                hint="Make it a candidate, with an engine that computes on this machine as the reference.",
            )
        windows = await self._windows(self.reference)
        self.windows = len(windows)
        able: dict[Candidate, Windows] = {}
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

    async def _vocabulary(self, measured: Measured) -> Vocabulary:
        vocabulary = await self._readers[measured].vocabulary()
        loaded = measured.engine.loaded
        measured.size = loaded.size if loaded is not None else None
        return vocabulary

    async def _windows(self, measured: Measured) -> Windows:
        windows = await self._readers[measured].windows(self._text, self.window)
        measured.tokens = windows.tokens
        return windows

    async def _prepared(self, candidate: Candidate, vocabulary: Vocabulary, windows: Windows) -> Windows:
        """Return the text cut into windows of the candidate's tokens, and note what cannot be compared."""
        same = await self._vocabulary(candidate) == vocabulary
        full = self._readers[candidate].is_full
        different = f"{candidate.name} and {self.reference.name} have different vocabularies"
        if not full and not same:
            raise InputError(f"{different}, and {candidate.name} reports no more than its likeliest tokens.")
        if not full:
            candidate.top = TopAgreement()
            candidate.reason = (
                f"{candidate.name} reports no more than its likeliest tokens, so there is neither a perplexity "
                f"nor a KL divergence. Compared are the top {TOP}."
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
        prepared: Mapping[Candidate, Windows],
        on_step: Callable[[FidelityStep], None],
    ) -> None:
        kept = np.empty((windows.positions, width), np.float32)
        noisy = noise_windows(len(windows))
        count = max(map(len, (windows, *prepared.values())))
        total = len(windows) + len(noisy) + sum(map(len, prepared.values()))
        done = 0

        def step(number: int) -> None:
            nonlocal done
            on_step(FidelityStep(done, total, number + 1, count))
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

    def _over(self, candidates: Iterable[Candidate]) -> bool:
        """Whether the comparison is over: because of `stop`, or because the reference or all candidates failed."""
        all_failed = all(candidate.error is not None for candidate in candidates)
        return self.stopped or self.reference.error is not None or all_failed

    async def _measure_reference(self, window: Window, kept: Rows) -> None:
        """Measure a window of the reference, and keep the rows of the window."""

        def keep(block: LogitsBlock, part: slice) -> Values:
            kept[part] = log_probabilities(block)
            return losses(kept[part], window.targets[part])

        if found := await self._read(self.reference, window, keep):
            self.reference.add(np.concatenate(found))

    async def _measure_noise(self, window: Window, kept: Rows) -> None:
        """Compare the kept rows of the reference with the reference's rows at the batch size `NOISE_BATCH`."""
        if found := await self._read(self.reference, window, _comparing(window, kept), batch=NOISE_BATCH):
            self.noise.add(joined(found))

    async def _measure_candidate(self, candidate: Candidate, window: Window, kept: Rows) -> None:
        """Measure a window of a candidate, and compare the rows with the reference's if both have the same tokens."""
        if candidate.top is not None:
            tokens = await self._attempt(candidate, self._readers[candidate].read_top(window, TOP))
            if tokens is not None:
                candidate.top.add(await asyncio.to_thread(top_of, kept), tokens)
        elif candidate.reason:

            def loss(block: LogitsBlock, part: slice) -> Values:
                return losses(log_probabilities(block), window.targets[part])

            if lost := await self._read(candidate, window, loss):
                candidate.add(np.concatenate(lost))
        elif found := await self._read(candidate, window, _comparing(window, kept)):
            scores = joined(found)
            candidate.add(scores.loss)
            candidate.difference.add(scores)

    async def _read(
        self, measured: Measured, window: Window, take: Take[T], *, batch: int | None = None
    ) -> list[T] | None:
        """Read a window. Returns None after an error, which is kept with the engine, and after `stop`."""
        return await self._attempt(measured, self._readers[measured].read(window, take, batch=batch))

    async def _attempt(self, measured: Measured, work: Awaitable[T]) -> T | None:
        """Await `work` with an engine, and return the result; None after an error, which is kept with the engine."""
        try:
            return await work
        except ParagoneError as error:
            measured.error = error
            return None


def _comparing(window: Window, kept: Rows) -> Take[Scores]:
    """Return the function that compares a block with the reference's rows of the same window."""

    def compare(block: LogitsBlock, part: slice) -> Scores:
        return compared(kept[part], log_probabilities(block), window.targets[part])

    return compare


def noise_windows(count: int) -> frozenset[int]:
    """Return the numbers of the windows in which the noise is measured, spread over the text."""
    wanted = min(max(count // _NOISE_EVERY, 1), _NOISE_MOST)
    return frozenset(number * count // wanted for number in range(wanted))
