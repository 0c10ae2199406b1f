"""The soak: a short one, and that its checks find what they look for."""

import subprocess

import psutil
import pytest
from bench.soak.key_times import KeyTime
from bench.soak.memory import MIB, MemoryOverTime
from bench.soak.numbered_server import token
from bench.soak.plan import Plan
from bench.soak.processes import Processes
from bench.soak.saved import Answers, Saved, SavedRun, wrong_in_history
from bench.soak.server_process import SentAnswer
from bench.soak.soak import soak


def text(tokens, request="1.1"):
    return "".join(token(request, index) for index in range(tokens)).rstrip()


def sent(tokens, end="end"):
    """An answer of the server with a token each tenth of a second."""
    times = [index / 10 for index in range(tokens)]
    return SentAnswer(asked="p2.1", times=times, end=end, ended=tokens / 10)


def wrong(answer, *runs, slow_s=0.0):
    answers = Answers({"1.1": answer}, [SavedRun("server", *run) for run in runs], rate=10)
    return list(answers.wrong(lambda moment: slow_s))


def test_a_short_soak_finds_no_fault(tmp_path):
    plan = Plan(
        minutes=0.08,
        seed=1,
        folder=tmp_path / "soak",
        lanes=(2,),
        with_model=False,
        pause_s=0.3,
        fault_pause_s=1.0,
        rate=20.0,
    )
    outcome = soak(plan)
    # How long keys took says nothing here: other tests run meanwhile.
    assert [wrong for wrong in outcome.wrong if not wrong.startswith("a key was answered")] == []
    assert min(outcome.prompts, outcome.suites, outcome.answers.tokens) > 0
    assert "make soak MINUTES=0.08 SEED=1" in outcome.repeat
    assert "numbered tokens sent" in outcome.table()
    assert outcome.json()["prompts"] == outcome.prompts


def test_the_soak_finds_faulty_answers():
    for answer, run in (
        (sent(30), ("done", text(30))),
        (sent(30, "gone"), ("stopped", text(30))),
        (sent(30, "gone"), ("interrupted", text(26))),
        (sent(3, ""), ("failed", text(3))),  # the server was killed
    ):
        assert wrong(answer, run) == []
    for answer, runs, said in (
        (sent(30), [("done", text(29))], "has 29 of 30 tokens"),
        (sent(30, "gone"), [("interrupted", text(20))], "lacks tokens from 20 on, which came 1.00 s before"),
        (sent(30, "gone"), [], "no run in the history"),
        (sent(30), [("done", text(30)), ("done", text(30))], "is in the history 2 times"),
        (sent(30), [("done", text(30).replace("q1.1.7", "q1.1.8"))], "is not what the server sent"),
        (sent(30), [("done", text(30)), ("done", text(3, "9.9"))], "has an answer to request 9.9"),
    ):
        (found,) = wrong(answer, *runs)
        assert said in found
    assert wrong(sent(30, "gone"), ("interrupted", text(20)), slow_s=0.6) == [], "a busy machine excuses it"


def test_the_soak_finds_faults_of_the_history():
    runs = [SavedRun("server", "running", "")]
    saved = Saved(runs, {"asked": 2}, {"suite1": ["done", "failed"]}, "row 3 missing")
    assert list(wrong_in_history(saved, ["asked", "lost"], {"suite1": 2})) == [
        "the history is damaged: row 3 missing",
        "the prompt 'asked' is in the history 2 times",
        "the prompt 'lost' is in the history 0 times",
        'suite1 has not 2 finished runs but {"done": 1, "failed": 1}',
        "1 runs are still marked as running after all programs ended",
    ]


def test_a_slow_key_is_a_fault_unless_other_programs_used_the_cpu():
    for answer_s, echo_s, waited_s, late in (
        (0.12, 0, 0.01, True),
        (0.5, 0.3, 0, False),
        (0.5, 0, 0.2, True),
    ):
        assert KeyTime(0, answer_s, echo_s, waited_s, cpu_s=0.01).is_late == late


def test_the_soak_finds_growing_memory():
    flat, growing = MemoryOverTime("flat"), MemoryOverTime("growing")
    for minute in range(60):
        for memory, slope in ((flat, 0), (growing, 0.1 * MIB)):
            memory.seconds.append(minute * 60)
            # The warm-up does not count.
            memory.bytes.append(int(50 * MIB + slope * minute - (20 * MIB if minute < 29 else 0)))
    assert flat.is_flat
    assert growing.growth == pytest.approx(6, abs=0.1)
    assert not growing.is_flat


def test_the_soak_finds_remaining_processes():
    program = subprocess.Popen(["sh", "-c", "sleep 60 & echo; wait"], stdout=subprocess.PIPE)
    with program, program.stdout:
        program.stdout.readline()
        children = Processes(psutil.Process(program.pid), grace_s=0.1)
        children.note()
        (sleep,) = psutil.Process(program.pid).children()
        program.kill()
    assert [left.split(": ", 1)[1] for left in children.left()] == ["sleep 60"]
    sleep.kill()
    sleep.wait()
    assert children.left() == []
