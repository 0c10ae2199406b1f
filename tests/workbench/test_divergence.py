"""Where two answers part, and how sure an engine was of a token."""

from math import log

import pytest
from tests.workbench.conversation_writer import result_of

from paragone import Alternative, Token
from paragone_workbench.compare.divergence import (
    Divergence,
    confidence,
    divergence,
    divergence_message,
    place_of,
)
from paragone_workbench.engines.definitions import EngineDefinition

IDS = {" ": 0}


def tokens(*texts, channel="answer", ids=True):
    return [
        Token(text=text, channel=channel, id=IDS.setdefault(text, len(IDS)) if ids else None, time=0.0)
        for text in texts
    ]


def run(*parts, name="a", finish="stop", kept=True):
    """A run that ended, whose tokens have these texts."""
    every = [it for part in parts for it in ([part] if isinstance(part, Token) else tokens(part))]
    return result_of(
        EngineDefinition(name=name, backend="x", model="m"),
        "".join(it.text for it in every if it.channel == "answer"),
        thinking="".join(it.text for it in every if it.channel == "thinking"),
        finish=finish,
        manifest={"request": {"logprobs": 3}} if kept else {},
        tokens=tuple(every) if kept else (),
    )


@pytest.mark.parametrize(
    ("first", "second", "token", "char"),
    [
        (run("The", " sea", "."), run("The", " sea", "."), None, None),
        (run("The", " sea"), run("The", " sky"), 1, 5),
        # one is the beginning of the other
        (run("The", " sea"), run("The", " sea", " is"), 2, 7),
        (run("The", " sea", finish="length"), run("The", " sea", " is"), None, None),
        (run("The", " sea"), run("The", " sea", " is", finish="length"), 2, 7),
        (run("The", " sea", finish=None), run("The", " sea", " is"), None, None),
        (run(), run("The"), 0, 0),
        (run(), run(), None, None),
        # a token that only ends the answer is none of it
        (run("The", ""), run("The"), None, None),
        # one text in different tokens
        (run("sea", "side"), run("seaside"), 0, None),
        (run("The"), run("A", kept=False), None, 0),
    ],
)
def test_the_first_different_token_and_character_are_found(first, second, token, char):
    for same in (True, False):
        assert divergence(first, second, same_vocabulary=same) == Divergence(token=token, char=char)
        assert divergence(second, first, same_vocabulary=same) == Divergence(token=token, char=char)


def test_different_ids_with_equal_text_count_only_in_one_vocabulary():
    first = run(Token(text="a", id=1, time=0), Token(text="b", id=2, time=0))
    second = run(Token(text="a", id=1, time=0), Token(text="b", id=9, time=0))
    assert divergence(first, second, same_vocabulary=True) == Divergence(token=1)
    assert divergence(first, second, same_vocabulary=False) == Divergence()
    unknown = run(Token(text="a", time=0), Token(text="b", time=0))
    assert divergence(first, unknown, same_vocabulary=True) == Divergence(), "without ids, texts count"


def test_thinking_counts_as_tokens_but_not_as_text():
    first = run(*tokens("hm", channel="thinking"), "The", " sea")
    second = run(*tokens("hm", channel="thinking"), "The", " sky")
    found = divergence(first, second, same_vocabulary=True)
    assert found == Divergence(token=2, char=5)
    channel, span = place_of(second.tokens, found.token)
    assert (channel, second.text[slice(*span)]) == ("answer", " sky")
    assert place_of(second.tokens, 0) == ("thinking", (0, 2))


LONG = "word " * 20


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ("The sea.", "The sea.", "b gives the same text as a."),
        (
            "The seaside",
            "The seaweed",
            "b diverges from a at character 7: after “The”, it has “seaweed” instead of “seaside”.",
        ),
        (
            "Red.",
            "Red. Blue.",
            "b diverges from a at character 4: after “Red.”, b continues with “Blue.”, and a ends.",
        ),
        (
            f"{LONG}x {LONG}",
            f"{LONG}y {LONG}",
            "b diverges from a at character 100: after “… word word word word word”, it has “y word word word word word …” instead of “x word word word word word …”.",
        ),
    ],
)
def test_the_message_quotes_both_answers_at_the_divergence(first, second, message):
    assert divergence_message(run(first), run(second, name="b")) == message


def test_the_message_for_a_cut_answer_names_the_engine_of_the_shorter_answer():
    message = divergence_message(run("The sea"), run("The", name="b", finish="length"))
    assert message == "b gives the same text as a for 3 characters; b has no more."


@pytest.mark.parametrize(
    ("chosen", "other", "message"),
    [
        (0.267, 0.662, "Sampling picked “ appears” (26.7%) over “ is” (66.2%), which was more likely."),
        (0.95, 0.02, "It was sure: it chose “ appears” with 95.0%, and “ is” had 2.0%."),
        (0.6, 0.3, "It was fairly sure: it chose “ appears” with 60.0%, and “ is” had 30.0%."),
    ],
)
def test_the_confidence_of_an_engine_is_described(chosen, other, message):
    top = (Alternative(text=" is", id=2, logprob=log(other)),)
    assert confidence(Token(text=" appears", id=1, logprob=log(chosen), top=top, time=0.0)) == message
