"""The place where answers part, and going on from a token of it."""

import dataclasses

import pytest
from tests.workbench.test_divergence import run, tokens

from paragone import Alternative, Token
from paragone_workbench.compare.divergence import Divergence, can_begin_with, fork_of, prefix_with
from paragone_workbench.runs.result import Prefilled


def told(text, *others, chosen_first=True):
    """A token with its alternatives, most likely first."""
    texts = (text, *others) if chosen_first else (*others, text)
    top = tuple(Alternative(text=it, id=ord(it[-1]), logprob=-1.0 - at) for at, it in enumerate(texts))
    return Token(text=text, id=ord(text[-1]), logprob=-1.0, top=top, time=0.0)


def test_each_engine_continues_from_a_chosen_token():
    one, other = run("The", " sky", told(" is", " looks")), run("The", " sky", told(" looks", " is", " was"))
    fork = fork_of([("a", one, None), ("b", other, Divergence(token=2, char=7))])
    assert (fork.before, fork.channel, fork.is_exact) == ("The sky", "answer", True)
    assert [side.token.text for side in fork.sides] == [" is", " looks"]
    was = fork.sides[1].choices[2]
    first, second = (prefix_with(fork, side, was) for side in fork.sides)
    assert first.text == second.text == "The sky was"
    assert (first.tokens[:2], second.tokens[:2]) == (one.tokens[:2], other.tokens[:2])
    assert (second.tokens[2].id, second.tokens[2].logprob) == (was.id, was.logprob)
    assert first.tokens[2].logprob is None, "the first engine did not report this token"
    assert first.prefilled == Prefilled(text=11, tokens=3, run_id=one.id, chosen=" was")


def test_a_token_chosen_by_the_user_is_not_attributed_to_the_engine():
    chosen = dataclasses.replace(
        run("The", told(" sky", " sea")), prefilled=Prefilled(text=7, tokens=2, run_id="r", chosen=" sky")
    )
    fork = fork_of(
        [("a", chosen, None), ("b", run("The", told(" sea", " sky")), Divergence(token=1, char=4))]
    )
    assert [side.sentence for side in fork.sides] == [
        "You chose “ sky” here.",
        "It was not sure: it chose “ sea” with 36.8%, and “ sky” had 13.5%.",
    ]


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        (
            told(" is", " looks"),
            told(" looks", " is", chosen_first=False),
            "At temperature 0 both choose “ is”.",
        ),
        (told(" is", " looks"), told(" looks", " is"), "At temperature 0 they diverge here too."),
        (told(" is"), Token(text=" looks", time=0.0), ""),
    ],
)
def test_the_tokens_at_temperature_0_are_shown(one, other, message):
    fork = fork_of([("a", run("The", one), None), ("b", run("The", other), Divergence(token=1, char=3))])
    assert fork.greedy_sentence == message


def test_an_answer_without_tokens_continues_from_the_same_text():
    one, other = run("The", told(" sky")), run("The", " sea", kept=False)
    fork = fork_of([("a", one, None), ("b", other, Divergence(char=6))])
    assert fork.before == "The", "the text before the token in which the answers part"
    prefix = prefix_with(fork, fork.sides[1], fork.sides[0].choices[0])
    assert (prefix.text, prefix.prefilled.tokens) == ("The sky", None)


def test_an_answer_that_diverged_earlier_cannot_continue_from_a_later_fork():
    answers = run("The", " sky", " is"), run("The", " sky", " was"), run("A", " sky", " is")
    places = None, Divergence(token=2, char=7), Divergence(token=0, char=0)
    fork = fork_of(list(zip("abc", answers, places, strict=True)))
    assert [side.parted_earlier for side in fork.sides] == [False, False, True]
    assert fork.sides[2].choices == ()
    assert prefix_with(fork, fork.sides[2], Alternative(text="x", logprob=-1.0)) is None


def test_thinking_can_be_continued_from_a_chosen_token():
    thoughts = tokens("Hm", ".", channel="thinking"), tokens("Hm", "!", channel="thinking")
    fork = fork_of(
        [("a", run(*thoughts[0], "Yes"), None), ("b", run(*thoughts[1], "No"), Divergence(token=1))]
    )
    prefix = prefix_with(fork, fork.sides[0], Alternative(text="?", logprob=-1.0))
    assert (fork.before, prefix.thinking, prefix.text) == ("Hm", "Hm?", "")


@pytest.mark.parametrize(
    ("text", "can"),
    [
        (" is", True),
        ("<br>", True),
        ("", False),
        ("\ufffd", False),
        ("<|im_end|>", False),
        ("</s>", False),
    ],
)
def test_control_tokens_and_incomplete_characters_cannot_begin_an_answer(text, can):
    assert can_begin_with(Alternative(text=text, logprob=-1.0)) is can
