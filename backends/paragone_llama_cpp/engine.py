"""The engine: opens a model, describes it, and computes answers, scores, distributions and embeddings."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Literal, cast

import paragone
from paragone import answer_text, chat_prompt, engine_events, gguf, shared_options
from paragone.options import as_values, build
from paragone_llama_cpp import c_api, library, llama_cpp_options, samplers, self_test
from paragone_llama_cpp.context import Context
from paragone_llama_cpp.estimate import estimate
from paragone_llama_cpp.library import features, instructions, np, other_build
from paragone_llama_cpp.model import OUTPUTS, OpenModel, open_model

if TYPE_CHECKING:
    from numpy.typing import NDArray


def facts_of(model: OpenModel) -> dict[str, str]:
    found, options = library.facts(), model.options
    lora = "none"
    if options.lora is not None:
        lora = f"{PurePath(options.lora).name}, strength {options.lora_scale:g}"
    commit = (
        c_api.lib.ggml_commit().decode().removesuffix("-dirty")
    )  # llama-server does not report this suffix
    facts = {
        "program": "llama.cpp",
        "origin": str(library.load()),
        "version": found["llama.cpp"],
        "instructions": ", ".join(features(found["build"])),
        "build": found["build"],
        "devices": found["devices"],
        "GPU": found["GPU"],
        # A library that was built outside a git repository reports no commit.
        **({} if commit in ("", "unknown") else {"commit": commit}),
        "parameters": str(c_api.lib.llama_model_n_params(model.pointer)),
        "LoRA adapter": lora,
        "other samplers": "none",
        "layers on a GPU": model.on_gpu,
        "K cache": options.type_k,
        "V cache": options.type_v,
        "flash attention": model.flash_attn,
        "threads": str(model.threads),
        "batch size": str(model.context.n_batch),
    }
    if model.template is not None:
        facts["chat template"] = model.template.source
    return facts


def cautions(model: OpenModel, size: int) -> Iterator[paragone.Caution]:
    options = model.options
    trained = c_api.lib.llama_model_n_ctx_train(model.pointer)
    yield from engine_events.model_cautions(
        model.path.name,
        template=model.template is not None,
        context=size,
        trained=trained,
        reduced_by="memory" if options.n_ctx is None and size < trained else "",
        scaled=options.rope_scaling is not None or options.rope_freq_scale is not None,
    )
    if options.n_gpu_layers != 0 and not library.supports_gpu_offload():
        if options.n_gpu_layers or options.tensor_split or options.main_gpu is not None:
            message = "The options request a GPU, but this build of llama.cpp cannot use one on this machine."
            yield paragone.Caution(code="no-gpu", sentence=message)
        elif library.has_nvidia_gpu():
            message = "This machine has an NVIDIA GPU, but this build of llama.cpp is for the CPU only."
            yield paragone.Caution(code="no-gpu", sentence=message)


class LlamaCppEngine(
    paragone.Engine[llama_cpp_options.LlamaCppLoadOptions, llama_cpp_options.LlamaCppSampling]
):
    load_options = llama_cpp_options.LlamaCppLoadOptions
    sampling = llama_cpp_options.LlamaCppSampling

    @classmethod
    def probe(cls) -> paragone.Probe:
        """Return the library's properties, the advantages of another build, and the result of the self-test."""
        build, found = library.load(), library.facts()
        used = instructions(found["build"])
        facts = {
            **found,
            "library": f"{found['library']}; in use",
            "instructions": ", ".join(used),
            "another build": other_build(build, used),
        }
        try:
            self_test.check_computation()
        except OSError as error:
            return paragone.Probe(
                usable=True, facts={**facts, "self-test": f"skipped: {error.strerror or error}"}
            )
        except paragone.EngineError as error:
            return paragone.Probe(usable=False, reason=error.message, remedy=error.hint, facts=facts)
        return paragone.Probe(usable=True, facts={**facts, "self-test": "passed"})

    @classmethod
    def estimate(
        cls, request: paragone.OpenRequest, options: llama_cpp_options.LlamaCppLoadOptions
    ) -> paragone.MemoryEstimate:
        return estimate(request, options)

    def load(
        self,
        request: paragone.OpenRequest,
        options: llama_cpp_options.LlamaCppLoadOptions,
        report: paragone.Report,
        cancelled: paragone.Cancelled,
    ) -> paragone.LoadedModel:
        lora = [] if options.lora is None else [options.lora]
        weights = paragone.WeightsFile.of_all([*gguf.parts(Path(request.model)), *lora])
        self._model = model = open_model(request, options, report, cancelled)
        model.open_context()
        context, vocab, owner = model.context, model.vocab, model.path.name
        self._own_threads = model.threads
        self._prompts = chat_prompt.PromptMaker(
            vocab.tokenize,
            model.template,
            bos=vocab.bos if vocab.adds_bos else None,
            context=context.size,
            option="n_ctx",
            owner=owner,
        )
        with context.aborted_by(cancelled):
            if not context.warm_up(vocab.bos):
                raise paragone.EngineError(f"Loading {owner} was cancelled.")
        return paragone.LoadedModel(
            name=model.header.name or model.path.stem,
            context=context.size,
            size=c_api.lib.llama_model_size(model.pointer),
            quantization=model.header.quantization,
            architecture=model.header.architecture,
            cautions=tuple(cautions(model, context.size)),
            facts=facts_of(model),
            weights=weights,
            bos=vocab.text(vocab.bos) or None,
            eos=vocab.text(vocab.eos) or None,
        )

    def generate(
        self,
        request: paragone.RunRequest,
        sampling: llama_cpp_options.LlamaCppSampling,
        cancelled: paragone.Cancelled,
    ) -> Iterator[paragone.Event]:
        self._model.close_extra()  # frees memory for other engines
        self._model.vocab.check(request.ids)
        prompt = self._prompts.make(request.messages, sampling, text=request.text, ids=request.ids)
        text = answer_text.AnswerText(sampling.stop, inside=prompt.inside)
        sampling = shared_options.with_seed(sampling, request.drawn_seed)
        with samplers.sampling(sampling, self._model.vocab, prompt.tokens, text) as pick:
            self._share_cores(request.threads)
            yield paragone.RunSettings(
                seed=sampling.seed,
                sampling=as_values(sampling),
                prompt=prompt.text or None,
                prompt_ids=tuple(prompt.tokens) if request.prompt_ids else None,
                threads=self._model.threads,
            )
            yield from self._answer(request, sampling, prompt.tokens, text, pick, cancelled)

    def _answer(
        self,
        request: paragone.RunRequest,
        sampling: llama_cpp_options.LlamaCppSampling,
        prompt: list[int],
        text: answer_text.AnswerText,
        pick: samplers.Pick,
        cancelled: paragone.Cancelled,
    ) -> Iterator[paragone.Event]:
        context, vocab = self._model.context, self._model.vocab
        room = context.size - len(prompt)
        limit = min(sampling.max_tokens or room, room)
        budget = shared_options.thinking_choice(sampling.thinking).budget
        count = thought = 0
        first = last = 0.0
        reason: paragone.FinishReason = "cancelled"
        ending = deque[int]()
        """Tokens that end the thinking, used in place of the tokens that the model would choose."""

        started = time.monotonic()
        with context.aborted_by(cancelled):
            done = cached = context.keep(prompt, cold=request.cold)
            while True:
                yield paragone.PromptProgress(
                    done=done, total=len(prompt), cached=cached, time=time.monotonic()
                )
                part = prompt[done : done + context.n_batch]
                going = not part or (not cancelled and context.feed(part))
                if not part or not going:
                    break
                done += len(part)
            while going:
                token = ending.popleft() if ending else pick(context)
                now = time.monotonic()
                if vocab.ends(token) and not sampling.ignore_eos:
                    reason = "stop"
                    break
                first, last, count = first or now, now, count + 1
                logprob: float | None = None
                top: tuple[paragone.Alternative, ...] = ()
                if request.logprobs is not None:
                    logprob, top = vocab.log_probability(context.logits(), token, request.logprobs)
                thought += text.thinking
                yield from text.push(vocab.piece(token), token, now, logprob, top)
                if text.thinking and thought == budget:
                    ending.extend(vocab.tokenize(f"\n{text.end_tag}"))
                if text.stopped:
                    reason = "stop"
                    break
                if count == limit:
                    reason = "length"
                    break
                going = not cancelled and context.decode(token)
            yield from text.finish()
        usage = paragone.Usage(prompt_tokens=len(prompt), cached_tokens=cached, completion_tokens=count)
        full = None if limit == sampling.max_tokens else context.size
        yield from engine_events.answer_end(reason, usage, full=full, started=started, first=first, last=last)

    def tokenize(self, request: paragone.TokenizeRequest) -> paragone.TokenizedText:
        if request.ids:
            vocab = self._model.vocab
            vocab.check(request.ids)
            written = b"".join(map(vocab.written, request.ids))
            return paragone.TokenizedText(text=written.decode("utf-8", "replace"), ids=request.ids)
        return self._prompts.tokenized(request, build(llama_cpp_options.LlamaCppSampling, request.sampling))

    def score(
        self, request: paragone.ScoreRequest, cancelled: paragone.Cancelled
    ) -> Iterator[paragone.Event]:
        if request.ids:
            self._model.vocab.check(request.ids)
            self._prompts.check_length(request.ids)
            tokens, start = list(request.ids), 0
        else:
            tokens, start = self._prompts.to_score(request.messages, request.text)
        vocab = self._model.vocab
        return engine_events.score(
            tokens,
            start,
            self._logits(tokens, max(start, 1), cancelled),
            piece=vocab.piece,
            log_probability=lambda row, token: vocab.log_probability(row, token, request.top),
            cancelled=cancelled,
        )

    def _logits(
        self, tokens: list[int], start: int, cancelled: paragone.Cancelled
    ) -> engine_events.Batches[NDArray[np.float32]]:
        context, total = self._model.context, len(tokens) - 1
        with context.aborted_by(cancelled):
            done = context.keep(tokens[:start])
            yield done, ()
            while done < total:
                scoring = done >= start - 1
                end = min(done + OUTPUTS, total) if scoring else start - 1
                part = tokens[done : min(end, done + context.n_batch)]
                if cancelled or not context.feed(part, outputs=len(part) if scoring else 0):
                    return
                done += len(part)
                yield done, context.all_logits(len(part)) if scoring else ()

    def distributions(
        self, request: paragone.DistributionsRequest, cancelled: paragone.Cancelled
    ) -> Iterator[paragone.LogitsBlock]:
        self._prompts.check_distributions(request, self._model.vocab.size)
        ids, start = request.ids, request.start
        if start >= len(ids):
            return
        model = self._model
        batch = min(request.batch or model.context.n_batch, len(ids))
        if _most_rows(len(ids), start, batch) > model.most_logits:
            batch = model.most_logits
        context = model.extra_context(len(ids), batch=batch, outputs=_most_rows(len(ids), start, batch))
        with context.aborted_by(cancelled):
            for at in range(0, len(ids), batch):
                part = ids[at : at + batch]
                rows = max(0, at + len(part) - max(at, start))
                if cancelled or not context.feed(part, outputs=rows):
                    return
                if rows:
                    yield paragone.LogitsBlock(
                        start=at + len(part) - rows,
                        rows=rows,
                        vocab_size=model.vocab.size,
                        data=cast("memoryview[float]", context.all_logits(rows).data),
                    )

    def embed(self, request: paragone.EmbedRequest, cancelled: paragone.Cancelled) -> paragone.Embeddings:
        for tokens in request.ids:
            self._model.vocab.check(tokens)
        end = [self._model.vocab.eos] if self._model.vocab.adds_eos else []
        sequences = list(request.ids) or [(*self._prompts.tokenize(text), *end) for text in request.texts]
        for tokens in sequences:
            self._prompts.check_length(tokens)
        pooling = pooling_of(self._model.header)
        if pooling is None:
            raise paragone.InputError("This model ranks texts: it has no embeddings.")
        if not all(sequences):
            raise paragone.InputError("A text without tokens has no embedding.")
        # All tokens are outputs, so that llama.cpp keeps the hidden states of all tokens. It also computes their logits.
        batch = min(self._model.context.n_batch, self._model.most_logits)
        longest = max(map(len, sequences), default=1)
        context = self._model.extra_context(longest, batch=batch, outputs=batch, embeddings=True)
        with context.aborted_by(cancelled):
            vectors = [_vector(context, pooling, tokens, cancelled) for tokens in sequences]
        return paragone.Embeddings(vectors=tuple(vectors), prompt_tokens=sum(map(len, sequences)))

    def vocabulary(self) -> paragone.Vocabulary:
        return self._model.vocab.described

    def close(self) -> None:
        self._model.close()

    def _share_cores(self, threads: int | None) -> None:
        wanted = self._model.options.n_threads or threads or self._own_threads
        if wanted != self._model.threads:
            c_api.lib.llama_set_n_threads(self._model.context.pointer, wanted, wanted)
            self._model.threads = wanted


def _most_rows(length: int, start: int, batch: int) -> int:
    """Return the largest number of positions whose logits one batch must return."""
    return max(min(at + batch, length) - max(at, start) for at in range(0, length, batch))


Pooling = Literal["mean", "first", "last"]
"""The vector of a text: the mean of the hidden states, or the state after the first or the last token."""

_POOLINGS: dict[object, Pooling] = {1: "mean", 2: "first", 3: "last"}
"""The kinds of pooling in a GGUF file (llama_pooling_type). 0 is none."""
_RANK = 4


def pooling_of(header: gguf.Header) -> Pooling | None:
    """Return the pooling that a model's file names; the mean if the file names none; None for a model that ranks texts."""
    named = header.values.get(f"{header.architecture}.pooling_type")
    return None if named == _RANK else _POOLINGS.get(named, "mean")


def _vector(
    context: Context, pooling: Pooling, tokens: Sequence[int], cancelled: paragone.Cancelled
) -> tuple[float, ...]:
    context.trim(0)
    pooled: NDArray[np.float64] | None = None
    for at in range(0, len(tokens), context.n_batch):
        part = tokens[at : at + context.n_batch]
        if cancelled or not context.feed(part, outputs=len(part)):
            raise paragone.EngineError("The computation of embeddings was stopped.")
        states = context.hidden_states(len(part))
        if pooling == "mean":
            total = states.sum(axis=0, dtype=np.float64)
            pooled = total if pooled is None else pooled + total
        elif pooling == "last" or pooled is None:
            pooled = states[-1 if pooling == "last" else 0].astype(np.float64)
    assert pooled is not None
    # The sum and the mean have the same direction, so the vector of length 1 is the same.
    unit = pooled / (np.linalg.norm(pooled) or 1.0)
    return tuple(unit.astype(np.float32).tolist())
