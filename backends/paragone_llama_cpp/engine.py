"""The facts of an open model, under their standard names, and the cautions that apply to each of its runs."""

from collections.abc import Iterator
from pathlib import Path, PurePath

import paragone
from paragone import answer_text, chat_prompt, engine_events, gguf, shared_options
from paragone.options import as_values, build
from paragone_llama_cpp import c_api, library, llama_cpp_options, samplers, self_test
from paragone_llama_cpp.decoding import distributions, embed, run, score
from paragone_llama_cpp.estimate import estimate
from paragone_llama_cpp.library import features, instructions, other_build
from paragone_llama_cpp.model import OpenModel, open_model


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
    if options.n_gpu_layers != 0 and not library.offloads():
        if options.n_gpu_layers or options.tensor_split or options.main_gpu is not None:
            sentence = (
                "The options request a GPU, but this build of llama.cpp cannot use one on this machine."
            )
            yield paragone.Caution(code="no-gpu", sentence=sentence)
        elif library.has_nvidia_gpu():
            sentence = "This machine has an NVIDIA GPU, but this build of llama.cpp is for the CPU only."
            yield paragone.Caution(code="no-gpu", sentence=sentence)


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
        with samplers.sampling(sampling, self._model.vocab, text) as pick:
            self._share_cores(request.threads)
            yield paragone.RunSettings(
                seed=sampling.seed,
                sampling=as_values(sampling),
                prompt=prompt.text or None,
                prompt_ids=tuple(prompt.tokens) if request.prompt_ids else None,
                threads=self._model.threads,
            )
            yield from run(
                self._model.context,
                self._model.vocab,
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
            self._model.vocab.check(request.ids)
            self._prompts.check_length(request.ids)
            tokens, start = list(request.ids), 0
        else:
            tokens, start = self._prompts.to_score(request.messages, request.text)
        return score(self._model.context, self._model.vocab, tokens, start, cancelled, top=request.top)

    def distributions(
        self, request: paragone.DistributionsRequest, cancelled: paragone.Cancelled
    ) -> Iterator[paragone.LogitsBlock]:
        self._prompts.check_distributions(request, self._model.vocab.size)
        return distributions(self._model, request, cancelled)

    def embed(self, request: paragone.EmbedRequest, cancelled: paragone.Cancelled) -> paragone.Embeddings:
        for tokens in request.ids:
            self._model.vocab.check(tokens)
        end = self._model.vocab.marks[1:] if self._model.vocab.adds_eos else ()
        sequences = list(request.ids) or [(*self._prompts.tokenize(text), *end) for text in request.texts]
        for tokens in sequences:
            self._prompts.check_length(tokens)
        return embed(self._model, sequences, cancelled)

    def vocabulary(self) -> paragone.Vocabulary:
        return self._model.vocab.described

    def close(self) -> None:
        self._model.close()

    def _share_cores(self, threads: int | None) -> None:
        wanted = self._model.options.n_threads or threads or self._own_threads
        if wanted != self._model.threads:
            c_api.lib.llama_set_n_threads(self._model.context.pointer, wanted, wanted)
            self._model.threads = wanted


def _weights(
    request: paragone.OpenRequest, options: llama_cpp_options.LlamaCppLoadOptions
) -> tuple[paragone.WeightsFile, ...]:
    """Return the files that will be loaded; empty if a file cannot be read: loading reports why."""
    paths = [*gguf.parts(Path(request.model)), *([] if options.lora is None else [Path(options.lora)])]
    try:
        return tuple(map(paragone.WeightsFile.of, paths))
    except (OSError, ValueError):  # ValueError: a path with a null character in it
        return ()
