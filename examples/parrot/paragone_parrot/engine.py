"""The parrot's engine. Only the worker imports this module, so import your library here."""

import dataclasses
import random
import secrets
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from paragone import (
    Cancelled,
    Engine,
    Event,
    Finish,
    FinishReason,
    InputError,
    LoadedModel,
    Message,
    OpenRequest,
    Probe,
    PromptProgress,
    Report,
    RunRequest,
    RunSettings,
    Token,
    TokenizedText,
    TokenizeRequest,
    Usage,
)
from paragone.options import as_values
from paragone_parrot.options import ParrotLoad, ParrotSampling


class ParrotEngine(Engine[ParrotLoad, ParrotSampling]):
    """One parrot. It reads bytes and answers in words."""

    load_options = ParrotLoad
    sampling = ParrotSampling

    @classmethod
    def probe(cls) -> Probe:
        return Probe(usable=True, facts={"version": "1.0"})

    def load(
        self, request: OpenRequest, options: ParrotLoad, report: Report, cancelled: Cancelled
    ) -> LoadedModel:
        path = Path(request.model)
        try:
            self.words = path.read_text(options.encoding).split()
        except (OSError, ValueError, LookupError) as error:
            raise InputError(
                f"{path} cannot be read: {error}.", hint="Check the path and the encoding."
            ) from error
        if not self.words:
            raise InputError(f"{path} contains no words.")
        report(1.0)
        return LoadedModel(name=path.stem, size=path.stat().st_size)

    def generate(
        self, request: RunRequest, sampling: ParrotSampling, cancelled: Cancelled
    ) -> Iterator[Event]:
        prompt = rendered(request.messages)
        seed = secrets.randbelow(2**32) if sampling.seed is None else sampling.seed
        yield RunSettings(
            seed=seed,
            sampling=as_values(dataclasses.replace(sampling, seed=seed)),
            prompt=prompt,
            prompt_ids=tuple(prompt.encode()) if request.prompt_ids else None,
            threads=1,
        )
        length = len(prompt.encode())
        yield PromptProgress(done=length, total=length, time=time.monotonic())
        chooser = random.Random(seed)
        reason: FinishReason = "length"
        count = 0
        while count < sampling.max_tokens:
            if cancelled:
                reason = "cancelled"
                break
            yield Token(text=chooser.choice(self.words) + " ", time=time.monotonic())
            count += 1
            time.sleep(1 / sampling.words_per_s)
        usage = Usage(prompt_tokens=length, cached_tokens=0, completion_tokens=count)
        yield Finish(reason=reason, usage=usage, time=time.monotonic())

    def tokenize(self, request: TokenizeRequest) -> TokenizedText:
        text = rendered(request.messages) if request.messages else request.text
        return TokenizedText(text=text, ids=tuple(text.encode()))


def rendered(messages: Sequence[Message]) -> str:
    """Return the prompt. A parrot's chat template is simple."""
    return "".join(f"{message.role}: {message.text}\n" for message in messages)
