from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paragone import LoadedModel
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.experiments.voting.masking import MASK, MaskedStream, NameMask, names_of

SMOL = frozenset(
    names_of(
        EngineDefinition(name="box-7", backend="b", model="/models/SmolLM2-135M-Instruct.Q4_1.gguf"),
        LoadedModel(name="SmolLM2 135M Instruct", architecture="llama"),
    )
)
WORDS = [
    *("I am ", "Qwen", "qwen", "2.5", "-7B", "Llama", "llama", " 3.1", "Meta", "meta", "Hugging", " ", "Face", "-"),
    *("GPT", "-4o", "通义", "千问", "是", "box", "box-7", "SmolLM2", "135M", ".", "Ph", "Phi", "losophy", "\n", "a"),
    *("Command R", "command", "+", "ſmollm", "İ", "K", "claude", "Claude", "_", "01", "01.ai"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("I am Qwen2.5-7B-Instruct, made by Alibaba Cloud.", f"I am {MASK}, made by {MASK}."),
        ("I'm LLaMA 3.1, from Meta.", f"I'm {MASK}, from {MASK}."),
        ("As ChatGPT (GPT-4o) by OpenAI", f"As {MASK} ({MASK}) by {MASK}"),
        ("我是通义千问，阿里云的模型", f"我是{MASK}，{MASK}的模型"),
        ("I am **SmolLM**, trained by Hugging Face.", f"I am **{MASK}**, trained by {MASK}."),
        ("box-7 has 135M parameters", f"{MASK} has {MASK} parameters"),
        ("Claude's and Phi-3's", f"{MASK}'s and {MASK}'s"),
    ],
)
def test_names_of_models_and_makers_are_masked(text, masked):
    assert NameMask(SMOL).masked(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "Use the command line; a metaphor of philosophy yields granite.",
        "A Meta-analysis of llamas by Claudette",
        "The small instruct model gives a careful answer to the chat in Q4.",
    ],
)
def test_words_that_only_look_like_names_stay(text):
    small = EngineDefinition(name="small", backend="b", model="a-instruct-chat-q4.gguf")
    assert NameMask(SMOL.union(names_of(small, None))).masked(text) == text


def test_names_in_the_prompt_are_not_masked():
    mask = NameMask(SMOL, "Is Llama 3 better than SmolLM2?")
    assert mask.masked("Llama 3, SmolLM2 or Qwen") == f"Llama 3, SmolLM2 or {MASK}"


@pytest.mark.parametrize(
    ("name", "text", "masked"),
    [
        ("Сайга-8B", "Я Сайга, САЙГА и сайга.", f"Я {MASK}, {MASK} и {MASK}."),
        ("Österreich", "I am Österreich-7B, ÖSTERREICH or österreich.", f"I am {MASK}, {MASK} or {MASK}."),
        ("İnce", "I am İnce.", f"I am {MASK}."),
    ],
)
def test_names_that_are_not_of_latin_letters_are_masked_however_they_are_written(name, text, masked):
    mask = NameMask(names_of(EngineDefinition(name=name, backend="b", model=name), None))
    assert mask.masked(text) == masked
    stream = MaskedStream(mask)
    assert "".join(map(stream.feed, text)) + stream.end() == masked
    assert NameMask([name], f"Are you {name}?").masked(name) == name


@given(st.lists(st.one_of(st.sampled_from(WORDS), st.text(max_size=3)), max_size=14), st.data())
def test_an_answer_in_pieces_is_masked_as_a_whole_one(words, data):
    text = "".join(words)
    mask = NameMask(SMOL, "a prompt")
    stream = MaskedStream(mask)
    given_out = ""
    rest = text
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        given_out += stream.feed(rest[:size])
        rest = rest[size:]
        assert mask.masked(text).startswith(given_out)
    assert given_out + stream.end() == mask.masked(text)


def test_ordinary_text_is_given_out_at_once():
    stream = MaskedStream(NameMask(SMOL))
    assert stream.feed("Blue light is scattered ") == "Blue light is scattered "
    assert stream.feed("by ai") == "by "  # AI21 may follow
    assert stream.feed("r.") == "air."
