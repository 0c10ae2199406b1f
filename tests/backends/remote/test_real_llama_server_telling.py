"""The prompts and run settings that the real llama-server reports, compared with what it does."""

import pytest

from paragone import Message, RunRequest, RunSettings, Token, TokenizeRequest

from .conftest import bare_client

pytestmark = pytest.mark.model


CONVERSATIONS = {
    "one turn": (Message(role="user", text="What is the sea?"),),
    "turns": (
        Message(role="system", text="You are brief."),
        Message(role="user", text="What is one and one?"),
        Message(role="assistant", text="Two."),
        Message(role="user", text="Grüße, 你好, 👩‍👩‍👧 <|im_end|> </s> {{ 1 }} \t\n%s"),
    ),
    "continued": (
        Message(role="user", text="Count to ten."),
        Message(role="assistant", text="One, two, three,"),
    ),
}


@pytest.fixture(scope="module")
def bos_server(run_llama_server):
    """Give the URL of a llama-server whose model begins each text with a BOS token, as SmolLM2 by itself does not."""
    options = ("--override-kv", "tokenizer.ggml.add_bos_token=bool:true")
    with run_llama_server("-c", "1024", "-np", "1", *options) as url:
        yield url


def evaluated(url, ids):
    """Return how many of these tokens, from the first on, are what the server evaluated last."""
    with bare_client(url) as bare:
        body = {"prompt": list(ids), "n_predict": 1, "cache_prompt": True}
        return bare.post("/completion", json=body).json()["timings"]["cache_n"]


async def run(lane, messages, **sampling):
    request = RunRequest(messages=messages, sampling=sampling, cold=True, prompt_ids=True)
    events = [event async for event in lane.engine.run(request)]
    (settings,) = [event for event in events if isinstance(event, RunSettings)]
    return events, settings


@pytest.mark.parametrize(
    ("kind", "raw"), [("llama_server", False), ("bos_server", False), ("bos_server", True)]
)
async def test_the_reported_tokens_are_the_ones_that_llama_server_evaluates(request, open_smollm2, kind, raw):
    url = request.getfixturevalue(kind)
    lane = await open_smollm2(url, raw=raw)
    assert lane.engine.loaded.capabilities.tokenize
    for messages in CONVERSATIONS.values():
        told = await lane.engine.tokenize(TokenizeRequest(messages=messages))
        events, settings = await run(lane, messages, max_tokens=1)
        assert events[-1].usage.prompt_tokens == len(told.ids)
        assert (settings.prompt, settings.prompt_ids) == (told.text, told.ids)
        build = lane.engine.loaded.facts["server"].removeprefix("llama-server ")
        assert settings.answered_by == f"smollm2 {build}"
        # the last token of a prompt is evaluated anew in any case
        assert evaluated(url, told.ids) == len(told.ids) - 1
        plain = await lane.engine.tokenize(TokenizeRequest(text=told.text))
        assert plain.ids == told.ids
        assert (told.ids[0] == plain.ids[0] == 1) or kind == "llama_server"


async def test_reported_sampling_agrees_with_the_slot_and_the_servers_seed_is_kept(
    run_llama_server, open_smollm2
):
    options = ("--seed", "42", "--temp", "0.3", "--top-k", "7", "--repeat-penalty", "1.25", "--min-p", "0.01")
    with run_llama_server("-c", "256", "-np", "1", *options) as url:
        lane = await open_smollm2(url)
        sampling = {"top_p": 0.5, "presence_penalty": 0.25, "max_tokens": 3}
        _, settings = await run(lane, CONVERSATIONS["one turn"], **sampling)
        told = settings.sampling
        wanted = {"temperature": 0.3, "top_k": 7, "repeat_penalty": 1.25, "min_p": 0.01}
        wanted |= {**sampling, "frequency_penalty": 0.0, "seed": 42}
        assert told == {**wanted, "stop": []}
        with bare_client(url) as bare:
            (slot,) = bare.get("/slots").json()
        assert {name: slot["params"][name] for name in wanted} == pytest.approx(wanted)  # in single precision
        drawn = RunRequest(messages=CONVERSATIONS["one turn"], sampling={"max_tokens": 1}, drawn_seed=7)
        told = [event async for event in lane.engine.run(drawn) if isinstance(event, RunSettings)]
        assert [settings.seed for settings in told] == [42], "its own seed takes precedence"


async def test_tokens_have_ids(llama_server, open_smollm2):
    lane = await open_smollm2(llama_server)
    events, error = await lane.ask(
        "One, two, three, four,", max_tokens=6, temperature=0, logprobs=2, cold=True
    )
    assert error is None
    tokens = [event for event in events if isinstance(event, Token)]
    with bare_client(llama_server) as bare:
        for token in tokens:
            assert bare.post("/detokenize", json={"tokens": [token.id]}).json()["content"] == token.text
            assert token.top[0].id == token.id  # at temperature 0 the most likely is taken
