"""Runs, scores and distributions of the engines, including failures of the generator, with the stand-in of the libraries."""

import contextlib
import math
from pathlib import Path

import pytest

import paragone
from paragone_exllama.backend import ExLlamaV2Backend, ExLlamaV3Backend
from paragone_exllama.engine import next_chunk

pytestmark = pytest.mark.slow  # each opens an engine of its own

SENTENCE = "The sea is déjà vu, 🌊 and the sky is high above it; "
"""The sentence that the stand-in recites."""

SIZE = 320
"""Size of the model's vocabulary according to config.json; the tokenizer has 266 tokens."""

BACKENDS = {"exllamav2": ExLlamaV2Backend, "exllamav3": ExLlamaV3Backend}


@pytest.fixture
def open_chat(interpreter, driver, write_model, tmp_path, chat):
    """Open a model in a worker with the stand-in; its engine is closed at the end."""

    @contextlib.asynccontextmanager
    async def open_it(library, *, model=None, log=None, gpus_of=8, **options):
        driver(major=gpus_of)
        folder = write_model(tmp_path / "model", **(model or {}))
        request = paragone.OpenRequest(
            model=str(folder), options={"max_seq_len": 1024, **options}, python=interpreter, log=log
        )
        engine = await BACKENDS[library]().open(request, lambda progress: None)
        try:
            yield chat(engine)
        finally:
            await engine.close()

    return open_it


def asked(text):
    return paragone.TokenizeRequest(messages=(paragone.Message(role="user", text=text),))


both = pytest.mark.parametrize("library", list(BACKENDS))


@both
async def test_an_engine_answers_stops_and_reports_settings(open_chat, library):
    """Characters stay whole, answers end at their end, limit or stop sequence, and thinking has its own channel."""
    async with open_chat(library) as chat:
        text, tokens, finish = await chat.ask("Say it.", max_tokens=len(SENTENCE.encode()), temperature=0)
        assert text == SENTENCE
        assert finish.reason == "length"
        # Each byte is a token. The tokens of one character come together, and the last one has the text.
        assert [token.text for token in tokens if not token.text.isascii() or not token.text][:2] == ["", "é"]
        assert len(tokens) == finish.usage.completion_tokens == len(SENTENCE.encode())
        assert [token.id for token in tokens] == list(SENTENCE.encode())
        assert finish.timings.decode_s > 0
        for command, limit, said, reason, count in (
            ("[[end 11]]", None, "The sea is ", "stop", 11),
            ("[[end 13]]", None, "The sea is d", "stop", 13),  # its last token is the first byte of "é"
            ("", 13, "The sea is d", "length", 13),
            ("", 14, "The sea is dé", "length", 14),
        ):
            text, tokens, finish = await chat.ask(
                f"Say it. {command}", max_tokens=limit, temperature=0, logprobs=0
            )
            assert (text, finish.reason) == (said, reason)
            assert len(tokens) == finish.usage.completion_tokens == count
            assert all(token.logprob is not None for token in tokens)
        text, _, finish = await chat.ask("Say it.", stop=["sky"], temperature=0)
        assert (text, finish.reason) == ("The sea is déjà vu, 🌊 and the ", "stop")
        for spoken, count in (
            ("<think>\nHm, sky?</think>\n\nYes, sky.", 35),
            ("[THINK]Hm, sky?[/THINK]Yes, sky.", 19),  # these tags are special tokens
        ):
            text, tokens, finish = await chat.ask(
                f"[[say {spoken}]] [[end {count}]]", temperature=0, stop=["?"]
            )
            assert "".join(token.text for token in tokens if token.channel == "thinking") == "Hm, sky?"
            assert (text, finish.reason) == ("Yes, sky.", "stop")
            assert finish.usage.completion_tokens == count


async def test_n_gram_drafts_are_off_for_very_short_prompts(open_chat):
    async with open_chat("exllamav2", model={"template": None}, draft_ngram=True) as chat:
        for prompt in ("S", "Sa", "Say"):
            text, _, finish = await chat.ask(prompt, max_tokens=3, temperature=0)
            assert (text, finish.usage.prompt_tokens) == ("The", len(prompt))


@both
@pytest.mark.parametrize("drafted", [0, 5])
async def test_a_full_context_ends_the_answer_with_a_warning(open_chat, library, drafted):
    options = {"draft_ngram": True, "draft_tokens": drafted} if drafted else {}
    async with open_chat(library, max_seq_len=256, **options) as chat:
        events = await chat.events("Say it.", temperature=0)
        caution, finish = events[-2:]
        assert isinstance(caution, paragone.Caution)
        assert (caution.code, finish.reason) == ("context-full", "length")
        usage = finish.usage
        assert usage.prompt_tokens + usage.completion_tokens == chat.loaded.context
        # ExLlamaV3 reserves one token, and the drafted tokens need room at the end of the cache.
        assert chat.loaded.context == {"exllamav2": 256, "exllamav3": 255}[library] - drafted
        if drafted:
            assert usage.drafted_tokens > usage.accepted_tokens > 0
        else:
            assert usage.drafted_tokens is usage.accepted_tokens is None


@both
async def test_cached_tokens_are_reused_unless_the_run_is_cold(open_chat, library):
    prompt = "Say it." + " north" * 600
    async with open_chat(library) as chat:
        events = await chat.events(prompt, max_tokens=4)
        assert {event.cached for event in events if isinstance(event, paragone.PromptProgress)} == {0}
        events = await chat.events(prompt + " east", max_tokens=4)
        assert events[-1].usage.cached_tokens == 512 > 0
        last = [event for event in events if isinstance(event, paragone.PromptProgress)][-1]
        assert last.done == last.total == events[-1].usage.prompt_tokens
        events = await chat.events(prompt, max_tokens=4, cold=True)
        assert events[-1].usage.cached_tokens == 0


@both
async def test_an_engine_reports_log_probabilities_and_scores(open_chat, library):
    """They are the model's, before any sampler, and the padding of its head is not reported as tokens."""
    async with open_chat(library) as chat:
        _, plain, _ = await chat.ask("Say it.", max_tokens=5, temperature=0, logprobs=2)
        _, harsh, _ = await chat.ask(
            "Say it.", max_tokens=5, temperature=0, logprobs=2, repeat_penalty=1.2, penalty_last_n=900
        )
        # The stand-in's penalties change the logits in place, as ExLlamaV2's do.
        assert [token.logprob for token in harsh] == [token.logprob for token in plain]
        first = plain[0]
        assert (first.top[0].id, first.top[0].text, len(first.top)) == (first.id, "T", 2)
        assert math.isclose(first.top[0].logprob, first.logprob)
        # The model's vocabulary of 320 tokens is padded to 384 in ExLlamaV3; the tokenizer has 266.
        _, (token, *_), _ = await chat.ask("Say it.", max_tokens=1, logprobs=400)
        _, control, tag, _ = await chat.score("ab<|im_end|>[/THINK]c", top=400)
        for alternatives in (token.top, control.top):
            assert len(alternatives) == len({one.id for one in alternatives}) == SIZE
            assert math.isclose(sum(math.exp(one.logprob) for one in alternatives), 1)
        # A control token has no bytes; a thinking tag has its text.
        assert (control.id, control.text, control.n_bytes) == (258, "", 0)
        assert (tag.id, tag.text, tag.n_bytes) == (261, "[/THINK]", 8)
        assert "<|im_end|>" in [one.text for one in tag.top]  # alternatives are named
        # A score clears the cache.
        await chat.ask(" north" * 600, max_tokens=2)
        tokens = await chat.score("abc" * 100, top=1)
        assert len(tokens) == 299
        # For the stand-in's model, the next letter of the alphabet is the most likely one.
        assert [(one.text, one.top[0].text) for one in tokens[:3]] == [("b", "b"), ("c", "c"), ("a", "d")]
        assert tokens[0].logprob > tokens[2].logprob
        _, _, finish = await chat.ask(" north" * 600, max_tokens=2)
        assert finish.usage.cached_tokens == 0


async def test_a_prompt_that_is_too_long_is_refused_before_the_generator_asserts(open_chat):
    async with open_chat("exllamav3") as chat:
        room = chat.loaded.context
        bare = len((await chat.engine.tokenize(asked(""))).ids)
        _, _, finish = await chat.ask("x" * (room - 1 - bare), temperature=0)
        assert (finish.usage.prompt_tokens, finish.usage.completion_tokens) == (room - 1, 1)
        with pytest.raises(paragone.ContextOverflow) as caught:
            await chat.ask("x" * (room - bare))
        assert (caught.value.tokens, caught.value.context) == (room, room)


@both
async def test_after_a_failure_in_the_generator_the_next_prompt_is_answered(open_chat, library):
    async with open_chat(library) as chat:
        with pytest.raises(paragone.EngineError) as caught:
            await chat.ask("[[fail page]]")
        assert caught.value.message == (
            f"{BACKENDS[library].title} failed in the middle of the answer: page.ref_count == 1."
        )
        assert (await chat.ask("Say it.", max_tokens=3, temperature=0))[0] == "The"
        with pytest.raises(paragone.EngineError, match="the stand-in fails in its prefill"):
            await chat.ask("[[fail prefill]]")
        assert (await chat.ask("Say it.", max_tokens=3, temperature=0))[0] == "The"
        for how in ("memory", "kernel", "cublas"):
            with pytest.raises(paragone.EngineError) as caught:
                await chat.ask(f"[[fail {how}]]")
            assert caught.value.message == "The GPU ran out of memory in the middle of the answer."
            assert "cache_type" in caught.value.hint
        assert (await chat.ask("Say it.", max_tokens=3, temperature=0))[0] == "The"


async def test_a_broken_cuda_context_ends_the_worker(open_chat):
    async with open_chat("exllamav3") as chat:
        with pytest.raises(paragone.EngineCrashed) as caught:
            await chat.ask("[[fail cuda]]")
        assert caught.value.status == 70
        assert caught.value.log_tail[-1] == (
            f"{BACKENDS['exllamav3'].title} failed and cannot recover: "
            "CUDA error: an illegal memory access was encountered"
        )


async def refused(open_chat, library, kind=paragone.InputError, **options):
    with pytest.raises(kind) as caught:
        async with open_chat(library, **options):
            pass
    return str(caught.value)


@both
async def test_the_error_for_a_model_that_does_not_fit_states_the_needed_memory(open_chat, library):
    said = {
        "exllamav2": "Insufficient VRAM for model and cache",
        "exllamav3": "Insufficient VRAM in split for model and cache",
    }[library]
    config = {"stand_in": {"fails": {"type": "RuntimeError", "text": said}}}
    assert await refused(open_chat, library, paragone.EngineError, model=config, max_seq_len=1 << 20) == (
        "model does not fit in the VRAM: it needs about 3.2 GB (64 B for its weights, 2.1 GB for a KV "
        "cache of 1,048,576 tokens, and 1.1 GB for computation), and 21.5 GB was free. "
        "Lower max_seq_len, set cache_type to q8, q6 or q4, or use a model with fewer bits per weight."
    )


async def test_failures_during_loading_are_reported_in_a_message(open_chat):
    for kind, error, text, said in (
        (paragone.InputError, "KeyError", "rope_type", "cannot load model: 'rope_type' is missing."),
        (
            paragone.InputError,
            "AssertionError",
            "Unknown architecture X",
            "cannot load model: Unknown architecture X.",
        ),
        (
            paragone.EngineError,
            "RuntimeError",
            "a kernel is missing",
            "could not load model: a kernel is missing.",
        ),
    ):
        config = {"stand_in": {"fails": {"type": error, "text": text}}}
        assert await refused(open_chat, "exllamav3", kind, model=config) == f"ExLlamaV3 {said}"


async def test_invalid_options_are_refused(open_chat, tmp_path, write_model):
    assert "'chunk_size' cannot be 300" in await refused(open_chat, "exllamav3", chunk_size=300)
    assert "no LoRA adapter" in await refused(open_chat, "exllamav3", lora=str(tmp_path))
    assert "There is no folder" in await refused(open_chat, "exllamav3", draft_model=str(tmp_path / "none"))
    other = str(write_model(tmp_path / "other", vocab_size=32000))
    assert (
        "other cannot be the draft model of model: its vocabulary is different (32,000 tokens instead of 320)"
        in (await refused(open_chat, "exllamav3", draft_model=other))
    )
    assert "Only one of the options" in await refused(
        open_chat, "exllamav3", draft_model=str(tmp_path), draft_ngram=True
    )
    assert "cannot be parsed" in await refused(open_chat, "exllamav3", model={"template": "{% if %}"})


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


async def test_without_a_chat_template_the_text_is_continued_with_a_warning(open_chat):
    async with open_chat("exllamav3", model={"template": None}) as chat:
        assert "no-chat-template" in [caution.code for caution in chat.loaded.cautions]
        assert (await chat.engine.tokenize(asked("abc"))).ids == tuple(b"abc")


@both
async def test_the_loaded_model_is_described(open_chat, library, tmp_path):
    async with open_chat(library, cache_type="q8", max_seq_len=1000) as chat:
        loaded = chat.loaded
        assert loaded.weights == (paragone.WeightsFile.of(tmp_path / "model" / "model.safetensors"),)
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


async def test_without_flash_attention_there_is_a_warning(open_chat, monkeypatch):
    windows = {"stand_in": {"windows": True}}
    async with open_chat("exllamav2", model=windows) as chat:
        assert chat.loaded.facts["prompt slice"] == "up to 1024 tokens"
    monkeypatch.setenv("STAND_IN_UNPAGED", "1")
    monkeypatch.setenv("PARAGONE_PASS_ENV", "STAND_IN_UNPAGED")
    async with open_chat("exllamav2", model=windows) as chat:
        assert [caution.code for caution in chat.loaded.cautions] == ["unpaged"]
        assert chat.loaded.facts["attention"] == "unpaged"
        assert chat.loaded.facts["prompt slice"] == "up to 256 tokens"  # so that windows are exact
    assert "needs flash-attn 2.5.7" in await refused(open_chat, "exllamav2", paged=True)


async def test_on_gpus_before_ampere_installed_flash_attention_is_not_used(open_chat):
    async with open_chat("exllamav2", gpus_of=7) as chat:
        assert chat.loaded.facts["attention"] == "unpaged"
    assert "of the Ampere generation" in await refused(open_chat, "exllamav2", gpus_of=7, paged=True)


@pytest.mark.parametrize(
    ("free", "tells", "context"), [(20 << 30, 1, 4096), ((1 << 30) + (4 << 20), 1, 2048), (0, 0, 4096)]
)
async def test_the_default_context_fits_in_the_free_vram(
    free, tells, context, interpreter, driver, write_model, tmp_path
):
    driver(free=free, tells=tells)
    request = paragone.OpenRequest(model=str(write_model(tmp_path / "model")), python=interpreter)
    engine = await ExLlamaV2Backend().open(request, lambda progress: None)
    await engine.close()
    assert engine.loaded.context == context
    assert [caution.code for caution in engine.loaded.cautions] == (
        [] if context == 4096 else ["context-reduced"]
    )


async def rows_of(engine, ids, **request):
    """Return the rows of all blocks of distributions, by the index of the token before them."""
    rows = {}
    async for block in engine.distributions(paragone.DistributionsRequest(ids=tuple(ids), **request)):
        data = block.data.cast("B").cast("f")
        assert len(data) == block.rows * block.vocab_size
        for row in range(block.rows):
            assert block.start + row not in rows
            rows[block.start + row] = list(data[row * block.vocab_size : (row + 1) * block.vocab_size])
    return rows


async def test_distributions_and_the_vocabulary_are_returned(open_chat):
    ids = list(b"abc" * 100)
    async with open_chat("exllamav3") as chat:
        every = await rows_of(chat.engine, ids)
        for start, batch in ((257, None), (255, 100)):
            some = await rows_of(chat.engine, ids, start=start, batch=batch)
            assert list(some) == list(range(start, 300))
            # The stand-in's logits depend only on the last token.
            assert all(some[at] == every[at] for at in some)
        vocabulary = await chat.engine.vocabulary()
        assert {len(row) for row in every.values()} == {SIZE} == {vocabulary.size}
        names = ("<|bos|>", "<|im_start|>", "<|im_end|>", "<|end_of_text|>", "[THINK]", "[/THINK]")
        pieces = [bytes([byte]) for byte in range(256)]
        pieces += [name.encode() for name in (*names, " north", " east", " south", " west")]
        # As in llama.cpp, the ids that pad the model's vocabulary have no bytes.
        assert vocabulary.fingerprint == paragone.fingerprint([*pieces, *[b""] * (SIZE - len(pieces))])
        with pytest.raises(paragone.InputError, match="cannot start at token -1"):
            await rows_of(chat.engine, [97], start=-1)
        with pytest.raises(paragone.InputError, match="A batch cannot have 0 tokens"):
            await rows_of(chat.engine, [97], batch=0)
        assert await rows_of(chat.engine, [97], start=1) == await rows_of(chat.engine, []) == {}


async def test_settings_come_first_and_a_score_ends_with_a_finish(open_chat):
    text = "é" * 150  # 300 tokens, each half a character
    async with open_chat("exllamav3") as chat:
        settings, *_ = await chat.events("Say it.", seed=7, max_tokens=2, top_k=3, stop=["x"])
        tokenized = await chat.engine.tokenize(paragone.TokenizeRequest(text="é<|im_end|>"))
        events = [event async for event in chat.engine.score(paragone.ScoreRequest(text=text, top=1))]
        for short in ("", "a"):  # no token follows another
            none = [event async for event in chat.engine.score(paragone.ScoreRequest(text=short))]
            assert [type(event) for event in none] == [paragone.PromptProgress, paragone.Finish]
    assert (settings.seed, settings.threads, settings.prompt_ids) == (7, None, None)
    assert settings.prompt == "<|im_start|>user\nSay it.<|im_end|>\n<|im_start|>assistant\n"
    sampling = dict(settings.sampling)
    assert (sampling["top_k"], sampling["seed"], sampling["stop"]) == (3, 7, ["x"])
    assert (sampling["temperature"], sampling["penalty_last_n"]) == (0.8, 64)  # default values
    assert tokenized.ids == (0xC3, 0xA9, 258)
    progress = [event for event in events if isinstance(event, paragone.PromptProgress)]
    assert [(one.done, one.total) for one in progress] == [(0, 299), (256, 299), (299, 299)]
    tokens = [event for event in events if isinstance(event, paragone.Token)]
    assert [token.id for token in tokens] == list(text.encode()[1:])
    assert {token.n_bytes for token in tokens} == {1}
    assert "".join(token.text for token in tokens) == "�" + "é" * 149
    assert isinstance(events[-1], paragone.Finish)
    assert (events[-1].reason, events[-1].usage.prompt_tokens) == ("stop", 1)


async def test_an_unknown_kind_of_vocabulary_has_no_fingerprint(open_chat):
    unknown = {"tokenizer_changes": {"decoder": None, "pre_tokenizer": None}}
    async with open_chat("exllamav3", model=unknown) as chat:
        with pytest.raises(paragone.EngineError) as caught:
            await chat.engine.vocabulary()
        assert caught.value.message == (
            "The bytes of the tokens of model are unknown: its tokenizer.json describes neither byte-level BPE "
            "nor SentencePiece."
        )
        tokens = await chat.score("abc")
        assert [(token.text, token.n_bytes) for token in tokens] == [("b", None), ("c", None)]


@pytest.mark.parametrize(
    ("tokens_a_second", "chunk"), [(1_000, 256), (10_000, 512), (30_000, 1792), (10**6, 2048)]
)
def test_the_chunk_size_adapts_so_that_a_stop_is_fast(tokens_a_second, chunk):
    adapted = 512
    for _ in range(4):
        adapted = next_chunk(adapted, 2048, adapted, adapted / tokens_a_second)
    assert adapted == chunk
    assert chunk == 256 or chunk / tokens_a_second <= 0.06


def test_short_chunks_do_not_change_the_chunk_size():
    assert next_chunk(512, 2048, 10, 3.0) == next_chunk(512, 2048, 512, 0.0) == 512
