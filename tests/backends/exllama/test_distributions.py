"""Run settings, tokens, scores, distributions and vocabularies, with the stand-in of the libraries."""

import contextlib
import math

import pytest

from paragone import (
    ContextOverflow,
    DistributionsRequest,
    EngineError,
    Finish,
    InputError,
    Message,
    OpenRequest,
    PromptProgress,
    RunRequest,
    RunSettings,
    ScoreRequest,
    Token,
    TokenizeRequest,
    fingerprint,
)
from paragone_exllama.backend import ExLlamaV2Backend, ExLlamaV3Backend

BACKENDS = {"exllamav2": ExLlamaV2Backend, "exllamav3": ExLlamaV3Backend}
SIZE = 320
"""Size of the model's vocabulary according to config.json; the tokenizer has 266 tokens."""

both = pytest.mark.parametrize("library", list(BACKENDS))


@pytest.fixture
def opened(interpreter, driver, write_model, tmp_path):
    """Open a model in a worker with the stand-in; its engine is closed at the end."""

    @contextlib.asynccontextmanager
    async def open_it(library, *, model=None, **options):
        driver()
        folder = write_model(tmp_path / "model", **(model or {}))
        request = OpenRequest(model=str(folder), options={"max_seq_len": 1024, **options}, python=interpreter)
        engine = await BACKENDS[library]().open(request, lambda progress: None)
        try:
            yield engine
        finally:
            await engine.close()

    return open_it


async def run(engine, **request):
    asked = RunRequest(messages=(Message(role="user", text="Say it."),), **request)
    return [event async for event in engine.run(asked)]


async def blocks(engine, ids, **request):
    """Return the rows of all blocks, by the index of the token before them."""
    rows = {}
    async with contextlib.aclosing(
        engine.distributions(DistributionsRequest(ids=tuple(ids), **request))
    ) as stream:
        async for block in stream:
            data = block.data.cast("B").cast("f")
            assert len(data) == block.rows * block.vocab_size
            for row in range(block.rows):
                assert block.start + row not in rows
                rows[block.start + row] = list(data[row * block.vocab_size : (row + 1) * block.vocab_size])
    return rows


def log_softmax(row):
    peak = max(row)
    norm = peak + math.log(sum(math.exp(value - peak) for value in row))
    return [value - norm for value in row]


@both
async def test_a_run_first_reports_the_settings_in_force(opened, library):
    async with opened(library) as engine:
        settings, *_ = await run(engine, sampling={"seed": 7, "max_tokens": 2, "top_k": 3, "stop": ["x"]})
        assert isinstance(settings, RunSettings)
        assert settings.seed == 7
        assert settings.threads is None
        assert settings.prompt_ids is None
        assert settings.prompt == "<|im_start|>user\nSay it.<|im_end|>\n<|im_start|>assistant\n"
        sampling = dict(settings.sampling)
        assert (sampling["top_k"], sampling["seed"], sampling["stop"]) == (3, 7, ["x"])
        assert sampling["temperature"] == 0.8  # a default value is reported too
        assert sampling["penalty_last_n"] == 64


@both
async def test_a_random_seed_is_reported_and_reproduces_the_answer(opened, library):
    def said(events):
        return [event.id for event in events if isinstance(event, Token)]

    hot = {"max_tokens": 40, "temperature": 5.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
    async with opened(library) as engine:
        first = await run(engine, sampling=hot, cold=True)
        other = await run(engine, sampling=hot, cold=True)
        assert first[0].seed != other[0].seed
        assert said(first) != said(other)
        again = await run(engine, sampling={**hot, "seed": first[0].seed}, cold=True)
        assert said(again) == said(first)


@both
async def test_the_ids_of_a_prompt_are_the_same_as_when_tokenized(opened, library):
    async with opened(library) as engine:
        settings, *_, finish = await run(engine, sampling={"max_tokens": 1}, prompt_ids=True)
        messages = (Message(role="user", text="Say it."),)
        tokenized = await engine.tokenize(TokenizeRequest(messages=messages))
        assert (tokenized.text, tokenized.ids) == (settings.prompt, settings.prompt_ids)
        assert finish.usage.prompt_tokens == len(tokenized.ids)
        assert (await engine.tokenize(TokenizeRequest(text="é<|im_end|>"))).ids == (0xC3, 0xA9, 258)


@both
async def test_a_score_streams_progress_tokens_and_a_finish(opened, library):
    text = "é" * 300  # 600 tokens, each half a character
    async with opened(library) as engine:
        events = [event async for event in engine.score(ScoreRequest(text=text, top=1))]
    progress = [event for event in events if isinstance(event, PromptProgress)]
    assert [(one.done, one.total) for one in progress] == [(0, 599), (256, 599), (512, 599), (599, 599)]
    tokens = [event for event in events if isinstance(event, Token)]
    assert [token.id for token in tokens] == list(text.encode()[1:])
    assert {token.n_bytes for token in tokens} == {1}
    assert "".join(token.text for token in tokens) == "�" + "é" * 299
    assert isinstance(events[-1], Finish)
    assert (events[-1].reason, events[-1].usage.prompt_tokens) == ("stop", 1)


@both
async def test_a_control_token_has_no_bytes_and_a_thinking_tag_has_its_text(opened, library, scored):
    async with opened(library) as engine:
        _, control, tag, _ = await scored(engine, "ab<|im_end|>[/THINK]c", top=SIZE)
    assert (control.id, control.text, control.n_bytes) == (258, "", 0)
    assert (tag.id, tag.text, tag.n_bytes) == (261, "[/THINK]", 8)
    assert "<|im_end|>" in [one.text for one in tag.top]  # the text of alternatives is the name of the token


@both
@pytest.mark.parametrize("text", ["", "a"])
async def test_a_text_without_a_second_token_has_no_scores(opened, library, text):
    async with opened(library) as engine:
        events = [event async for event in engine.score(ScoreRequest(text=text))]
    assert [type(event) for event in events] == [PromptProgress, Finish]


@both
async def test_a_score_is_stopped(opened, library, scored):
    async with opened(library) as engine:
        events = []
        async for event in engine.score(ScoreRequest(text="abc" * 300, top=200)):
            events.append(event)
            if isinstance(event, Token):
                await engine.stop()
        assert events[-1].reason == "cancelled"
        assert len(await scored(engine, "abc")) == 2


@both
async def test_distributions_agree_with_the_score(opened, library, scored):
    text = "abc" * 200
    async with opened(library) as engine:
        rows = await blocks(engine, text.encode())
        tokens = await scored(engine, text, top=3)
    assert list(rows) == list(range(600))
    for at, token in enumerate(tokens):
        logprobs = log_softmax(rows[at])
        assert logprobs[token.id] == pytest.approx(token.logprob, abs=1e-5)
        best = sorted(range(SIZE), key=lambda one: -logprobs[one])[:3]
        assert [one.id for one in token.top] == best


@both
async def test_they_begin_at_the_requested_token_and_have_the_width_of_the_vocabulary(opened, library):
    ids = list(b"abc" * 200)
    async with opened(library) as engine:
        every = await blocks(engine, ids)
        for start, batch in ((300, None), (599, 1), (256, 100), (255, 256), (0, 5000)):
            some = await blocks(engine, ids, start=start, batch=batch)
            assert list(some) == list(range(start, 600))
            # The stand-in's logits depend only on the last token.
            assert all(some[at] == every[at] for at in some)
        vocabulary = await engine.vocabulary()
    assert {len(row) for row in every.values()} == {SIZE} == {vocabulary.size}


@both
async def test_invalid_sequences_are_refused(opened, library):
    async with opened(library) as engine:
        room = engine.loaded.context
        assert len(await blocks(engine, [97] * room, start=room - 1)) == 1
        with pytest.raises(ContextOverflow) as caught:
            await blocks(engine, [97] * (room + 1))
        assert (caught.value.tokens, caught.value.context) == (room + 1, room)
        for request, said in (
            ({"ids": [97, SIZE]}, "there is no token 320"),
            ({"ids": [97, -1]}, "there is no token -1"),
            ({"ids": [97], "start": -1}, "cannot start at token -1"),
            ({"ids": [97], "batch": 0}, "A batch cannot have 0 tokens"),
        ):
            with pytest.raises(InputError, match=said):
                await blocks(engine, **request)
        assert len(await blocks(engine, [97, SIZE - 1])) == 2
        assert await blocks(engine, [97], start=1) == await blocks(engine, []) == {}


@both
async def test_distributions_are_stopped_between_blocks(opened, library):
    async with opened(library) as engine:
        seen = []
        request = DistributionsRequest(ids=(97,) * 1000)
        async with contextlib.aclosing(engine.distributions(request)) as stream:
            async for block in stream:
                seen.append(block.start)
                await engine.stop()
        assert len(seen) < 20
        async with contextlib.aclosing(engine.distributions(request)) as stream:
            async for _ in stream:
                break
        assert len(await blocks(engine, [97, 98])) == 2


@both
async def test_they_clear_the_cache(opened, library):
    async with opened(library) as engine:
        long = (Message(role="user", text="Say it." + " north" * 600),)
        await anext(stream := engine.run(RunRequest(messages=long, sampling={"max_tokens": 2})))
        await stream.aclose()
        await blocks(engine, [97, 98])
        events = [event async for event in engine.run(RunRequest(messages=long, sampling={"max_tokens": 2}))]
        assert events[-1].usage.cached_tokens == 0


@both
async def test_the_fingerprint_is_made_from_the_bytes_of_the_tokens(opened, library):
    names = ("<|bos|>", "<|im_start|>", "<|im_end|>", "<|end_of_text|>", "[THINK]", "[/THINK]")
    pieces = [bytes([byte]) for byte in range(256)]
    pieces += [name.encode() for name in (*names, " north", " east", " south", " west")]
    async with opened(library) as engine:
        vocabulary = await engine.vocabulary()
        assert vocabulary == await engine.vocabulary()
    assert vocabulary.size == SIZE
    # As in llama.cpp, the ids that pad the model's vocabulary have no bytes.
    assert vocabulary.fingerprint == fingerprint([*pieces, *[b""] * (SIZE - len(pieces))])


@both
async def test_an_unknown_kind_of_vocabulary_has_no_fingerprint(opened, library, scored):
    async with opened(
        library, model={"tokenizer_changes": {"decoder": None, "pre_tokenizer": None}}
    ) as engine:
        with pytest.raises(EngineError) as caught:
            await engine.vocabulary()
        assert caught.value.sentence == (
            "The bytes of the tokens of model are unknown: its tokenizer.json describes neither byte-level BPE "
            "nor SentencePiece."
        )
        tokens = await scored(engine, "abc")
        assert [(token.text, token.n_bytes) for token in tokens] == [("b", None), ("c", None)]
