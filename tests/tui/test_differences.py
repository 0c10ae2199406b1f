"""What is marked in an answer that has little in common with the reference's."""

from rogue_backend.definitions import rogue

from paragone_tui.screens.lanes.differences import _Compared
from paragone_workbench.runs.run import Run

SHARED = "air has small molecules, so "


def answer(text):
    run = Run.of(rogue("steady"))
    run.add("answer", text)
    return run


def test_answers_that_share_little_have_what_they_share_marked():
    reference, run = answer(SHARED + "one " * 50), answer("We say that " + SHARED + "two " * 50)
    compared = _Compared(reference)
    assert {mark.look for mark in compared.marks(run)} == {"shares"}
    assert compared.remark(run) == "", "the answers still grow"
    reference.phase = run.phase = "ended"
    run.add("answer", "three ")
    assert [run.text[mark.start : mark.end] for mark in compared.marks(run)] == [SHARED.strip()]
    assert compared.remark(run) == "9% of the words are the same; what both say is underlined."


def test_answers_that_share_much_have_what_differs_marked():
    reference, run = answer("one " * 50), answer("one " * 25 + "two " + "one " * 24)
    reference.phase = run.phase = "ended"
    compared = _Compared(reference)
    assert [(run.text[mark.start : mark.end], mark.look) for mark in compared.marks(run)] == [
        ("two", "differs")
    ]
    assert compared.remark(run) == ""
