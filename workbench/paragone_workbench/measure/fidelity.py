"""Measures how much candidates differ from a reference over a text. The probability distributions of the next token
are compared at each scored position."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, TypeVar

import paragone
from paragone.threads import physical_cores
from paragone_workbench.engines.engine import EngineStopped, EngineTask
from paragone_workbench.statistics import Estimate, Values, np

if TYPE_CHECKING:
    from numpy.typing import NDArray


Rows: TypeAlias = "NDArray[np.float32]"
"""Log-probabilities: one row for each position, one column for each token of the vocabulary."""

Targets: TypeAlias = "NDArray[np.int64]"
"""For each position, the token that follows in the text."""


class Scores(NamedTuple):
    """For each position, figures of a candidate's distribution q compared with the reference's distribution p."""

    loss: NDArray[np.float64]
    """Log-loss −ln q of the token that follows in the text, in nats."""
    kld: NDArray[np.float64]
    """KL divergence Σ p·(ln p − ln q), in nats."""
    delta_p: NDArray[np.float64]
    """For the token that follows in the text: its probability under q minus its probability under p."""
    same_top: NDArray[np.bool_]


def log_probabilities(block: paragone.LogitsBlock) -> Rows:
    """Return the logarithm of the softmax of each row, in new memory. Raises paragone.EngineError if a logit is not
    finite. Single precision is exact to about 1e-6 nats: an engine differs from itself by far more."""
    logits = np.asarray(block.data, dtype=np.float32).reshape(block.rows, block.vocab_size)
    with np.errstate(invalid="ignore"):  # numbers that are not finite raise an error below
        rows: Rows = logits - logits.max(axis=1, keepdims=True)
        rows -= np.log(np.exp(rows).sum(axis=1, keepdims=True))
    if not np.isfinite(rows).all():
        raise paragone.EngineError(
            "The engine computed logits that are not finite numbers.",
            hint="The model's file may be damaged, or the quantization too coarse.",
        )
    return rows


def losses(rows: Rows, targets: Targets) -> NDArray[np.float64]:
    return -rows[np.arange(len(targets)), targets].astype(np.float64)


def compared(reference: Rows, candidate: Rows, targets: Targets) -> Scores:
    terms = np.exp(reference)
    terms *= reference - candidate
    # A KL divergence is never negative, but the rounded sum can be.
    kld = np.maximum(terms.sum(axis=1, dtype=np.float64), 0)
    loss = losses(candidate, targets)
    delta_p = np.exp(-loss) - np.exp(-losses(reference, targets))
    return Scores(loss, kld, delta_p, reference.argmax(axis=1) == candidate.argmax(axis=1))


FEWEST_WINDOWS = 4
"""With fewer windows the uncertainty is unknown: the standard error of so few is mostly chance."""

_FEWEST_POSITIONS = 100

DECADES = range(-6, 2)
"""Exponents of the powers of ten, in nats, between which `shares` counts positions."""

_PER_DECADE = 6


Units: TypeAlias = "Iterable[NDArray[Any]]"
"""The values of the positions of each unit of uncertainty: of each window of a text, or of each conversation."""


def flat(units: Units) -> NDArray[Any]:
    return np.concatenate([np.empty(0), *units])


def unit_means(units: Units) -> Values:
    """Return a number for each unit. Their mean is the mean over all positions, and their standard error is its error.

    Units of the same size have their means. Else the error is the jackknife's: with the means m over all N positions and
    m' without the unit's k positions, whose sum is s, the number is (n − 1)·(m − m') + c for n units, where m − m' is
    (s − m·k)/(N − k), and c makes m the mean of the numbers.
    """
    counts, sums = np.array([[part.size, part.sum()] for part in units if part.size]).reshape(-1, 2).T
    if not counts.size or (counts == counts[0]).all():
        return np.asarray(sums / counts)
    whole = sums.sum() / counts.sum()
    changes = (len(counts) - 1) * (sums - whole * counts) / (counts.sum() - counts)
    return np.asarray(whole + changes - changes.mean())


def by_unit(windows: Iterable[tuple[int, NDArray[Any]]]) -> list[NDArray[Any]]:
    """Return the values of each unit. Each window comes with the number of its unit."""
    found: dict[int, list[NDArray[Any]]] = {}
    for unit, values in windows:
        found.setdefault(unit, []).append(values)
    return [np.concatenate(parts) for parts in found.values()]


def mean(units: Units) -> Estimate | None:
    """Return the mean of numbers, or the share of true values. None without values."""
    values = unit_means(units)
    count = len(values)
    if not count:
        return None
    error = float(values.std(ddof=1)) / math.sqrt(count) if count >= FEWEST_WINDOWS else None
    return Estimate(float(values.mean()), error)


def perplexity(losses: Units) -> Estimate | None:
    """Return the perplexity e^mean of log-losses in nats, whose uncertainty is e^mean times the uncertainty of the mean."""
    loss = mean(losses)
    if loss is None:
        return None
    value = math.exp(loss.value)
    return Estimate(value, loss.scaled(value).error)


def root_mean_square(units: Units) -> Estimate | None:
    """Return √E[x²]. The uncertainty of √E[x²] is the uncertainty of E[x²] divided by 2·√E[x²]."""
    squares = mean(values**2 for values in units)
    if squares is None:
        return None
    root = math.sqrt(squares.value)
    return Estimate(root, squares.scaled(1 / (2 * root)).error if root else squares.error)


def percentile(values: Values, fraction: float) -> float | None:
    """Return a percentile by linear interpolation at fraction·(n − 1). None for fewer than 100 values."""
    return float(np.quantile(values, fraction)) if values.size >= _FEWEST_POSITIONS else None


def shares(kld: Values) -> list[float]:
    """Return the share of KL divergences in each sixth of a decade. Values outside `DECADES` count at the nearest end."""
    first, last = DECADES[0], DECADES[-1]
    edges = np.linspace(first, last, (last - first) * _PER_DECADE + 1)
    logarithms = np.log10(np.clip(kld, 10.0**first, 10.0**last))
    counts, _ = np.histogram(logarithms, edges)
    return [float(count) / max(kld.size, 1) for count in counts]


def ratio_error(many: Units, few: Units) -> float | None:
    """Return the relative standard error of mean(`many`) / mean(`few`). Both means are positive.

    The error is s·√(1/n + 1/m), as in Student's two-sample t-test. The mean of each unit is divided by the mean of
    its group; s² is the pooled variance of these ratios, n and m are the numbers of units. The formula assumes that
    `many` and `few` vary by the same share from unit to unit, so that `few` may be a single unit, from which no
    variance can be estimated.
    """
    first, second = unit_means(many), unit_means(few)
    if len(first) < FEWEST_WINDOWS:
        return None
    squares = sum(float(((part / part.mean() - 1) ** 2).sum()) for part in (first, second))
    return math.sqrt(squares / (len(first) + len(second) - 2) * (1 / len(first) + 1 / len(second)))


TOP = 10

Tops: TypeAlias = "NDArray[np.int64]"
"""The ids of the most likely tokens, most likely first: one row for each position."""


def top_of(rows: Rows) -> Tops:
    count = min(TOP, rows.shape[1])
    found = np.argpartition(rows, -count, axis=1)[:, -count:]
    order = np.argsort(-np.take_along_axis(rows, found, axis=1), axis=1)
    return np.take_along_axis(found, order, axis=1)


def _likely(row: Rows) -> Sequence[tuple[int, float]]:
    ids = top_of(row)[0].tolist()
    return tuple((token, float(row[0, token])) for token in ids)


def top_agreement(
    reference: Tops, candidate: Sequence[Sequence[paragone.Alternative]]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return whether both have the same top token, and the share of the reference's top tokens that the candidate's top has."""
    pairs = [
        (expected, [token.id for token in found])
        for expected, found in zip(reference.tolist(), candidate, strict=True)
    ]
    return (
        np.array([ids[:1] == expected[:1] for expected, ids in pairs]),
        np.array([len(set(ids) & set(expected)) / len(expected) for expected, ids in pairs]),
    )


WORST = 10


class WorstPlace(NamedTuple):
    """A position where a candidate is far from the reference, and the most likely tokens of both, with their ids and
    log-probabilities."""

    kld: float
    window: Window
    position: int
    """Index of the position among the scored positions of the window."""
    reference: Sequence[tuple[int, float]]
    candidate: Sequence[tuple[int, float]]


class Measured:
    """The values of an engine, and, if it is a candidate, its difference from the reference."""

    def __init__(self, engine: EngineTask) -> None:
        self.engine = engine
        self.name = engine.definition.name
        """The name of the engine's lane, if the engine belongs to a lane; else the engine's name."""
        self.size: int | None = None
        self.tokens = 0
        self.error: paragone.ParagoneError | None = None
        self.width = 0
        """Number of tokens of the vocabulary."""
        self.scores: list[Scores] = []
        """For each compared window, how the engine differs from the reference."""
        self.top: list[tuple[NDArray[Any], NDArray[Any]]] | None = None
        """For each window the `top_agreement`, if the engine reports only its most likely tokens."""
        self.reason = ""
        """Why the candidate is not compared over the whole vocabulary; empty if it is."""
        self.only_losses = False
        """Whether the candidate reports only the log-probabilities of given tokens."""
        self.window_losses: list[Values] = []
        """For each window, the log-loss at each position."""
        self.worst: list[WorstPlace] = []
        """The places with the largest KL divergences, the largest first."""
        self.units: Sequence[int] = ()
        """The unit of uncertainty of each window, in order; empty if each window is a unit."""

    def compare(self, parts: Sequence[Scores]) -> Scores:
        """Join the scores of a window's blocks, add them, and return them."""
        scores = Scores(*map(np.concatenate, zip(*parts, strict=True)))
        self.scores.append(scores)
        return scores

    def note_worst(self, window: Window, first: int, kld: Values, reference: Rows, candidate: Rows) -> None:
        """Keep the worst places. `first` is the position of the first row."""
        for at in np.argsort(-kld)[:WORST].tolist():
            if len(self.worst) == WORST and kld[at] <= self.worst[-1].kld:
                return
            tops = (_likely(rows[at : at + 1]) for rows in (reference, candidate))
            self.worst.append(WorstPlace(float(kld[at]), window, first + at, *tops))
            self.worst.sort(key=lambda place: -place.kld)
            del self.worst[WORST:]

    def by_unit(self, windows: Iterable[NDArray[Any]]) -> list[NDArray[Any]]:
        """Return the values of each unit from the values of each window, or of the windows measured so far."""
        return by_unit(zip(self.units or itertools.count(), windows, strict=False))

    @property
    def kld(self) -> list[Values]:
        return self.by_unit(scores.kld for scores in self.scores)

    @property
    def delta_p(self) -> list[Values]:
        return self.by_unit(scores.delta_p for scores in self.scores)

    @property
    def same_top(self) -> list[NDArray[Any]]:
        return self.by_unit(scores.same_top for scores in self.scores)

    @property
    def windows(self) -> int:
        """Number of measured windows, or of the conversations that the windows belong to."""
        return len(self.losses)

    @property
    def losses(self) -> list[Values]:
        return self.by_unit(self.window_losses)

    @property
    def perplexity(self) -> Estimate | None:
        return perplexity(self.losses)

    def bits_per_byte(self, size: int) -> Estimate | None:
        """Return the bits that the model needs for a byte of the text, whose UTF-8 has `size` bytes. It is the mean
        log-loss times the tokens per byte, and so is comparable between vocabularies."""
        loss = mean(self.losses)
        return None if loss is None else loss.scaled(self.tokens / size / math.log(2))

    @property
    def top_estimates(self) -> tuple[Estimate | None, Estimate | None]:
        """How often the top token is the same, and the mean share of the reference's top tokens that the candidate's
        top has."""
        same, common = zip(*self.top, strict=True) if self.top else ((), ())
        return mean(self.by_unit(same)), mean(self.by_unit(common))


_FEWEST = 11
"""Number of values below which llama-perplexity gives the uncertainty of a mean as 0."""


def mean_error(values: NDArray[Any]) -> float:
    """Return the error of a mean, √((E[x²] − E[x]²)/(n − 1)), which for a share is √(p·(1 − p)/(n − 1)). For the
    differences of two models' log-losses, this is the error of ln(PPL ratio), √(σq² + σp² − 2·c) with the covariance c."""
    return float(values.std()) / math.sqrt(values.size - 1) if values.size >= _FEWEST else 0.0


def independent_errors(measured: Measured) -> dict[str, paragone.Json]:
    """Return the errors by llama-perplexity's formulas, which assume independent positions, by name in JSON. The error
    of a root mean square is σ(x²)/(2·√E[x²]), where σ(x²) is the error of E[x²]. None if nothing was compared."""
    if not measured.scores:
        return dict.fromkeys(("mean_kld", "mean_dp", "rms_dp", "top1_agreement"))
    delta_p = flat(measured.delta_p)
    root = math.sqrt(float((delta_p**2).mean()))
    return {
        "mean_kld": mean_error(flat(measured.kld)),
        "mean_dp": mean_error(delta_p),
        "rms_dp": mean_error(delta_p**2) / (2 * root) if root else 0.0,
        "top1_agreement": mean_error(flat(measured.same_top)),
    }


def sample_text() -> str:
    """Return a short English text written for paragone, of several kinds: about five windows of 512 tokens."""
    return Path(__file__).with_name("sample.txt").read_text(encoding="utf-8")


SMALLEST = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A window of a text, the second half of which is scored; or a conversation up to an answer, which is scored."""

    ids: tuple[int, ...]
    """The tokens to compute: all but the last, with BOS in place of the first if the model adds a BOS token."""
    start: int
    """Index in `ids` of the first token whose successor is scored."""
    targets: Targets
    unit: int
    """The number of the window, or of the conversation."""


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
