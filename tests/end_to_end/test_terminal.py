"""The whole program in a terminal: one session with what a terminal sends and shows, kills, signals, and the shell."""

import contextlib
import fcntl
import re
import shlex
import signal
import sqlite3
import sys
import threading
from pathlib import Path

import psutil
import pytest
from bench.terminal import Terminal
from hostile_server import OLLAMA, HostileServer
from loopback_server import running_in_thread
from tests.end_to_end.program import PROGRAM, until

from paragone_workbench.experiments.document import read_document
from paragone_workbench.paths import history_file
from paragone_workbench.store import Store

MEANINGLESS = (
    b"\xe9",  # é in Latin-1
    b"\xe2\x82",  # a character that lacks its last byte
    b"\x1b[M\x80\xff\xff",  # a report of the mouse in X10's protocol, far to the right
    b"\x1b[M\x20\xe2\x90",  # another one, which looks like the beginning of a character
    b"\x1b[9999999999u",  # a key of the Kitty protocol whose character does not exist
    b"\x1b[1:2;1u",  # one with an alternate key
)


@pytest.fixture
def slow(home):
    """The arguments with which there is an engine that answers for minutes."""
    config = home / "config.toml"
    config.write_text('[engines.slow]\nbackend = "rogue"\nmodel = "steady"\nrate = 40\nmax_tokens = 10000\n')
    return "--config", str(config)


def numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"word(\d+)", text)]


def test_a_session_works_from_the_first_key_to_the_last(start):
    program = start("rogue:steady", "rogue:wide", "rogue:escapes", "--set", "rate=60", columns=150)
    terminal = program.terminal
    program.until(lambda text: text.count("ready") == 3, "all engines load")

    for sent in MEANINGLESS:
        program.type(b"before" + sent + b"after")
        program.until(lambda text: "before" in text and "after" in text, f"the keys around {sent!r}")
        program.type("\x15")
        program.until(lambda text: "before" not in text and "after" not in text, f"{sent!r} is deleted")

    program.type("prompt\x1bORcare")  # in one write: f3 opens the picker
    program.sees("│ care ")
    program.type("\x1b")
    program.until(lambda text: "care" not in text, "the picker is closed")
    program.type("ed ")
    program.sees("prompted")

    for stop, word in ((signal.SIGTSTP, "one"), (signal.SIGSTOP, "two")):
        program.process.send_signal(stop)
        program.until(lambda text: program.process.status() == psutil.STATUS_STOPPED, "it stops")
        before = len(terminal.output)
        program.process.send_signal(signal.SIGCONT)
        program.until(lambda text, before=before: b"context 0" in terminal.output[before:], "it paints again")
        program.type(word)
        program.sees(word)
    threads = program.process.num_threads()
    program.process.send_signal(signal.SIGCONT)  # it is not stopped
    program.type("three")
    program.sees("prompted onetwothree")
    program.until(lambda text: program.process.num_threads() == threads, "no thread is left")

    before = len(terminal.output)
    program.type("\r")
    program.sees("word5")
    for columns, rows in ((60, 15), (300, 100), (80, 24), (61, 15), (150, 30)):
        terminal.resize(columns, rows)
        terminal.read(0.02)
    program.until(lambda text: text.count("done") == 3, "all lanes finish")
    program.sees("word19", "語19😀", "[bold]mark[/bold]")
    for sequence in (b"\x1b]0;", b"\x1b[2J", b"\x1b[?1049l", b"\x9b5m"):
        assert sequence not in terminal.output[before:]
    assert "owned" not in terminal.title

    terminal.read_until_quiet(1)
    assert terminal.read(1) == 0, "nothing is written when nothing happens"

    program.type("\x1a")
    program.sees("There is no shell to return to")
    assert program.leave() == 0
    assert b"Traceback" not in terminal.output


@pytest.mark.usefixtures("new_interpreters")
def test_keys_typed_from_the_start_on_come_in_order_and_the_program_ends_with_the_terminal(start):
    """Its terminal is not the controlling one, so that no SIGHUP comes."""
    program = start("rogue:steady")
    program.type("typed early\r")
    text = ""
    while "done" not in program.terminal.text:
        text += chr(ord("a") + len(text) % 26)
        program.type(text[-1])
        program.terminal.read(0.02)
    program.until(lambda shown: text in "".join(shown.split()), "all of it is in the composer")
    program.sees("typed early", "word19")
    assert "Ask " not in program.terminal.text
    workers = program.workers()
    program.terminal.hang_up()
    _, alive = psutil.wait_procs([program.process, *workers], timeout=60)
    assert not alive


def ended_during_an_answer(program, number, cooked):
    """End a program by a signal. Its worker must end too, and the terminal must be as before."""
    program.sees("word5", "writing")
    assert program.terminal.modes != cooked
    assert program.ends(lambda: program.process.send_signal(number)) == 128 + number
    program.until(lambda _: b"\x1b[?1049l" in program.terminal.output, "the screen is closed")
    assert program.terminal.modes == cooked


@pytest.mark.usefixtures("new_interpreters")
def test_an_offline_session_runs_until_sigterm(start, slow):
    program = start(*slow, "--offline", "slow", "ollama:m")
    cooked = program.terminal.modes
    program.until(
        lambda text: "ready" in text and "failed" in text, "the local engine loads, the other does not"
    )
    program.sees("does not contact", "offline   enter send")
    if sys.platform == "linux":
        assert "Seccomp:\t2" in Path(f"/proc/{program.process.pid}/status").read_text()
    program.type("\x1bO")
    program.sees("Offline until the program")
    program.type("igo\r")
    ended_during_an_answer(program, signal.SIGTERM, cooked)


def test_going_offline_cuts_an_answer_of_a_server_and_sigint_ends_the_program(start, slow):
    cut = threading.Event()

    async def stream(exchange):
        await exchange.begin()
        await exchange.say("and so ", "on ")
        await exchange.gone()
        cut.set()

    with running_in_thread(HostileServer(OLLAMA)) as server:
        server.on_chat = stream
        program = start(*slow, f"ollama:m@{server.url}", "slow")
        cooked = program.terminal.modes
        program.until(lambda text: text.count("ready") == 2, "both engines load")
        program.type("go\r")
        program.sees("and so on")
        program.type("\x1bO")
        assert cut.wait(60)
        program.type("i")
        program.sees("failed", "offline   enter send")
        ended_during_an_answer(program, signal.SIGINT, cooked)


def test_answers_and_drafts_survive_a_kill(start, home):
    """Answers lose their last second at most; an edit that was sent right before is not written again."""
    config = home / "config.toml"
    engine = '[engines.{}]\nbackend = "rogue"\nmodel = "steady"\nrate = 40\nmax_tokens = 4000\n'
    config.write_text(engine.format("a") + engine.format("b") + '[lanes]\nstart = ["a", "b"]\n')
    program = start("--config", str(config))
    program.until(lambda text: text.count("ready") == 2, "both engines load")
    program.type("first\r")
    program.sees("word5")
    program.type("\x03")
    program.until(lambda text: text.count("stopped") == 2, "both lanes stop")
    program.type("not sent")
    with contextlib.closing(sqlite3.connect(history_file())) as history:

        def texts(table):
            return {text for (text,) in history.execute(f"SELECT text FROM {table}")}

        until(lambda: texts("draft") == {"not sent"}, "the draft is saved")
        program.type("\x1bC")
        program.sees("Editing prompt 1 of 1")
        program.type(" again")
        until(lambda: texts("draft") == {"first again"}, "the edit is saved")
        program.type("\r")
        program.sees("word60")
        seen = max(numbers(program.terminal.text))
        workers = program.workers()
        assert len(workers) == 2
        program.process.kill()
        _, alive = psutil.wait_procs(workers, timeout=60)
        assert not alive, "the workers are still running after the program ended"
        assert texts("draft") == {"not sent"}
    with contextlib.closing(Store.open()) as store:
        (summary,) = store.conversations()
        for lane in store.load(summary.number).lanes:
            assert (lane.head.state, bool(lane.head.result.manifest)) == ("interrupted", True)
            saved = numbers(lane.head.text)
            assert saved == list(range(len(saved)))
            assert saved[-1] >= seen - 40

    again = start("--config", str(config))
    again.sees("not sent")
    again.until(lambda text: text.count("ready") == 2, "the engines load")
    assert "Editing" not in again.terminal.text
    again.type("\x0f")
    again.sees("Earlier conversations", "2 ")
    again.type("\r")
    again.until(lambda text: text.count("Interrupted") == 2, "both lanes say so")
    again.until(lambda text: text.count("ready") == 2, "the engines load")
    again.type("\r")
    again.until(lambda text: text.count("not sent") == 2 and "Ask " in text, "the conversation goes on")
    assert again.leave() == 0


def test_quitting_takes_little_work(start, home):
    """An answer of many short lines is complete, and another one arrives."""
    config = home / "config.toml"
    engine = '[engines.{}]\nbackend = "rogue"\nmodel = "lines"\nmax_tokens = {}\n'
    config.write_text(engine.format("short", 30_000) + engine.format("flood", 10_000_000))
    program = start("--config", str(config), "short", "flood")
    program.until(lambda text: text.count("ready") == 2, "both engines load")
    program.type("hello\r")
    program.sees("Too long to typeset", "writing")
    before, used = program.terminal.cpu(), 0.0

    def note_cpu() -> None:
        nonlocal used
        with contextlib.suppress(psutil.NoSuchProcess):
            used = program.terminal.cpu() - before

    assert program.ends(lambda: program.type("\x11"), note_cpu) == 0
    assert used < 1.5  # seconds of CPU; typesetting these lines takes 3 and more


def test_ctrl_z_returns_to_the_shell_and_fg_to_the_screen(tmux, home):
    """A session of a shell, whose job control gives the program a process group of its own."""
    editor = home / "editor"
    editor.write_text('#!/bin/sh\necho in the editor\nread more\nprintf ", $more" >> "$1"\n')
    editor.chmod(0o700)
    shell = f"env PS1='shell> ' VISUAL={editor} bash --norc -i"
    tmux("new-session", "-d", "-x", "80", "-y", "24", shell)

    def sees(text: str) -> None:
        until(lambda: text in tmux("capture-pane", "-p"), text)

    sees("shell>")
    tmux("send-keys", shlex.join([*PROGRAM, "rogue:steady"]), "Enter")
    sees("ready")
    tmux("send-keys", "-l", "half a prompt")
    sees("half a prompt")
    for _ in range(2):
        tmux("send-keys", "C-z")
        sees("Stopped")
        assert "ready" not in tmux("capture-pane", "-p")
        tmux("send-keys", "clear; echo $((6 * 7))", "Enter")  # the next "Stopped" is a new one
        sees("42")
        tmux("send-keys", "fg", "Enter")
        sees("half a prompt")
        sees("ready")
    tmux("send-keys", "C-g")
    sees("in the editor")
    tmux("send-keys", "C-c")  # for the editor alone
    sees("The editor editor")
    sees("half a prompt")
    tmux("send-keys", "C-g")
    sees("in the editor")
    tmux("send-keys", "C-z")
    sees("Stopped")
    tmux("send-keys", "clear; echo $((6 * 7))", "Enter")
    sees("42")
    tmux("send-keys", "fg", "Enter")
    sees(
        "rogue:steady"
    )  # only then the shell has left its mode of editing lines, in which Enter ends no line of others
    tmux("send-keys", "and a half", "Enter")
    sees("half a prompt, and a half")
    tmux("send-keys", "Enter")
    sees("done")
    tmux("send-keys", "M-y")
    sees("Copied")
    until(lambda: tmux("list-buffers"), "tmux has a buffer")  # without one, show-buffer fails
    until(lambda: "word19" in tmux("show-buffer"), "tmux has the answer in its buffer")
    tmux("send-keys", "C-q")
    sees("shell>")
    tmux("send-keys", "echo status=$?", "Enter")
    sees("status=0")


def test_a_terminal_that_prints_only_lines_gets_a_message(home):
    with Terminal(PROGRAM, env={"TERM": "dumb"}) as terminal:
        terminal.read_until("xterm-256color")
        assert terminal.process.wait(60) == 2
        assert "paragone ask" in " ".join(terminal.text.split())
        assert b"\x1b" not in terminal.output


def test_an_unsaved_conversation_is_written_to_a_file_after_confirmation(start, tmp_path):
    wanted, unwritable = tmp_path / "kept.json", tmp_path / "nowhere" / "kept.json"
    history_file().parent.mkdir(parents=True)
    with history_file().with_name("history.db.opening").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        program = start("rogue:steady")
        program.sees("ready")
        program.type("hello\r")
        program.sees("done")
        program.type("\x11")
        program.sees("leaves immediately")
        program.type("\x11")
        program.sees("File (enter: ")
        _, _, told = program.terminal.output.partition(b"\x1b[?1049l")
        assert b"paragone: 1 prompt and its answers could not be saved. The history in" in told
        program.type(f"{unwritable}\n")
        program.sees("does not exist")
        assert program.ends(lambda: program.type(f"{wanted}\n")) == 0
    (recorded,) = read_document(wanted)
    assert recorded.messages[-1].text == "hello"
    assert recorded.result.text.startswith("word0 word1 ")
