"""The facts of an open model, under their standard names, and the cautions that apply to each of its runs."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePath

import paragone
from paragone import answer_text, chat_prompt, engine_events, gguf, shared_options
from paragone.options import as_values, build
from paragone_llama_cpp import c_api, context, library, llama_cpp_options, samplers, self_test
from paragone_llama_cpp.decoding import ExtraContext, distributions, embed, pooling_of, run, score
from paragone_llama_cpp.estimate import estimate
from paragone_llama_cpp.library import features, instructions, other_build
from paragone_llama_cpp.model import OUTPUTS, OpenModel, apply_lora, load_lora, make_context, open_model


def facts_of(model: OpenModel, *, flash_attn: str, n_batch: int, threads: int) -> dict[str, str]:
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
        "flash attention": flash_attn,
        "threads": str(threads),
        "batch size": str(n_batch),
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
    if options.n_gpu_layers != 0 and not library.offloads():
        if options.n_gpu_layers or options.tensor_split or options.main_gpu is not None:
            sentence = (
                "The options request a GPU, but this build of llama.cpp cannot use one on this machine."
            )
            yield paragone.Caution(code="no-gpu", sentence=sentence)
        elif library.has_nvidia_gpu():
            sentence = "This machine has an NVIDIA GPU, but this build of llama.cpp is for the CPU only."
            yield paragone.Caution(code="no-gpu", sentence=sentence)


_SHORTEST = 512
"""Smallest useful context in tokens. If even this context does not fit in memory, opening the model fails."""


class LlamaCppEngine(
    paragone.Engine[llama_cpp_options.LlamaCppLoadOptions, llama_cpp_options.LlamaCppSampling]
):
    load_options = llama_cpp_options.LlamaCppLoadOptions
    sampling = llama_cpp_options.LlamaCppSampling

    @classmethod
    def probe(cls) -> paragone.Probe:
        """Return the library's properties, what another build would add, and the result of the self-test."""
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
            return paragone.Probe(usable=False, reason=error.sentence, remedy=error.hint, facts=facts)
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
        weights = _weights(request, options)
        self._model = model = open_model(request, options, report, cancelled)
        self._vocab = model.vocab
        self._threads = model.threads
        self._lora = load_lora(model.pointer, model.options)
        self._context, flash_attn = self._make_context()
        owner = model.path.name
        self._prompts = chat_prompt.PromptMaker(
            self._vocab.tokenize,
            model.template,
            bos=self._vocab.bos if self._vocab.adds_bos else None,
            context=self._context.size,
            option="n_ctx",
            owner=owner,
        )
        self._extra = ExtraContext(
            make=lambda *shape: self._new_context(*shape)[0],
            shortest=self._shortest_equivalent_context(),
            batch=self._context.n_batch,
            vocab_size=self._vocab.size,
        )
        self._pooling = pooling_of(model.header)
        with self._context.aborted_by(cancelled):
            if not self._context.warm_up(self._vocab.bos):
                raise paragone.EngineError(f"Loading {owner} was cancelled.")
        return paragone.LoadedModel(
            name=model.header.name or model.path.stem,
            context=self._context.size,
            size=c_api.lib.llama_model_size(model.pointer),
            quantization=model.header.quantization,
            architecture=model.header.architecture,
            cautions=tuple(cautions(model, self._context.size)),
            facts=facts_of(
                model, flash_attn=flash_attn, n_batch=self._context.n_batch, threads=self._threads
            ),
            weights=weights,
        )

    def generate(
        self,
        request: paragone.RunRequest,
        sampling: llama_cpp_options.LlamaCppSampling,
        cancelled: paragone.Cancelled,
    ) -> Iterator[paragone.Event]:
        self._extra.close()  # frees memory for other engines
        self._vocab.check(request.ids)
        prompt = self._prompts.make(request.messages, sampling, text=request.text, ids=request.ids)
        text = answer_text.AnswerText(sampling.stop, inside=prompt.inside)
        sampling = shared_options.with_seed(sampling, request.drawn_seed)
        with samplers.sampling(sampling, self._vocab, text) as pick:
            self._share_cores(request.threads)
            yield paragone.RunSettings(
                seed=sampling.seed,
                sampling=as_values(sampling),
                prompt=prompt.text or None,
                prompt_ids=tuple(prompt.tokens) if request.prompt_ids else None,
                threads=self._threads,
            )
            yield from run(
                self._context,
                self._vocab,
                pick,
                prompt.tokens,
                text,
                cancelled,
                max_tokens=sampling.max_tokens,
                budget=shared_options.thinking_choice(sampling.thinking).budget,
                logprobs=request.logprobs,
                cold=request.cold,
                ignore_eos=sampling.ignore_eos,
            )

    def tokenize(self, request: paragone.TokenizeRequest) -> paragone.TokenizedText:
        return self._prompts.tokenized(request, build(llama_cpp_options.LlamaCppSampling, request.sampling))

    def score(
        self, request: paragone.ScoreRequest, cancelled: paragone.Cancelled
    ) -> Iterator[paragone.Event]:
        if request.ids:
            self._vocab.check(request.ids)
            self._prompts.check_length(request.ids)
            tokens, start = list(request.ids), 0
        else:
            tokens, start = self._prompts.to_score(request.messages, request.text)
        return score(self._context, self._vocab, tokens, start, cancelled, top=request.top)

    def distributions(
        self, request: paragone.DistributionsRequest, cancelled: paragone.Cancelled
    ) -> Iterator[paragone.LogitsBlock]:
        self._prompts.check_distributions(request, self._vocab.size)
        return distributions(self._extra, request, cancelled)

    def embed(self, request: paragone.EmbedRequest, cancelled: paragone.Cancelled) -> paragone.Embeddings:
        for tokens in request.ids:
            self._vocab.check(tokens)
        end = self._vocab.marks[1:] if self._vocab.adds_eos else ()
        sequences = list(request.ids) or [(*self._prompts.tokenize(text), *end) for text in request.texts]
        for tokens in sequences:
            self._prompts.check_length(tokens)
        return embed(self._extra, self._pooling, sequences, cancelled)

    def vocabulary(self) -> paragone.Vocabulary:
        return self._vocab.described

    def close(self) -> None:
        self._extra.close()
        self._context.close()
        c_api.lib.llama_model_free(self._model.pointer)

    def _make_context(self) -> tuple[context.Context, str]:
        options, n_ctx = self._model.options, self._model.n_ctx
        while True:
            try:
                return self._new_context(n_ctx)
            except paragone.EngineError:
                # Whether the context fits in memory is known only after the allocation.
                n_ctx //= 2
                if options.n_ctx is not None or n_ctx < _SHORTEST:
                    raise

    def _new_context(
        self, n_ctx: int, batch: int | None = None, outputs: int = OUTPUTS, embeddings: bool = False
    ) -> tuple[context.Context, str]:
        """Return a context with the engine's settings, except the arguments, and its flash attention."""
        model, options = self._model, self._model.options
        pointer, flash_attn = make_context(
            model.pointer,
            replace(options, n_batch=batch or options.n_batch),
            n_ctx=n_ctx,
            threads=self._threads,
            owner=model.path.name,
            outputs=outputs,
            embeddings=embeddings,
        )
        apply_lora(self._lora, pointer, options)
        return context.Context(pointer, self._vocab.size), flash_attn

    def _shortest_equivalent_context(self) -> int:
        """Return the size of the shortest context that gives the same results as the engine's context.

        LongRoPE uses different factors for contexts that are longer than the model's original context.
        """
        header = self._model.header
        first = header.values.get(f"{header.architecture}.rope.scaling.original_context_length")
        return first + 1 if isinstance(first, int) and first < self._context.size else 1

    def _share_cores(self, threads: int | None) -> None:
        wanted = self._model.options.n_threads or threads or self._model.threads
        if wanted != self._threads:
            c_api.lib.llama_set_n_threads(self._context.pointer, wanted, wanted)
            self._threads = wanted


def _weights(
    request: paragone.OpenRequest, options: llama_cpp_options.LlamaCppLoadOptions
) -> tuple[paragone.WeightsFile, ...]:
    """Return the files that will be loaded; empty if a file cannot be read: loading reports why."""
    paths = [*gguf.parts(Path(request.model)), *([] if options.lora is None else [Path(options.lora)])]
    try:
        return tuple(map(paragone.WeightsFile.of, paths))
    except (OSError, ValueError):  # ValueError: a path with a null character in it
        return ()
