"""Flaws in the likeliest tokens at the positions of a sequence."""

from dataclasses import replace

from polite_backend import PoliteBackend, PoliteEngine

from flawed_backends.found import found_by
from paragone import OpenEngine

RANKED = "top tokens are ranked"
FOLLOW = "top tokens follow the sequence"
ENDED = "top tokens can be ended"


@found_by(RANKED)
class CannotAndReports(PoliteBackend):
    capabilities = replace(PoliteBackend.capabilities, top_tokens=False)


@found_by(RANKED, FOLLOW, ENDED)
class PromisesTopTokens(PoliteBackend):
    class engine(PoliteEngine):
        top_tokens = OpenEngine.top_tokens


@found_by(RANKED)
class LikeliestLast(PoliteEngine):
    def ranked(self, row):
        return super().ranked(row)[3::-1]


@found_by(RANKED)
class LeastLikely(PoliteEngine):
    def ranked(self, row):
        return super().ranked(row)[-4:]


@found_by(RANKED)
class WithoutIds(PoliteEngine):
    def ranked(self, row):
        return tuple(replace(it, id=None) for it in super().ranked(row))


@found_by(FOLLOW)
class AlwaysAfterTheFirst(PoliteEngine):
    def seen(self, ids, end):
        return ids[:1]


@found_by(ENDED)
class IgnoresStopOfTopTokens(PoliteEngine):
    async def top_tokens(self, request):
        for end in range(request.start + 1, len(request.ids) + 1):
            await self.pause()
            yield self.ranked(self.likelihoods(request.ids[:end], 1))[: request.top]
