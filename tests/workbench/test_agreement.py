"""How greedy answers agree with those of a reference."""

import pytest
from tests.workbench.conversation_writer import result_of

from paragone import Token
from paragone.json_values import objects_at
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.measure.free_running import agreement as agreement_json
from paragone_workbench.measure.free_running import is_loop, summarize
from paragone_workbench.runs.result import RunResult

SENSE = tuple(f" word{number}" for number in range(100))
LOOP = (" Well", ",", *(" so", " on") * 60)


def answer(*texts: str, kept: bool = True, finish: str = "stop") -> RunResult:
    """An answer of these tokens."""
    return result_of(
        EngineDefinition(name="a", backend="x", model="m"),
        "".join(texts),
        finish=finish,
        manifest={"request": {"logprobs": 0}} if kept else {},
        tokens=tuple(Token(text=text, time=0.0) for text in texts) if kept else (),
    )


def agreement(pairs) -> dict:
    return agreement_json("big", "small", pairs)


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (SENSE, False),
        (LOOP[:40], False),  # too short to tell
        ((*LOOP, " at", " last"), False),
        ((*SENSE, *[" ha"] * 99), True),
        (tuple(f" n{number % 16:02}" for number in range(80)), True),
        (tuple(f" n{number % 17:02}" for number in range(80)), False),
        (("\n",) * 300, True),
        ((), False),
    ],
)
def test_an_answer_that_ends_in_repetitions_is_a_loop(texts, expected, kept):
    assert is_loop(answer(*texts, kept=kept)) is expected


def test_forks_are_counted_in_tokens_and_identical_answers_have_no_fork():
    pairs = [
        (answer("The", " sea"), answer("The", " sea")),
        (answer("The", " sea"), answer("The", " sky")),
        (answer("A", " b", " c", " d"), answer("A", " b", " c")),
        (answer("Yes"), answer("No")),
    ]
    found = agreement(pairs)
    forks = {"unit": "token", "known": 3, "p25": 0.5, "median": 1, "p75": 2}
    assert (found["prompts"], found["identical"], found["forks"]) == (4, 1, forks)
    assert found["length_ratio"] == pytest.approx(8 / 9)
    assert found["sentence"] == (
        "small gives the same greedy answer as big to 1 of 4 prompts (25%, 95% interval 5% to 70%). Half of the other answers diverge "
        "within the first 2 tokens (quartiles of the equal tokens: 0 and 2)."
    )


def test_without_tokens_the_forks_are_counted_in_characters():
    pairs = [(answer("The", " sea"), answer("The", " sky", kept=False)), (answer("No"), answer("Yes"))]
    found = agreement(pairs)
    assert (found["forks"]["unit"], found["forks"]["known"], found["forks"]["median"]) == (
        "character",
        2,
        2.5,
    )
    assert "within the first 3 characters (quartiles of the equal characters: 1 and 4)" in found["sentence"]


def test_the_fork_of_a_cut_answer_is_unknown():
    cut = answer("The", " sea", finish="length")
    found = agreement([(cut, answer("The", " sea", " is", finish="length"))])
    assert found["forks"] == {"unit": "token", "known": 0, "p25": None, "median": None, "p75": None}
    assert found["sentence"].endswith("95% interval 0% to 79%).")


LOST, KEPT = (answer(*SENSE), answer(*LOOP)), (answer(*SENSE), answer(*SENSE))


@pytest.mark.parametrize(
    ("lost", "sound", "collapsed"), [(2, 3, False), (3, 5, True), (3, 6, False), (6, 10, True)]
)
def test_an_engine_has_collapsed_if_most_answers_are_lost(lost, sound, collapsed):
    found = agreement([LOST] * lost + [KEPT] * (sound - lost))
    assert (found["lost"], found["sound"], found["collapsed"]) == (lost, sound, collapsed)
    assert found["sentence"].startswith("small has collapsed: ") is collapsed


def test_significantly_more_loops_are_reported_without_a_collapse():
    many, few = agreement([LOST] * 7 + [KEPT] * 13), agreement([LOST] * 4 + [KEPT] * 16)
    turned = agreement([(second, first) for first, second in [LOST] * 7 + [KEPT] * 13])
    # (1.96 + 0.84)² · (0.2 − 0.2²) / 0.2² = 31.4
    assert [it["prompts_needed"] for it in (many, few, turned)] == [None, 32, None]
    assert many["sentence"].startswith(
        "small gives degenerate answers more often than big: its answers to 7 of the 20 prompts"
    )
    assert few["sentence"].startswith(
        "Whether small gives degenerate answers more often than big is open (4 answers against 0); about 12 more prompts would settle this. "
        "small gives the same greedy answer"
    )
    assert turned["sentence"].startswith("small gives the same")


def test_a_summary_compares_only_prompts_that_both_answered():
    big = {0: answer("a"), 1: answer("b", finish="length"), 2: answer("c")}
    small = {1: answer("b"), 2: answer(), 3: answer("d")}
    found = summarize([("big", big), ("small", small), ("none", {})])
    assert [(it["engine"], it["answers"], it["cut"], it["empty"]) for it in objects_at(found, "engines")] == [
        ("big", 3, 1, 0), ("small", 3, 0, 1), ("none", 0, 0, 0),
    ]  # fmt: skip
    first, none = objects_at(found, "candidates")
    assert (first["prompts"], first["identical"]) == (2, 1)
    assert [none[name] for name in ("prompts", "interval", "length_ratio", "sentence", "collapsed")] == [
        0, None, None, "", False,
    ]  # fmt: skip
