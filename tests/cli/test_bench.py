"""`paragone bench`: over a double in real workers, and over the real SmolLM2."""

import asyncio
import contextlib
import signal
import subprocess

import pytest
from hostile_server import OPENAI, HostileServer
from loopback_server import running_in_thread

from paragone_workbench.store.store import Store
from paragone_workbench.store.votes import Measurement

from .conftest import data, paragone, running, said, until

SMALL = ("--prompt-tokens", "20,40", "--tokens", "4", "--repeat", "2")
FIGURES = [
    "prefill_tps",
    "decode_tps",
    "ttft_s",
    "ttfo_s",
    "tpot_ms",
    "itl_p50_ms",
    "itl_p95_ms",
    "itl_p99_ms",
]


def test_json_has_every_figure_of_every_test_and_a_crash_does_not_end_the_others():
    done = paragone(
        "bench", "rogue:killed", "rogue:steady", *SMALL, "--set", "at=2", "--set", "rate=500", "--json"
    )
    assert done.returncode == 1
    assert "paragone: killed: The engine's process was ended by SIGKILL" in said(done)
    found = data("bench", done)
    (saved,) = measurements()
    assert saved.data == found
    assert [(it.backend, it.model, it.options["at"]) for it in saved.engines] == [
        ("rogue", "killed", 2), ("rogue", "steady", 2),
    ]  # fmt: skip
    assert (found["schedule"], found["repeat"], found["partial"]) == ("sequential", 2, True)
    assert 0 <= found["load"]["before"] <= found["load"]["most"]
    killed, engine = found["engines"]
    assert "ended by SIGKILL" in killed["error"]
    assert [test["prompt_tokens"] for test in engine["tests"]] == [20, 40]
    for test in engine["tests"]:
        row = f"paragone: steady, prompt {test['prompt_tokens']}, depth 0: prefill "
        assert said(done).count(row) == 1, "each finished test is a row"
        assert test["repetitions"] == len(test["usage"]) == 2
        assert all(usage["prompt_tokens"] == test["prompt_tokens"] for usage in test["usage"])
        assert test["decode_tps"]["mean"] > 0


def test_plots_and_tables_fit_a_narrow_terminal(terminal, monkeypatch):
    monkeypatch.setenv("COLUMNS", "50")
    argv = ("rogue:steady", "--set", "rate=500", "--tokens", "4", "--repeat", "2", "--prompt-tokens", "20,40")
    with running("bench", *argv, stdout=terminal.theirs) as process:
        written = terminal.read(process).decode()
    for plotted in ("Prefill, tokens/s", "Decode, tokens/s", "a: steady"):
        assert plotted in written
    assert "\x1b" not in written
    lines = written.splitlines()
    headings = [at for at, line in enumerate(lines) if line.startswith("engine  prompt  depth")]
    assert max(len(line) for at in headings for line in lines[at : at + 2]) <= 50
    shown = " ".join(lines[at] for at in headings)
    for title in ("prefill, tokens/s", "decode, tokens/s", "runs", "TTFT, s", "TPOT, ms", "ITL p50/95/99"):
        assert shown.count(title) == 1


def test_a_test_beyond_the_context_is_skipped_with_a_message():
    done = paragone("bench", "rogue:steady", *SMALL, "--set", "context=30", "--json")
    assert done.returncode == 0
    assert "generated tokens exceed the context of 30 tokens." in said(done)
    fits, exceeds = data("bench", done)["engines"][0]["tests"]
    assert (fits["repetitions"], exceeds["repetitions"]) == (2, 0)
    nothing = paragone("bench", "rogue:steady", *SMALL, "--set", "context=8")
    assert (nothing.returncode, nothing.stdout.decode()) == (2, "Nothing was measured.\n")
    assert len(measurements()) == 1, "nothing is saved of nothing"


def test_ctrl_c_prints_the_results_so_far(terminal):
    argv = ("--prompt-tokens", "20", "--tokens", "6", "--repeat", "1000", "--set", "rate=200", "--json")
    with running("bench", "rogue:steady", *argv, stderr=terminal.theirs) as process:
        until(lambda: terminal.take() and b"run 2" in terminal.written, "the second run")
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate()
    assert process.returncode == 130
    found = data("bench", subprocess.CompletedProcess((), 130, out))
    assert found["partial"] is True
    assert 1 <= found["engines"][0]["tests"][0]["repetitions"] < 1000


@pytest.mark.model
def test_the_real_model_processes_exactly_the_requested_tokens(smollm2):
    options = ("--set", "n_threads=1", "--set", "n_ctx=512")
    engine = f"llama_cpp:{smollm2}"
    argv = ("--prompt-tokens", "60,75", "--depth", "0,50", "--tokens", "6", "--repeat", "2")
    done = paragone("bench", engine, *argv, *options, "--json")
    assert done.returncode == 0, said(done)
    tests = data("bench", done)["engines"][0]["tests"]
    assert [(test["prompt_tokens"], test["depth"]) for test in tests] == [
        (60, 0), (75, 0), (60, 50), (75, 50),
    ]  # fmt: skip
    for test in tests:
        assert not [note for note in test["notes"] if not note.startswith("The decode rate varies by ")]
        assert all(test[name]["mean"] > 0 for name in FIGURES)
        for usage in test["usage"]:
            assert usage["completion_tokens"] == usage["pieces"] == 6
            assert usage["cached_tokens"] == test["depth"]
            assert usage["prompt_tokens"] == test["depth"] + test["prompt_tokens"]


class CrowdedServer(HostileServer):
    """A test double of a server that answers all users concurrently, and counts them."""

    def __init__(self):
        super().__init__(OPENAI)
        self.on_chat = self._answer
        self.present = self.most = 0

    async def _answer(self, exchange):
        self.present += 1
        self.most = max(self.most, self.present)
        try:
            await exchange.begin()
            for _ in range(exchange.request.body["max_tokens"]):
                await asyncio.sleep(0.01)
                await exchange.say("x")
            await exchange.send(OPENAI.end(read=20, written=exchange.request.body["max_tokens"]))
        finally:
            self.present -= 1


@pytest.fixture
def crowded():
    with running_in_thread(CrowdedServer()) as server:
        yield server


def test_users_of_a_server_have_as_many_requests_in_progress(crowded):
    engine = f"openai:m@{crowded.url}"
    done = paragone("bench", engine, "--users", "1,3", *SMALL[2:], "--prompt-tokens", "20", "--json")
    assert done.returncode == 0, said(done)
    found = data("bench", done)
    (measured,) = found["engines"]
    assert [(level["users"], level["answers"]) for level in measured["users"]] == [(1, 2), (3, 6)]
    for level in measured["users"]:
        assert level["tokens_per_s"] == pytest.approx(4 * level["answers"] / level["seconds"])
        assert all(level[name]["mean"] > 0 for name in ("user_tps", "ttft_s", "tpot_ms", "itl_ms"))
    assert crowded.most == 3
    prompts = [chat.body["messages"][-1]["content"] for chat in crowded.chats][3:]
    assert len(prompts) >= 3 + 9
    assert len(set(prompts)) == len(prompts), "none is in a cache"
    assert [test["repetitions"] for test in measured["tests"]] == [2]
    assert measurements()[0].data == found


def test_a_terminal_gets_a_table_and_a_plot_of_the_throughput(crowded, terminal):
    argv = ("--users", "1,2", "--tokens", "2", "--repeat", "2", "--prompt-tokens", "20")
    with running("bench", f"openai:m@{crowded.url}", *argv, stdout=terminal.theirs) as process:
        written = terminal.read(process).decode()
    lines = written.splitlines()
    at = lines.index("Each user sends its next request as soon as it has an answer; 2 answers for each")
    assert lines[at + 2].split()[:3] == ["engine", "prompt", "users"]
    answers = [line.split() for line in lines[at:] if line.startswith("m       20 ")][2:]
    assert [(cells[2], cells[-1]) for cells in answers] == [("1", "2"), ("2", "4")]
    assert "Tokens/s of all users, prompt 20" in written
    assert "a: m" in written


def test_more_users_than_an_engine_can_answer_are_refused_before_it_is_opened(smollm2):
    slots = (f"llama_server:{smollm2}", "--users", "8", "--set", "n_parallel=3")
    for argv, message in (
        (
            ("rogue:steady", "--users", "1,4", *SMALL),
            "steady answers one prompt at a time, so 4 concurrent users cannot be",
        ),
        (slots, "answers 3 prompts at a time, so 8 concurrent users cannot be measured."),
    ):
        done = paragone("bench", *argv)
        assert (done.returncode, done.stdout) == (2, b"")
        assert message in said(done)


def measurements() -> tuple[Measurement, ...]:
    with contextlib.closing(Store.open()) as store:
        return store.measurements.all("bench")


def test_a_pipe_gets_a_table_without_plots_and_an_unusable_history_only_warns(home):
    folder = home / "data" / "paragone"
    folder.parent.mkdir()
    folder.touch()
    done = paragone("bench", "rogue:steady", "rogue:steady", *SMALL, "--set", "rate=500")
    assert done.returncode == 0
    assert "paragone: warning: The measurement is not saved for reports. " in said(done)
    lines = done.stdout.decode().splitlines()
    assert lines[0] == "Mean ± standard deviation of 2 runs, 4 tokens generated in each"
    assert lines[2].split()[:3] == ["engine", "prompt", "depth"]
    assert any(line.startswith("The load of the machine (") for line in lines)
    assert [line.split()[:3] for line in lines[3:5]] == [["steady", "20", "0"], ["steady-2", "20", "0"]]
    assert "┤" not in done.stdout.decode()
