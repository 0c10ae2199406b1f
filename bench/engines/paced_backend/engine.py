"""The engine of the paced backend: sends a fixed text at a fixed rate."""

import time
from collections.abc import Iterator

from paced_backend.options import PacedSampling
from paced_backend.text import OTHER_TOKENS, TOKENS
from paragone import (
    Cancelled,
    Engine,
    Event,
    Finish,
    LoadedModel,
    OpenRequest,
    Options,
    Probe,
    PromptProgress,
    Report,
    RunRequest,
    Timings,
    Token,
    Usage,
)


class PacedEngine(Engine[Options, PacedSampling]):
    load_options = Options
    sampling = PacedSampling

    @classmethod
    def probe(cls) -> Probe:
        return Probe(usable=True)

    def load(
        self, request: OpenRequest, options: Options, report: Report, cancelled: Cancelled
    ) -> LoadedModel:
        self.tokens = OTHER_TOKENS if request.model == "other" else TOKENS
        return LoadedModel(name=request.model, context=8192)

    def generate(self, request: RunRequest, sampling: PacedSampling, cancelled: Cancelled) -> Iterator[Event]:
        start = time.monotonic()
        yield PromptProgress(done=100, total=100, time=start)
        done = 0
        while done < sampling.max_tokens and not cancelled:
            time.sleep(max(0.0, start + (done + 1) / sampling.rate - time.monotonic()))
            yield Token(text=self.tokens[done % len(self.tokens)], id=done, time=time.monotonic())
            done += 1
        now = time.monotonic()
        yield Finish(
            reason="cancelled" if cancelled else "stop",
            usage=Usage(prompt_tokens=100, cached_tokens=0, completion_tokens=done),
            timings=Timings(decode_s=now - start),
            time=now,
        )
