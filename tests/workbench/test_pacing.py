from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from paragone_workbench.experiments.voting.pacing import UNKNOWN_PACE, PacedText, Pacing

STEPS = st.lists(st.lists(st.integers(0, 40), min_size=2, max_size=4), min_size=1, max_size=12)


def progress(*answers: tuple[int, bool]) -> list[PacedText]:
    return [PacedText(produced=produced, ended=ended) for produced, ended in answers]


@given(
    STEPS,
    st.lists(st.integers(0, 12), min_size=4, max_size=4),
    st.lists(st.floats(0, 2), min_size=12, max_size=12),
)
def test_nothing_is_shown_beyond_the_slowest_answer_that_is_running(steps, ends, seconds):
    count = len(steps[0])
    pacing, now, before = Pacing(), 0.0, 0
    produced = [0] * count
    for number, step in enumerate(steps):
        for at in range(count):
            if number < ends[at]:
                produced[at] += step[at % len(step)]
        now += seconds[number]
        answers = progress(*((produced[at], number >= ends[at]) for at in range(count)))
        shown = pacing.advance(now, answers)
        running = [it.produced for it in answers if not it.ended]
        assert shown >= before
        assert shown <= (min(running) if running else max(produced))
        before = shown


def test_nothing_is_shown_before_all_answers_have_begun_or_ended():
    pacing = Pacing()
    assert pacing.advance(0, progress((500, False), (0, False))) == 0
    assert pacing.advance(1, progress((500, True), (0, False))) == 0
    assert pacing.advance(2, progress((500, True), (3, False))) == 3


def test_after_the_shorter_answer_the_longer_one_goes_on_at_the_same_pace_whichever_was_faster():
    rest = {}
    for name, other in (("waited", (900, True)), ("running", None)):
        pacing = Pacing()
        for second in range(11):
            ready = other or (second * 30, False)
            pacing.advance(second, progress((second * 30, False), ready))
        assert pacing.shown == 300
        rest[name] = [
            pacing.advance(second, progress((300, True), other or (second * 30, False)))
            for second in range(11, 16)
        ]
    assert rest["waited"] == rest["running"]


def test_a_short_answer_that_ends_before_anything_was_shown_brings_no_burst():
    pacing = Pacing()
    assert pacing.advance(5, progress((900, True), (20, True))) == 0
    assert pacing.advance(6, progress((900, True), (20, True))) == UNKNOWN_PACE


def test_everything_can_be_shown_once_all_answers_have_ended():
    pacing = Pacing()
    assert not pacing.show_all(progress((900, True), (20, False)))
    assert pacing.show_all(progress((900, True), (20, True)))
    assert pacing.advance(1, progress((900, True), (20, True))) == 900
