"""Runs of the engines, including failures of the generator, with the stand-in of the libraries."""

import contextlib
import math
from pathlib import Path

import pytest

from paragone import (
    Caution,
    ContextOverflow,
    EngineCrashed,
    EngineError,
    InputError,
    Message,
    OpenRequest,
    PromptProgress,
    TokenizeRequest,
    WeightsFile,
)
from paragone_exllama.backend import ExLlamaV2Backend, ExLlamaV3Backend

pytestmark = pytest.mark.slow  # each opens an engine of its own

SENTENCE = "The sea is déjà vu, 🌊 and the sky is high above it; "
"""The sentence that the stand-in recites."""

BACKENDS = {"exllamav2": ExLlamaV2Backend, "exllamav3": ExLlamaV3Backend}


@pytest.fixture
def open_chat(interpreter, driver, write_model, tmp_path, chat):
    """Open a model in a worker with the stand-in; its engine is closed at the end."""

    @contextlib.asynccontextmanager
    async def open_it(library, *, model=None, log=None, gpus_of=8, **options):
        driver(major=gpus_of)
        folder = write_model(tmp_path / "model", **(model or {}))
        request = OpenRequest(
            model=str(folder), options={"max_seq_len": 1024, **options}, python=interpreter, log=log
        )
        engine = await BACKENDS[library]().open(request, lambda progress: None)
        try:
            yield chat(engine)
        finally:
            await engine.close()

    return open_it


def asked(text):
    return TokenizeRequest(messages=(Message(role="user", text=text),))


both = pytest.mark.parametrize("library", list(BACKENDS))


@both
async def test_the_answer_has_whole_characters(open_chat, library):
    async with open_chat(library) as chat:
        text, tokens, finish = await chat.ask("Say it.", max_tokens=len(SENTENCE.encode()), temperature=0)
        assert text == SENTENCE
        assert finish.reason == "length"
        # Each byte is a token. The tokens of one character come together, and the last one has the text.
        assert [token.text for token in tokens if not token.text.isascii() or not token.text][:2] == ["", "é"]
        assert len(tokens) == finish.usage.completion_tokens == len(SENTENCE.encode())
        assert [token.id for token in tokens] == list(SENTENCE.encode())
        assert finish.timings.decode_s > 0


@both
async def test_the_weights_are_the_files_of_the_folder(open_chat, library, tmp_path):
    async with open_chat(library) as chat:
        files = sorted((tmp_path / "model").glob("*.safetensors"))
        assert files
        assert chat.engine.loaded.weights == tuple(map(WeightsFile.of, files))


@both
async def test_the_model_ends_its_answer(open_chat, library):
    async with open_chat(library) as chat:
        text, tokens, finish = await chat.ask("Say it. [[end 11]]", temperature=0)
        assert (text, finish.reason) == ("The sea is ", "stop")
        assert finish.usage.completion_tokens == len(tokens) == 11


@both
async def test_an_incomplete_character_at_the_end_is_left_out(open_chat, library):
    # 12 bytes: "The sea is d" and the first byte of "é".
    async with open_chat(library) as chat:
        text, tokens, finish = await chat.ask("Say it. [[end 13]]", temperature=0, logprobs=0)
        assert (text, finish.reason) == ("The sea is d", "stop")
        assert len(tokens) == finish.usage.completion_tokens == 13
        assert all(token.logprob is not None for token in tokens)


@both
async def test_a_character_cut_by_the_limit_is_left_out_and_one_that_ends_there_is_kept(open_chat, library):
    async with open_chat(library) as chat:
        text, tokens, finish = await chat.ask("Say it.", max_tokens=13, temperature=0)
        assert (text, finish.reason, len(tokens)) == ("The sea is d", "length", 13)
        text, tokens, finish = await chat.ask("Say it.", max_tokens=14, temperature=0)
        assert (text, finish.reason, len(tokens)) == ("The sea is dé", "length", 14)


@both
async def test_n_grams_are_not_searched_in_prompts_shorter_than_one(open_chat, library):
    async with open_chat(library, model={"template": None}, draft_ngram=True) as chat:
        for prompt in ("S", "Sa", "Say"):
            text, _, finish = await chat.ask(prompt, max_tokens=3, temperature=0)
            assert (text, finish.usage.prompt_tokens) == ("The", len(prompt))


@both
async def test_stop_sequences_end_the_answer_and_free_the_generator(open_chat, library):
    async with open_chat(library, draft_ngram=True) as chat:
        text, _, finish = await chat.ask("Say it.", stop=["sky"], temperature=0)
        assert (text, finish.reason) == ("The sea is déjà vu, 🌊 and the ", "stop")
        text, _, _ = await chat.ask("Say it.", max_tokens=3, temperature=0)
        assert text == "The"


@both
@pytest.mark.parametrize(
    ("spoken", "tokens"),
    [
        ("<think>\nHm, sky?</think>\n\nYes, sky.", 35),
        ("[THINK]Hm, sky?[/THINK]Yes, sky.", 19),  # these tags are special tokens
    ],
)
async def test_thinking_goes_to_its_own_channel(open_chat, library, spoken, tokens):
    async with open_chat(library) as chat:
        text, came, finish = await chat.ask(f"[[say {spoken}]] [[end {tokens}]]", temperature=0, stop=["?"])
        assert "".join(token.text for token in came if token.channel == "thinking") == "Hm, sky?"
        assert (text, finish.reason) == ("Yes, sky.", "stop")
        assert finish.usage.completion_tokens == tokens


@both
async def test_a_full_context_ends_the_answer_and_says_so(open_chat, library):
    async with open_chat(library, max_seq_len=512) as chat:
        events = await chat.events("Say it.", temperature=0)
        caution, finish = events[-2:]
        assert isinstance(caution, Caution)
        assert caution.code == "context-full"
        assert finish.reason == "length"
        usage = finish.usage
        assert usage.prompt_tokens + usage.completion_tokens == chat.loaded.context
        # ExLlamaV3 reserves one token.
        assert chat.loaded.context == {"exllamav2": 512, "exllamav3": 511}[library]


@both
async def test_space_for_drafted_tokens_is_reserved_at_the_end_of_the_cache(open_chat, library):
    async with open_chat(library, max_seq_len=512, draft_ngram=True, draft_tokens=5) as chat:
        _, _, finish = await chat.ask("Say it.", temperature=0)
        usage = finish.usage
        assert usage.prompt_tokens + usage.completion_tokens == chat.loaded.context
        assert chat.loaded.context == {"exllamav2": 512 - 5, "exllamav3": 511 - 5}[library]
        assert usage.drafted_tokens > usage.accepted_tokens > 0
        _, _, finish = await chat.ask("Say it.", max_tokens=7, temperature=0)
        assert finish.usage.completion_tokens == 7


@both
async def test_without_drafts_none_are_reported(open_chat, library):
    async with open_chat(library) as chat:
        _, _, finish = await chat.ask("Say it.", max_tokens=2)
        assert finish.usage.drafted_tokens is None
        assert finish.usage.accepted_tokens is None


@both
async def test_cached_tokens_are_reused_unless_the_run_is_cold(open_chat, library):
    prompt = "Say it." + " north" * 600
    async with open_chat(library) as chat:
        events = await chat.events(prompt, max_tokens=4)
        assert {event.cached for event in events if isinstance(event, PromptProgress)} == {0}
        events = await chat.events(prompt + " east", max_tokens=4)
        assert events[-1].usage.cached_tokens == 512 > 0
        last = [event for event in events if isinstance(event, PromptProgress)][-1]
        assert last.done == last.total == events[-1].usage.prompt_tokens
        events = await chat.events(prompt, max_tokens=4, cold=True)
        assert events[-1].usage.cached_tokens == 0


@both
async def test_log_probabilities_are_the_models_before_any_sampler(open_chat, library):
    async with open_chat(library) as chat:
        _, plain, _ = await chat.ask("Say it.", max_tokens=5, temperature=0, logprobs=2)
        _, harsh, _ = await chat.ask(
            "Say it.", max_tokens=5, temperature=0, logprobs=2, repeat_penalty=1.2, penalty_last_n=900
        )
        # The stand-in's penalties change the logits in place, as ExLlamaV2's do.
        assert [token.logprob for token in harsh] == [token.logprob for token in plain]
        first = plain[0]
        assert first.top[0].id == first.id == ord("T")
        assert first.top[0].text == "T"
        assert math.isclose(first.top[0].logprob, first.logprob)
        assert len(first.top) == 2


@both
async def test_padding_of_the_head_is_not_reported_as_tokens(open_chat, library):
    """The model's vocabulary of 320 tokens is padded to 384 in ExLlamaV3; the tokenizer has 266."""
    async with open_chat(library) as chat:
        _, (token, *_), _ = await chat.ask("Say it.", max_tokens=1, logprobs=400)
        scored = await chat.score("ab", top=400)
    for alternatives in (token.top, scored[0].top):
        assert len(alternatives) == len({one.id for one in alternatives}) == 320
        assert math.isclose(sum(math.exp(one.logprob) for one in alternatives), 1)


@both
async def test_a_prompt_that_is_too_long_is_refused_before_the_generator_asserts(open_chat, library):
    async with open_chat(library) as chat:
        room = chat.loaded.context
        bare = len((await chat.engine.tokenize(asked(""))).ids)
        _, _, finish = await chat.ask("x" * (room - 1 - bare), temperature=0)
        assert (finish.usage.prompt_tokens, finish.usage.completion_tokens) == (room - 1, 1)
        with pytest.raises(ContextOverflow) as caught:
            await chat.ask("x" * (room - bare))
        assert (caught.value.tokens, caught.value.context) == (room, room)


@both
async def test_a_text_is_scored_and_the_cache_cleared(open_chat, library):
    async with open_chat(library) as chat:
        await chat.ask(" north" * 600, max_tokens=2)
        tokens = await chat.score("abc" * 200, top=1)
        assert len(tokens) == 599
        # For the stand-in's model, the next letter of the alphabet is the most likely one.
        assert [(token.text, token.top[0].text) for token in tokens[:3]] == [
            ("b", "b"),
            ("c", "c"),
            ("a", "d"),
        ]
        assert tokens[0].logprob > tokens[2].logprob
        _, _, finish = await chat.ask(" north" * 600, max_tokens=2)
        assert finish.usage.cached_tokens == 0


@both
async def test_after_a_failure_in_the_generator_the_next_prompt_is_answered(open_chat, library):
    async with open_chat(library) as chat:
        with pytest.raises(EngineError) as caught:
            await chat.ask("[[fail page]]")
        assert caught.value.sentence == (
            f"{BACKENDS[library].title} failed in the middle of the answer: page.ref_count == 1."
        )
        assert (await chat.ask("Say it.", max_tokens=3, temperature=0))[0] == "The"
        with pytest.raises(EngineError, match="the stand-in fails in its prefill"):
            await chat.ask("[[fail prefill]]")
        assert (await chat.ask("Say it.", max_tokens=3, temperature=0))[0] == "The"
        for how in ("memory", "kernel", "cublas"):
            with pytest.raises(EngineError) as caught:
                await chat.ask(f"[[fail {how}]]")
            assert caught.value.sentence == "The GPU ran out of memory in the middle of the answer."
            assert "cache_type" in caught.value.hint
        assert (await chat.ask("Say it.", max_tokens=3, temperature=0))[0] == "The"


@both
async def test_a_broken_cuda_context_ends_the_worker(open_chat, library):
    async with open_chat(library) as chat:
        with pytest.raises(EngineCrashed) as caught:
            await chat.ask("[[fail cuda]]")
        assert caught.value.status == 70
        assert caught.value.log_tail[-1] == (
            f"{BACKENDS[library].title} failed and cannot recover: "
            "CUDA error: an illegal memory access was encountered"
        )


async def refused(open_chat, library, kind=InputError, **options):
    with pytest.raises(kind) as caught:
        async with open_chat(library, **options):
            pass
    return str(caught.value)


@both
async def test_a_model_that_does_not_fit_says_how_much_is_needed(open_chat, library):
    said = {
        "exllamav2": "Insufficient VRAM for model and cache",
        "exllamav3": "Insufficient VRAM in split for model and cache",
    }[library]
    config = {"stand_in": {"fails": {"type": "RuntimeError", "text": said}}}
    assert await refused(open_chat, library, EngineError, model=config, max_seq_len=1 << 20) == (
        "model does not fit in the VRAM: it needs about 3.2 GB (64 B for its weights, 2.1 GB for a KV "
        "cache of 1,048,576 tokens, and 1.1 GB for computation), and 21.5 GB was free. "
        "Lower max_seq_len, set cache_type to q8, q6 or q4, or use a model with fewer bits per weight."
    )


@both
async def test_failures_in_loading_are_reported_in_a_sentence(open_chat, library):
    title = BACKENDS[library].title

    def failing(kind, text):
        return {"stand_in": {"fails": {"type": kind, "text": text}}}

    assert await refused(open_chat, library, model=failing("KeyError", "rope_type")) == (
        f"{title} cannot load model: 'rope_type' is missing."
    )
    assert await refused(
        open_chat,
        library,
        model=failing("AssertionError", "Unknown architecture XForCausalLM in config.json"),
    ) == (f"{title} cannot load model: Unknown architecture XForCausalLM in config.json.")
    assert await refused(
        open_chat, library, EngineError, model=failing("RuntimeError", "a kernel is missing")
    ) == (f"{title} could not load model: a kernel is missing.")


@both
async def test_invalid_options_are_refused(open_chat, library, tmp_path, write_model):
    assert "'chunk_size' cannot be 300" in await refused(open_chat, library, chunk_size=300)
    assert "no LoRA adapter" in await refused(open_chat, library, lora=str(tmp_path))
    assert "There is no folder" in await refused(open_chat, library, draft_model=str(tmp_path / "none"))
    other = str(write_model(tmp_path / "other", vocab_size=32000))
    assert (
        "other cannot be the draft model of model: its vocabulary is different (32,000 tokens instead of 320)"
        in (await refused(open_chat, library, draft_model=other))
    )
    assert "Only one of the options" in await refused(
        open_chat, library, draft_model=str(tmp_path), draft_ngram=True
    )
    assert "cannot be parsed" in await refused(open_chat, library, model={"template": "{% if %}"})


@both
async def test_a_lora_adapter_is_applied(open_chat, library, tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    async with open_chat(library, lora=str(tmp_path), lora_scale=0.5) as chat:
        assert (await chat.ask("Say it.", max_tokens=3, temperature=0))[0] == "The"


async def test_an_adapter_that_the_library_would_ignore_is_refused(open_chat, tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    layer = "model.layers.0.self_attn.q_proj"
    tensors = {f"{layer}.trellis": ("I16", (1, 1, 64), bytes(128))}
    said = await refused(open_chat, "exllamav3", model={"tensors": tensors}, lora=str(tmp_path))
    assert said.startswith("ExLlamaV3 applies a LoRA adapter to unquantized models only.")


@both
async def test_without_a_template_the_text_is_completed_with_a_caution(open_chat, library):
    async with open_chat(library, model={"template": None}) as chat:
        assert "no-chat-template" in [caution.code for caution in chat.loaded.cautions]
        assert (await chat.engine.tokenize(asked("abc"))).ids == tuple(b"abc")


@both
async def test_the_loaded_model_is_described(open_chat, library):
    async with open_chat(library, cache_type="q8", max_seq_len=1000) as chat:
        loaded = chat.loaded
        assert (loaded.name, loaded.quantization, loaded.architecture) == ("model", "F16", "LlamaForCausalLM")
        facts = dict(loaded.facts)
        version = {"exllamav2": "0.3.2", "exllamav3": "1.6.5"}[library]
        assert facts.pop(BACKENDS[library].title) == version
        assert Path(facts.pop("origin")).is_dir(), "the environment that has the library"
        assert facts == {
            "program": BACKENDS[library].title,
            "version": f"{version}, PyTorch 2.8.0+cu128",
            "PyTorch": "2.8.0+cu128",
            "attention": "paged",
            "KV cache": "q8",
            "drafts": "none",
            "prompt slice": "up to 1024 tokens",
        }
        assert loaded.cautions == ()


async def test_without_flash_attention_there_is_a_caution(open_chat, monkeypatch):
    monkeypatch.setenv("STAND_IN_UNPAGED", "1")
    monkeypatch.setenv("PARAGONE_PASS_ENV", "STAND_IN_UNPAGED")
    async with open_chat("exllamav2") as chat:
        assert [caution.code for caution in chat.loaded.cautions] == ["unpaged"]
        assert chat.loaded.facts["attention"] == "unpaged"
    assert "needs flash-attn 2.5.7" in await refused(open_chat, "exllamav2", paged=True)


async def test_on_gpus_before_ampere_installed_flash_attention_is_not_used(open_chat):
    async with open_chat("exllamav2", gpus_of=7) as chat:
        assert chat.loaded.facts["attention"] == "unpaged"
    assert "of the Ampere generation" in await refused(open_chat, "exllamav2", gpus_of=7, paged=True)


async def test_without_flash_attention_short_chunks_preserve_sliding_windows(open_chat, monkeypatch):
    windows = {"stand_in": {"windows": True}}
    async with open_chat("exllamav2", model=windows) as chat:
        assert chat.loaded.facts["prompt slice"] == "up to 1024 tokens"
    monkeypatch.setenv("STAND_IN_UNPAGED", "1")
    monkeypatch.setenv("PARAGONE_PASS_ENV", "STAND_IN_UNPAGED")
    async with open_chat("exllamav2", model=windows) as chat:
        assert chat.loaded.facts["prompt slice"] == "up to 256 tokens"


@both
@pytest.mark.parametrize(
    ("free", "tells", "context"), [(20 << 30, 1, 4096), ((1 << 30) + (4 << 20), 1, 2048), (0, 0, 4096)]
)
async def test_the_default_context_fits_in_the_free_vram(
    library, free, tells, context, interpreter, driver, write_model, tmp_path
):
    driver(free=free, tells=tells)
    request = OpenRequest(model=str(write_model(tmp_path / "model")), python=interpreter)
    engine = await BACKENDS[library]().open(request, lambda progress: None)
    await engine.close()
    assert engine.loaded.context == context - (library == "exllamav3")
    assert [caution.code for caution in engine.loaded.cautions] == (
        [] if context == 4096 else ["context-reduced"]
    )
