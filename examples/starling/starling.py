"""A test double of an inference library with callbacks, for which `paragone_starling` is a backend.

Its model is a text. Tokens are bytes; the logits after a byte depend on which bytes follow it in the text.
"""

import array
import heapq
import itertools
import math
import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

__version__ = "1.0"

BYTES = 256
_TOKEN_S = 2e-4
"""Least seconds for a token, so that what is stopped has not ended yet, also where the tests wait for the processor."""


class Token(NamedTuple):
    """A sampled token with its log-probability, and the most likely tokens with theirs."""

    id: int
    logprob: float
    top: list[tuple[int, float]]


class Model:
    """A text, and the bytes that follow each byte in it."""

    pieces: tuple[bytes, ...] = tuple(bytes([byte]) for byte in range(BYTES))

    def __init__(self, path: Path) -> None:
        text = path.read_bytes()
        if not text.isascii() or len(text) < 2:
            raise ValueError("it is not a text in ASCII")
        alone = Counter(text)
        after: defaultdict[int, Counter[int]] = defaultdict(Counter)
        for one, other in itertools.pairwise(text):
            after[one][other] += 1
        self._rows = [
            array.array(
                "f", (math.log(after[one][other] + alone[other] / 1e3 + 1e-6) for other in range(BYTES))
            )
            for one in range(BYTES)
        ]

    def tokenize(self, text: str) -> list[int]:
        return list(text.encode())

    def logits(self, ids: Sequence[int]) -> "array.array[float]":
        return self._rows[ids[-1]]

    def scored(self, before: Sequence[int], token: int, n_top: int) -> Token:
        time.sleep(_TOKEN_S)
        logits = self.logits(before)
        norm = math.log(sum(map(math.exp, logits)))
        likeliest = heapq.nlargest(n_top, range(BYTES), key=logits.__getitem__)
        return Token(token, logits[token] - norm, [(other, logits[other] - norm) for other in likeliest])

    def generate(
        self,
        ids: Sequence[int],
        callback: Callable[[Token], bool],
        *,
        max_tokens: int,
        n_top: int,
        n_threads: int,
        temperature: float,
        top_k: int,
        top_p: float,
        min_p: float,
        repeat_penalty: float,
        presence_penalty: float,
        frequency_penalty: float,
        mimicry: float,
        seed: int,
    ) -> None:
        """Call back with each token until the callback returns True or there are `max_tokens`."""
        assert n_threads > 0
        chooser = random.Random(seed)
        ids = list(ids)
        for _ in range(max_tokens):
            recent = Counter(ids[-64:])
            scores = {}
            for token, logit in enumerate(self.logits(ids)):
                score = mimicry * logit
                if recent[token]:
                    score = score / repeat_penalty if score > 0 else score * repeat_penalty
                    score -= presence_penalty + frequency_penalty * recent[token]
                scores[token] = score
            kept = sorted(scores, key=lambda token: -scores[token])[: top_k or BYTES]
            best = scores[kept[0]]
            weights = [math.exp(scores[token] - best) for token in kept]
            total, summed, end = sum(weights), 0.0, 0
            for weight in weights:
                if end and (summed >= top_p * total or weight < min_p):
                    break
                summed, end = summed + weight, end + 1
            kept = kept[: end if temperature else 1]
            sharp = [math.exp((scores[token] - best) / (temperature or 1)) for token in kept]
            (chosen,) = chooser.choices(kept, sharp)
            stop = callback(self.scored(ids, chosen, n_top))
            ids.append(chosen)
            if stop:
                return
