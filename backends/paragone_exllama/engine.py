"""The engines of ExLlamaV2 and ExLlamaV3: they open a model's folder, and compute answers, scores and distributions."""

from __future__ import annotations

import contextlib
import os
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pkgutil import resolve_name
from typing import Any

import paragone
from paragone import answer_text, chat_prompt, engine_events, shared_options
from paragone.options import as_values, build
from paragone_exllama import exllama_options, loading, model_folder, open_model
from paragone_exllama.probe import extension_folder, probe, release_lock

BROKEN = 70
"""The exit code of a worker whose GPU context is no longer usable (EX_SOFTWARE)."""

_FATAL_ERRORS = ("CUDA error", "CUBLAS_STATUS", "CUDNN_STATUS", "HIP error")
"""Texts of errors that make every later CUDA call in the same process fail."""


_SECONDS = 0.06
"""Largest duration of a chunk in seconds. A stop request at the start of a chunk takes effect within 100 ms."""

_REASONS: Mapping[str, paragone.FinishReason] = {"stop_token": "stop", "max_new_tokens": "length"}
"""The generator's reasons to end an answer, and their names in a Finish. AnswerText finds the stop sequences, because
the generator would also end the answer at a stop sequence in the thinking."""


def next_chunk(chunk: int, largest: int, tokens: int, seconds: float) -> int:
    """Return how many prompt tokens to process next: few enough to stop in time, many enough to be fast. Computing
    `tokens` tokens, in a chunk of at most `chunk`, has taken `seconds`. `largest` is the largest size."""
    if tokens < exllama_options.PAGE or seconds <= 0:
        return chunk
    # The size at most doubles, because the first chunk after a pause is not typical.
    fitting = min(int(tokens / seconds * _SECONDS), 2 * chunk, largest)
    return max(fitting // exllama_options.PAGE * exllama_options.PAGE, exllama_options.PAGE)


_ROWS = 32
"""Number of rows of logits converted to 32-bit floats in one step: 32 MiB for a vocabulary of 262,144 tokens."""


class ExLlamaV3Engine(paragone.Engine[exllama_options.ExLlamaLoadOptions, exllama_options.ExLlamaSampling]):
    load_options = exllama_options.ExLlamaLoadOptions
    sampling = exllama_options.ExLlamaSampling
    name = "exllamav3"
    title = "ExLlamaV3"
    formats = model_folder.V3_FORMATS
    adapter = "paragone_exllama.v3:V3"
    """The class that opens a model, as `module:class`; its module imports the library."""

    @classmethod
    def probe(cls) -> paragone.Probe:
        return probe(cls.name, cls.title)

    def load(
        self,
        request: paragone.OpenRequest,
        options: exllama_options.ExLlamaLoadOptions,
        report: paragone.Report,
        cancelled: paragone.Cancelled,
    ) -> paragone.LoadedModel:
        wanted = loading.check_request(request, options, self.formats, self.title)
        folder = wanted.model
        usable = self.probe()  # an import would fail with a less useful error
        if not usable.usable:
            raise paragone.EngineError(usable.reason, hint=usable.remedy)
        if cuda := usable.facts.get("CUDA of PyTorch"):
            release_lock(extension_folder(self.name, cuda))
        from paragone.chat_template import ChatTemplate

        files = model_folder.read_tokenizer_files(folder, options.chat_template)
        template = (
            ChatTemplate(files.template, bos=files.bos, eos=files.eos, owner=folder.name)
            if files.template is not None
            else None
        )
        weights = loading.weights_of(wanted)
        loading.prepare_process()
        with loading.translate_failures(self.title, wanted):
            model: open_model.ExLlamaModel = resolve_name(self.adapter)(
                wanted, options, files, *loading.progress_callbacks(wanted, report, cancelled)
            )
        report(1.0)
        self._model = model
        self._prompts = chat_prompt.PromptMaker(
            model.tokenize,
            template,
            bos=model.bos,
            context=model.capacity,
            option="max_seq_len",
            owner=folder.name,
        )
        drafter = wanted.draft.name if wanted.draft else "n-grams" if options.draft_ngram else ""
        return paragone.LoadedModel(
            name=folder.name,
            context=model.capacity,
            size=folder.size,
            quantization=folder.quantization,
            architecture=folder.architecture,
            cautions=tuple(self._cautions(options, folder.name, template=template is not None)),
            facts={
                "program": self.title,
                "origin": sys.prefix,
                "version": f"{model.facts[self.title]}, PyTorch {model.facts['PyTorch']}",
                **model.facts,
                "KV cache": options.cache_type,
                "drafts": f"{options.draft_tokens} tokens by {drafter}" if drafter else "none",
                "prompt slice": f"up to {model.largest_chunk} tokens",
            },
            weights=weights,
            bos=files.bos or None,
            eos=files.eos or None,
        )

    def _cautions(
        self, options: exllama_options.ExLlamaLoadOptions, owner: str, *, template: bool
    ) -> Iterator[paragone.Caution]:
        if self._model.facts.get("attention") == "unpaged":
            message = (
                "Without paged attention (flash-attn), only the latest conversation is kept in the cache."
            )
            yield paragone.Caution(code="unpaged", sentence=message)
        context, trained = self._model.capacity, self._model.trained
        scaled = isinstance(options, exllama_options.ExLlamaV2LoadOptions) and any(
            (options.rope_scale, options.rope_alpha, options.rope_yarn)
        )
        reduced = options.max_seq_len is None and context < trained - exllama_options.PAGE
        yield from engine_events.model_cautions(
            owner,
            template=template,
            context=context,
            trained=trained,
            reduced_by="the VRAM" if reduced else "",
            scaled=scaled,
        )

    def generate(
        self,
        request: paragone.RunRequest,
        sampling: exllama_options.ExLlamaSampling,
        cancelled: paragone.Cancelled,
    ) -> Iterator[paragone.Event]:
        """Answer a prompt. The first event has the active settings."""
        sampling = shared_options.with_seed(sampling, request.drawn_seed)
        self._check(request.ids)
        prompt = self._prompts.make(request.messages, sampling, text=request.text, ids=request.ids)
        yield paragone.RunSettings(
            seed=sampling.seed,
            sampling=as_values(sampling),
            prompt=prompt.text or None,
            prompt_ids=tuple(prompt.tokens) if request.prompt_ids else None,
        )
        with self._failures():
            if request.cold:
                self._model.forget()
            text = answer_text.AnswerText(sampling.stop, inside=prompt.inside)
            yield from self._answer(request, sampling, prompt.tokens, text, cancelled)

    def _answer(
        self,
        request: paragone.RunRequest,
        sampling: exllama_options.ExLlamaSampling,
        tokens: list[int],
        text: answer_text.AnswerText,
        cancelled: paragone.Cancelled,
    ) -> Iterator[paragone.Event]:
        model = self._model
        room = model.capacity - len(tokens)
        limit = min(sampling.max_tokens or room, room)
        adapts_chunk = model.adapts_chunk and not request.cold
        started = time.monotonic()
        first = last = 0.0
        reason: paragone.FinishReason | None = None
        count = done = 0
        job = model.start(tokens, sampling, limit=limit, logits=request.logprobs is not None)
        try:
            yield paragone.PromptProgress(done=0, total=len(tokens), time=started)
            while reason is None:
                if cancelled:
                    reason = "cancelled"
                    break
                if not first:
                    model.generator.max_chunk_size = model.chunk if adapts_chunk else model.first_chunk
                before = time.monotonic()
                for result in model.run_iteration():
                    if result["stage"] == "prefill":
                        model.wait()  # the library queues work much faster than the GPU computes
                        now = time.monotonic()
                        cached = model.cached_tokens_of(job)
                        if adapts_chunk:
                            computed = result["curr_progress"] - max(done, cached)
                            model.chunk = next_chunk(model.chunk, model.largest_chunk, computed, now - before)
                        done = result["curr_progress"]
                        yield paragone.PromptProgress(done=done, total=len(tokens), cached=cached, time=now)
                    elif result["stage"] == "error":
                        raise result["error"]
                    elif result["stage"] == "streaming":
                        now = time.monotonic()
                        if not first:
                            yield paragone.PromptProgress(
                                done=len(tokens),
                                total=len(tokens),
                                cached=model.cached_tokens_of(job),
                                time=now,
                            )
                        for token, piece in _pieces(model, result):
                            first, last, count = first or now, now, count + 1
                            logprob: float | None = None
                            top: tuple[paragone.Alternative, ...] = ()
                            if request.logprobs is not None:
                                logprob, top = model.log_probability(job.kept.pop(0), token, request.logprobs)
                            yield from text.push(piece, token, now, logprob, top)
                            if text.stopped:
                                break
                        if text.stopped:
                            reason = "stop"
                        elif result["eos"]:
                            reason = _REASONS[result["eos_reason"]]
                        if reason is not None:
                            break
            yield from text.finish()
        finally:
            model.generator.cancel(job)
        accepted = job.accepted_draft_tokens if model.drafts else None
        usage = paragone.Usage(
            prompt_tokens=len(tokens),
            cached_tokens=model.cached_tokens_of(job),
            completion_tokens=count,
            drafted_tokens=None if accepted is None else accepted + job.rejected_draft_tokens,
            accepted_tokens=accepted,
        )
        full = None if limit == sampling.max_tokens else model.capacity
        yield from engine_events.answer_end(reason, usage, full=full, started=started, first=first, last=last)

    def tokenize(self, request: paragone.TokenizeRequest) -> paragone.TokenizedText:
        if request.ids:
            self._check(request.ids)
            return paragone.TokenizedText(text=self._model.written(request.ids), ids=request.ids)
        return self._prompts.tokenized(request, build(self.sampling, request.sampling, owner=self.title))

    def score(
        self, request: paragone.ScoreRequest, cancelled: paragone.Cancelled
    ) -> Iterator[paragone.Event]:
        model = self._model
        if request.ids:
            self._check(request.ids)
            self._prompts.check_length(request.ids)
            tokens, start = list(request.ids), 0
        else:
            tokens, start = self._prompts.to_score(request.messages, request.text)

        def batches() -> engine_events.Batches[open_model.Logits]:
            yield 0, ()
            with contextlib.closing(
                model.compute_logits(tokens[:-1], exllama_options.OUTPUTS, cancelled)
            ) as chunks:
                for at, logits in chunks:
                    yield at + len(logits), logits[max(start - 1 - at, 0) :]

        with self._failures():
            yield from engine_events.score(
                tokens,
                start,
                batches(),
                piece=model.piece,
                log_probability=lambda row, token: model.log_probability(row, token, request.top),
                cancelled=cancelled,
                exact=model.exact,
            )

    def distributions(
        self, request: paragone.DistributionsRequest, cancelled: paragone.Cancelled
    ) -> Iterator[paragone.LogitsBlock]:
        self._prompts.check_distributions(request, self._model.vocab_size)
        chunk = min(request.batch or exllama_options.OUTPUTS, exllama_options.OUTPUTS)
        with (
            self._failures(),
            contextlib.closing(self._model.compute_logits(request.ids, chunk, cancelled)) as chunks,
        ):
            for at, logits in chunks:
                for row in range(max(request.start - at, 0), len(logits), _ROWS):
                    if cancelled:
                        return
                    # Convert the rows to 32-bit floats in CPU memory, without the columns that pad the model's head.
                    rows = logits[row : row + _ROWS, : self._model.vocab_size].float().cpu().contiguous()
                    yield paragone.LogitsBlock(
                        start=at + row,
                        rows=len(rows),
                        vocab_size=self._model.vocab_size,
                        data=memoryview(rows.numpy()),
                    )

    def vocabulary(self) -> paragone.Vocabulary:
        return self._model.vocabulary

    @classmethod
    def estimate(
        cls, request: paragone.OpenRequest, options: exllama_options.ExLlamaLoadOptions
    ) -> paragone.MemoryEstimate:
        return loading.estimate(loading.check_request(request, options, cls.formats, cls.title))

    def _check(self, ids: Sequence[int]) -> None:
        size = self._model.vocab_size
        if (wrong := next((token for token in ids if not 0 <= token < size), None)) is not None:
            raise paragone.InputError(f"There is no token {wrong}: the vocabulary has {size:,}.")

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        """Convert exceptions that the library raises while it computes to errors for the user, and replace the
        generator. Ends this process if the GPU context is no longer usable."""
        try:
            yield
        except paragone.ParagoneError:
            raise
        except Exception as error:
            traceback.print_exception(error)
            lines = str(error).strip().splitlines()
            reason = lines[0][:300].rstrip(".") if lines else "no reason given"
            full = loading.is_out_of_memory(error)
            fatal = not full and any(sign in str(error) for sign in _FATAL_ERRORS)
            if not fatal:
                try:
                    self._model.rebuild()
                except Exception:  # noqa: BLE001 (whatever the error is, this process is no longer usable)
                    traceback.print_exc()
                    fatal = True
            if fatal:
                sys.stderr.write(f"{self.title} failed and cannot recover: {reason}\n")
                sys.stderr.flush()
                os._exit(BROKEN)
            if full:
                raise paragone.EngineError(
                    "The GPU ran out of memory in the middle of the answer.",
                    hint="Lower chunk_size or max_seq_len, or set cache_type to q8, q6 or q4.",
                ) from error
            raise paragone.EngineError(
                f"{self.title} failed in the middle of the answer: {reason}.", hint="Send the prompt again."
            ) from error


class ExLlamaV2Engine(ExLlamaV3Engine):
    load_options = exllama_options.ExLlamaV2LoadOptions
    name = "exllamav2"
    title = "ExLlamaV2"
    formats = model_folder.V2_FORMATS
    adapter = "paragone_exllama.v2:V2"


def _pieces(model: open_model.ExLlamaModel, result: Mapping[str, Any]) -> list[tuple[int, str]]:
    """Return the tokens of one result of the generator. If a character has several tokens, its last token has the text."""
    tokens = _ids(result)
    text = str(result.get("text", ""))
    if not tokens and result["eos"]:
        # At the end of the answer, the generator holds back the tokens of an incomplete character.
        tokens, text = _ids(result.get("held", {})), ""
    if result["eos"] and result["eos_reason"] == "stop_token":
        tokens = tokens[:-1]
    elif result["eos"]:
        text = text.rstrip("\ufffd")  # a character cut by the token limit
    # A result ends as soon as its characters are complete, so only its last token can be a thinking tag.
    text += "".join(model.visible.get(token, "") for token in tokens)
    return [(token, text if at == len(tokens) else "") for at, token in enumerate(tokens, 1)]


def _ids(result: Mapping[str, Any]) -> list[int]:
    tokens = result.get("token_ids")
    return [] if tokens is None else list(tokens[0].tolist())
