"""The starling engine: runs, scores and distributions."""

import codecs
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import starling

from paragone import (
    Alternative,
    Cancelled,
    ContextOverflow,
    DeviceMemory,
    DistributionsRequest,
    Engine,
    Event,
    Finish,
    FinishReason,
    InputError,
    LoadedModel,
    LogitsBlock,
    MemoryEstimate,
    OpenRequest,
    Probe,
    PromptProgress,
    Report,
    RunRequest,
    RunSettings,
    ScoreRequest,
    Token,
    TokenizedText,
    TokenizeRequest,
    Usage,
    Vocabulary,
    fingerprint,
)
from paragone.answer_text import AnswerText
from paragone.callbacks import Emit, stream
from paragone.chat_prompt import PromptMaker
from paragone.options import as_values
from paragone.shared_options import with_seed
from paragone.threads import physical_cores
from paragone_starling.options import StarlingLoad, StarlingSampling

Sampled = tuple[starling.Token, float]
"""What the library's callback is given, and when."""


class StarlingEngine(Engine[StarlingLoad, StarlingSampling]):
    """One starling model."""

    load_options = StarlingLoad
    sampling = StarlingSampling

    @classmethod
    def probe(cls) -> Probe:
        return Probe(usable=True, facts={"starling": starling.__version__})

    @classmethod
    def estimate(cls, request: OpenRequest, options: StarlingLoad) -> MemoryEstimate:
        path = Path(request.model)
        if not path.is_file():
            raise InputError(f"There is no file {path}.", hint="Check the path.")
        cpu = DeviceMemory(device="CPU", weights=path.stat().st_size, kv_cache=options.n_ctx, compute=1024)
        return MemoryEstimate(context=options.n_ctx, devices=(cpu,))

    def load(
        self, request: OpenRequest, options: StarlingLoad, report: Report, cancelled: Cancelled
    ) -> LoadedModel:
        path = Path(request.model)
        try:
            self.model = starling.Model(path)
        except (OSError, ValueError) as error:
            raise InputError(f"{path} cannot be loaded: {error}.", hint="Check the path.") from error
        self.options = options
        self.threads = options.n_threads or request.threads or physical_cores()
        # A model with a chat template: ChatTemplate(source, bos=…, eos=…, owner=path.name).
        self.prompts = PromptMaker(
            self.model.tokenize, None, bos=None, context=options.n_ctx, option="n_ctx", owner=path.name
        )
        return LoadedModel(name=path.stem, size=path.stat().st_size, context=options.n_ctx)

    def generate(
        self, request: RunRequest, sampling: StarlingSampling, cancelled: Cancelled
    ) -> Iterator[Event]:
        sampling = with_seed(sampling)
        prompt = self.prompts.make(request.messages, sampling)
        threads = self.options.n_threads or request.threads or self.threads
        yield RunSettings(
            seed=sampling.seed,
            sampling=as_values(sampling),
            prompt=prompt.text,
            prompt_ids=tuple(prompt.tokens) if request.prompt_ids else None,
            threads=threads,
        )
        length = len(prompt.tokens)
        yield PromptProgress(done=0, total=length, time=time.monotonic())
        limit = min(sampling.max_tokens or self.options.n_ctx, self.options.n_ctx - length)

        def call(emit: Emit[Sampled]) -> None:
            self.model.generate(
                prompt.tokens,
                lambda token: not emit((token, time.monotonic())),  # this library stops on True
                max_tokens=limit,
                n_top=request.logprobs or 0,
                n_threads=threads,
                temperature=sampling.temperature,
                top_k=sampling.top_k,
                top_p=sampling.top_p,
                min_p=sampling.min_p,
                repeat_penalty=sampling.repeat_penalty,
                presence_penalty=sampling.presence_penalty,
                frequency_penalty=sampling.frequency_penalty,
                mimicry=sampling.mimicry,
                seed=sampling.seed or 0,
            )

        text = AnswerText(sampling.stop, inside=prompt.inside)
        count = 0
        with closing(stream(call, cancelled=cancelled)) as sampled:
            for token, at in sampled:
                if not count:
                    yield PromptProgress(done=length, total=length, time=at)
                count += 1
                if request.logprobs is None:
                    yield from text.push(self.model.pieces[token.id], token.id, at)
                else:
                    top = self.alternatives(token)
                    yield from text.push(self.model.pieces[token.id], token.id, at, token.logprob, top)
                if text.stopped:
                    break
        yield from text.finish()
        reason: FinishReason = "stop" if text.stopped else "cancelled" if cancelled else "length"
        usage = Usage(prompt_tokens=length, cached_tokens=0, completion_tokens=count)
        yield Finish(reason=reason, usage=usage, time=time.monotonic())

    def tokenize(self, request: TokenizeRequest) -> TokenizedText:
        return self.prompts.tokenized(request, StarlingSampling())

    def score(self, request: ScoreRequest, cancelled: Cancelled) -> Iterator[Event]:
        ids, start = self.prompts.to_score(request.messages, request.text)
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        for at in range(start, len(ids)):
            if cancelled:
                break
            yield PromptProgress(done=at, total=len(ids) - 1, time=time.monotonic())
            token = self.model.scored(ids[:at], ids[at], request.top)
            piece = self.model.pieces[token.id]
            yield Token(
                text=decoder.decode(piece),
                id=token.id,
                logprob=token.logprob,
                top=self.alternatives(token),
                n_bytes=len(piece),
                time=time.monotonic(),
            )
        yield Finish(reason="cancelled" if cancelled else "stop", time=time.monotonic())

    def distributions(self, request: DistributionsRequest, cancelled: Cancelled) -> Iterator[LogitsBlock]:
        unknown = set(request.ids) - set(range(len(self.model.pieces)))
        if unknown:
            raise InputError(f"The vocabulary has no token {min(unknown)}.")
        if len(request.ids) > self.options.n_ctx:
            raise ContextOverflow(
                f"The sequence has {len(request.ids)} tokens, and the context holds {self.options.n_ctx}.",
                hint="Raise n_ctx.",
                tokens=len(request.ids),
                context=self.options.n_ctx,
            )
        for at in range(request.start, len(request.ids)):
            if cancelled:
                return
            row = self.model.logits(request.ids[: at + 1])  # an array.array("f") or a NumPy array
            data = memoryview(row).cast("B").cast("f")
            yield LogitsBlock(start=at, rows=1, vocab_size=len(row), data=data)

    def vocabulary(self) -> Vocabulary:
        return Vocabulary(size=len(self.model.pieces), fingerprint=fingerprint(self.model.pieces))

    def alternatives(self, token: starling.Token) -> tuple[Alternative, ...]:
        return tuple(
            Alternative(
                text=self.model.pieces[token_id].decode("utf-8", "replace"), id=token_id, logprob=logprob
            )
            for token_id, logprob in token.top
        )
