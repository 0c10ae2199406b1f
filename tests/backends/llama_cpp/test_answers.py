"""Answers of the real model: text, stop sequences, seeds, cache, cancellation, log-probabilities."""

import json
import sys

import psutil
import pytest

import paragone
from paragone.options import build
from paragone.testing.runs import FLOOR

pytestmark = pytest.mark.model

CAPITAL = "Name the capital of France in one sentence."


def user(text):
    return paragone.Message(role="user", text=text)


def assistant(text, thinking=""):
    return paragone.Message(role="assistant", text=text, thinking=thinking)


def tokens_of(events):
    return [event for event in events if isinstance(event, paragone.Token)]


def test_a_long_prompt_reports_progress_in_slices(chat):
    events = chat.events("word " * 300, cold=True, max_tokens=1)
    done = [event.done for event in events if isinstance(event, paragone.PromptProgress)]
    assert done[:3] == [0, 128, 256]
    assert done[-1] == events[-1].usage.prompt_tokens


def test_characters_spread_over_tokens_are_joined(chat):
    text = "😀你 👍"
    # The grammar forces the model to write exactly this text, with the tokens of its own vocabulary.
    events = chat.events("Say it.", grammar=f'root ::= "{text}"', temperature=0)
    tokens = tokens_of(events)
    assert "".join(token.text for token in tokens) == text
    assert len(tokens) > len(text)
    assert "" in {token.text for token in tokens}
    assert not any("\ufffd" in token.text for token in tokens)


def test_bytes_of_an_incomplete_character_are_dropped(chat):
    whole = chat.events("Say it.", grammar='root ::= "你好世界"', temperature=0)
    for count in range(1, len(tokens_of(whole)), 2):
        text, finish = chat.ask("Say it.", grammar='root ::= "你好世界"', temperature=0, max_tokens=count)
        assert "你好世界".startswith(text)
        assert finish.reason == "length"


def test_a_stop_sequence_spread_over_tokens_ends_the_answer_and_is_not_part_of_it(chat):
    events = chat.events(
        "Count from 1 to 20.",
        grammar='root ::= "one, two, three, four, five"',
        temperature=0,
        stop=["never", "e, four, f"],
    )
    assert "".join(token.text for token in tokens_of(events)) == "one, two, thre"
    assert events[-1].reason == "stop"
    assert events[-1].usage.completion_tokens == len(tokens_of(events))


def test_penalties_reduce_repetition(chat):
    options = {"grammar": "root ::= [a-z ]{20}", "temperature": 0, "max_tokens": 8}
    plain, varied = (
        [token.id for token in tokens_of(chat.events("Say yes.", **options, repeat_penalty=penalty))]
        for penalty in (1.0, 5.0)
    )
    assert len(set(plain)) < len(plain)
    assert len(set(varied)) == len(varied)


def test_the_second_turn_reuses_the_cache_of_the_first(chat):
    text, first = chat.ask(CAPITAL, temperature=0, max_tokens=30, cold=True)
    assert first.usage.cached_tokens == 0
    turns = [user(CAPITAL), assistant(text), user("And of Spain?")]
    _, second = chat.ask(turns, temperature=0, max_tokens=5)
    assert second.usage.cached_tokens >= first.usage.prompt_tokens
    _, cold = chat.ask(turns, temperature=0, max_tokens=5, cold=True)
    assert cold.usage.cached_tokens == 0
    assert cold.usage.prompt_tokens == second.usage.prompt_tokens


def test_a_run_is_cancelled_inside_a_slice_of_the_prompt(chat, make_stop):
    before = chat.ask(CAPITAL, temperature=0, max_tokens=4, cold=True)[0]
    events = chat.events("word " * 900, cancel=make_stop(on_subscribe=lambda stop: stop.abort()), cold=True)
    assert not tokens_of(events)
    assert events[-1].reason == "cancelled"
    assert [event.done for event in events if isinstance(event, paragone.PromptProgress)] == [0]
    assert chat.ask(CAPITAL, temperature=0, max_tokens=4)[0] == before


def test_log_probabilities_are_the_models_not_the_samplers(chat):
    tokens = tokens_of(chat.events(CAPITAL, temperature=5, top_k=2, seed=1, max_tokens=12, logprobs=5))
    assert any(token.id != token.top[0].id for token in tokens)
    assert all(sum(2.718281828**item.logprob for item in token.top) <= 1.0001 for token in tokens)


def test_a_random_seed_is_used_unless_one_is_given(chat, make_stop):
    request = {"temperature": 1.5, "max_tokens": 1}
    first, other = (chat.events("Invent a name.", **request)[0] for _ in range(2))
    assert isinstance(first, paragone.RunSettings)
    assert first.seed != other.seed
    drawn = paragone.RunRequest(messages=(user("Invent a name."),), drawn_seed=7)
    for own, used in ((None, 7), (5, 5)):
        sampling = build(chat.engine.sampling, {"max_tokens": 1, "seed": own})
        assert next(chat.engine.generate(drawn, sampling, make_stop())).seed == used


def test_a_score_reports_progress_bytes_and_its_end(chat):
    text = "The é 語😀 " * 25
    events = chat.score(text, (user("Go."),))
    progress = [event for event in events if isinstance(event, paragone.PromptProgress)]
    assert progress[0].done == progress[0].cached
    assert [event.done for event in progress] == sorted({event.done for event in progress})
    assert {event.total for event in progress} == {progress[-1].done}
    assert len(progress) > 5
    assert "".join(token.text for token in tokens_of(events)) == text
    assert sum(token.n_bytes for token in tokens_of(events)) == len(text.encode())
    assert isinstance(events[-1], paragone.Finish)
    assert events[-1].reason == "stop"


def test_a_score_is_cancelled_inside_a_computation(chat, make_stop):
    stop = make_stop(on_subscribe=lambda stop: stop.abort())
    events = chat.score("word " * 900, (user(CAPITAL * 5),), cancel=stop)
    assert events[-1].reason == "cancelled"
    assert not tokens_of(events)
    # The cache has no tokens of the cancelled computation.
    alone = [token.logprob for token in chat.scored("word word word word")]
    chat.ask("Something else.", max_tokens=1, cold=True)
    assert [token.logprob for token in chat.scored("word word word word")] == pytest.approx(alone, abs=FLOOR)


def test_a_prompt_that_does_not_fit_is_refused_and_the_error_says_by_how_much(chat):
    with pytest.raises(paragone.ContextOverflow) as caught:
        chat.ask("word " * 1500)
    error = caught.value
    assert error.context == 1024
    assert error.tokens > 1500
    assert f"{error.tokens - 1024 + 1:,} too many" in error.message
    assert "n_ctx" in error.hint


def test_an_answer_that_fills_the_context_ends_with_a_warning(small):
    events = small.events("Tell a story. " + "word " * 190, grammar="root ::= [a-z ]{2000}")
    assert events[-1].reason == "length"
    assert [event.code for event in events if isinstance(event, paragone.Caution)] == ["context-full"]
    size = small.loaded.context
    assert events[-1].usage.prompt_tokens + events[-1].usage.completion_tokens == size
    events = small.events("Tell a story.", max_tokens=3)
    assert events[-1].reason == "length"
    assert not [event for event in events if isinstance(event, paragone.Caution)]


def test_a_grammar_can_come_from_a_file(chat, tmp_path):
    path = tmp_path / "yes.gbnf"
    path.write_text('root ::= "yes" | "no"')
    assert chat.ask("Is the sky blue?", grammar=f"@{path}")[0] in ("yes", "no")


@pytest.mark.parametrize(
    "grammar",
    [
        "root ::= (",
        'root ::= "a"{2,1}',  # llama.cpp's parser would use all memory
        "root ::= " + "(" * 30_000 + '"a"' + ")" * 30_000,  # llama.cpp's parser would overflow its stack
        "@/nowhere/at.all",
    ],
    ids=["open", "memory", "stack", "no file"],
)
def test_an_invalid_grammar_raises_an_input_error(chat, grammar):
    with pytest.raises(paragone.InputError, match="grammar"):
        chat.ask("Hello", grammar=grammar, max_tokens=5)


@pytest.mark.parametrize(
    "schema",
    [
        "{",
        '{"$ref": "https://example.org/schema.json"}',
        json.dumps({"prefixItems": [{"type": "boolean"}] * 20_000}),
        '{"type": "integer", "multipleOf": 999999937}',  # its automaton would have a state for each remainder
    ],
    ids=["no JSON", "from the network", "large", "costly"],
)
def test_an_invalid_schema_raises_an_input_error(chat, schema):
    with pytest.raises(paragone.InputError, match="schema") as raised:
        chat.ask("Hello", json_schema=schema, max_tokens=5)
    assert len(str(raised.value)) < 300
    assert "\n" not in str(raised.value)


def test_a_huge_schema_is_refused_without_much_memory(chat):
    schema = {"type": "string", "pattern": "^(((a{1,1000}){1,1000}){1,1000}){9}$"}
    before = psutil.Process().memory_info().rss
    finish = chat.ask("Hello", json_schema=json.dumps(schema), max_tokens=5)[1]
    assert finish.reason == "length"
    assert psutil.Process().memory_info().rss - before < 200 << 20


def test_a_schema_applies_to_bytes_of_several_tokens(chat):
    # no token of the model has all bytes of such a character
    text, finish = chat.ask("Hello", json_schema=json.dumps({"const": "naïve \U0001f999"}), temperature=0)
    assert json.loads(text) == "naïve \U0001f999"
    assert finish.reason == "stop"


def test_ignore_eos_continues_an_answer_after_its_end(chat):
    options = {"json_schema": '{"const": 1}', "temperature": 0, "max_tokens": 4}
    ended, endless = chat.events("Hello", **options), chat.events("Hello", **options, ignore_eos=True)
    assert (ended[-1].reason, endless[-1].reason) == ("stop", "length")
    assert endless[-1].usage.completion_tokens == 4
    (one,), (first, *ends) = tokens_of(ended), tokens_of(endless)
    assert (one.text, one.id) == ("1", first.id)
    assert [token.text for token in ends] == [""] * 3, "after the JSON nothing follows but end-of-text tokens"


def test_a_schema_without_llguidance_names_the_package(chat, monkeypatch):
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(paragone.InputError, match="llguidance") as raised:
        chat.ask("Hello", json_schema="{}")
    assert "llguidance" in raised.value.hint


def test_grammar_and_schema_exclude_each_other(chat):
    with pytest.raises(paragone.InputError, match="Only one"):
        chat.ask("Hello", grammar='root ::= "a"', json_schema="{}")


def test_prompts_without_text_raise_an_input_error(chat):
    with pytest.raises(paragone.InputError):
        chat.events([])
    with pytest.raises(paragone.InputError):
        chat.events([assistant("   ")], max_tokens=1)


def test_greedy_tokens_agree_with_the_sampler_chain(chat):
    # a penalty window of 0 tokens changes nothing, but needs llama.cpp's own samplers
    options = {"temperature": 0, "max_tokens": 24, "cold": True}
    direct = chat.events(CAPITAL, **options)
    chained = chat.events(CAPITAL, **options, repeat_penalty=1.5, penalty_last_n=0)
    assert [it.id for it in tokens_of(direct)] == [it.id for it in tokens_of(chained)]
