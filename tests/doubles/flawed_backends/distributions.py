"""Flaws in distributions and vocabularies."""

import math
import secrets
from array import array
from dataclasses import replace

from polite_backend import PoliteBackend, PoliteEngine

from flawed_backends.found import found_by
from paragone import OpenEngine, Vocabulary

WHOLE = "distributions are complete"
AGREE = "distributions agree with the score"
SCORE = "a score agrees with the run"
ENDED = "distributions can be stopped"
REFUSED = "invalid sequences are refused"
VOCABULARY = "the vocabulary stays the same"


@found_by(WHOLE)
class CannotAndDoes(PoliteBackend):
    capabilities = replace(PoliteBackend.capabilities, distributions=False)


@found_by(WHOLE, AGREE, SCORE, ENDED, REFUSED, VOCABULARY)
class PromisesDistributions(PoliteBackend):
    class engine(PoliteEngine):
        distributions = OpenEngine.distributions
        vocabulary = OpenEngine.vocabulary


@found_by(WHOLE)
class WrongPlace(PoliteEngine):
    def place(self, at):
        return 0


@found_by(WHOLE)
class LeavesOutTheLastRow(PoliteEngine):
    def distributions(self, request):
        return super().distributions(replace(request, ids=request.ids[:-1]))


@found_by(WHOLE)
class NotFinite(PoliteEngine):
    def row(self, before, batch):
        return [math.inf, *super().row(before, batch)[1:]]


@found_by(WHOLE)
class NarrowRows(PoliteEngine):
    async def distributions(self, request):
        async for block in super().distributions(request):
            width = block.vocab_size - 1
            rows = [
                block.data[at * (width + 1) : at * (width + 1) + width].tolist() for at in range(block.rows)
            ]
            data = memoryview(array("f", [number for row in rows for number in row])).cast("B").cast("f")
            yield replace(block, vocab_size=width, data=data)


@found_by(AGREE)
class ShiftedRows(PoliteEngine):
    def row(self, before, batch):
        return super().row(before[:-1], batch)


@found_by(AGREE)
class RowsOfATemperature(PoliteEngine):
    def row(self, before, batch):
        return [logit / 0.8 for logit in super().row(before, batch)]


@found_by(ENDED)
class IgnoresStopOfDistributions(PoliteEngine):
    async def distributions(self, request):
        async for block in super().distributions(request):
            yield block
            self.stopping = False


@found_by(REFUSED)
class TakesAnyToken(PoliteEngine):
    def check_sequence(self, ids):
        super().check_sequence([token % 64 for token in ids])


@found_by(REFUSED)
class TakesAnyLength(PoliteEngine):
    def check_sequence(self, ids):
        super().check_sequence(ids[:8])


@found_by(VOCABULARY)
class NewFingerprintEachTime(PoliteEngine):
    async def vocabulary(self):
        return replace(await super().vocabulary(), fingerprint=secrets.token_hex(32))


@found_by(WHOLE)
class AnotherVocabulary(PoliteEngine):
    async def vocabulary(self):
        return Vocabulary(size=65, fingerprint="0" * 64)
