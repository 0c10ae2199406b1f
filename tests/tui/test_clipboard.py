"""Copying through the terminal: what is sent to which terminal, and how much."""

import asyncio
import os
import re
import shutil
import signal
import subprocess
import time
from base64 import b64decode

import pytest

from paragone_tui.terminal.clipboard import MOST, fits, give_to_tmux, sequence

TEXT = "Grüße 👩‍👩‍👧 \x1b[31m\n" * 100


def copied(sequence: str) -> str:
    """Return the text that a terminal takes from an OSC 52."""
    (found,) = re.findall("\x1b\\]52;c;([A-Za-z0-9+/=]*)\x07", sequence)
    return b64decode(found).decode()


def test_each_terminal_is_given_the_sequence_that_it_passes_on():
    sent = sequence(TEXT, {"TERM": "xterm-256color"})
    assert copied(sent) == TEXT
    assert sent.count("\x1b") == 1, "the text itself cannot control the terminal"
    for environment in ({"TMUX": "/tmp/tmux-0/default,1,0", "TERM": "screen"}, {"TERM": "tmux-256color"}):
        plain, start, wrapped = sequence(TEXT, environment).partition("\x1bPtmux;")
        assert start
        assert copied(plain) == TEXT, "for set-clipboard on"
        assert copied(wrapped.removesuffix("\x1b\\").replace("\x1b\x1b", "\x1b")) == TEXT
    for environment in ({"STY": "1.pts-0", "TERM": "screen"}, {"TERM": "screen-256color"}):
        sent = sequence(TEXT, environment)
        pieces = re.findall("\x1bP(.*?)(?<!\x1b)\x1b\\\\", sent, re.DOTALL)
        assert copied("".join(pieces)) == TEXT
        assert len(pieces) == sent.count("\x1bP") > 1
        assert max(map(len, pieces)) <= 256


def test_what_is_too_long_for_terminals_does_not_fit():
    assert fits("x" * MOST)
    assert not fits("x" * (MOST + 1))
    assert not fits("ü" * (MOST // 2 + 1)), "bytes count, not characters"
    assert len(sequence("x" * MOST, {})) <= 100_000 + len("\x1b]52;c;\x07")


def test_a_real_tmux_passes_it_on_to_its_terminal(tmp_path):
    """The terminal is a tmux, too, which keeps in its buffer what it is given."""
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed")

    def tmux(server: str, *arguments: str) -> str:
        command = ["tmux", "-f", "/dev/null", "-S", str(tmp_path / server), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    copy = tmp_path / "copy"
    copy.write_text(sequence(TEXT, {"TERM": "tmux-256color"}).partition("\x07")[2])  # what is wrapped alone
    inner = f"tmux -f /dev/null -S {tmp_path / 'inner'} new-session 'while read go; do cat {copy}; done'"
    outer = ("start-server", ";", "set", "-g", "set-clipboard", "on", ";", "new-session", "-d")
    try:
        tmux("outer", *outer, f"env -u TMUX {inner} \\; set -g allow-passthrough on")
        until = time.monotonic() + 60
        while tmux("outer", "show-buffer") != TEXT and time.monotonic() < until:
            tmux("inner", "send-keys", "Enter")  # until it is attached, it has nobody to pass on to
        assert tmux("outer", "show-buffer") == TEXT
    finally:
        tmux("inner", "kill-server")
        tmux("outer", "kill-server")


async def test_a_tmux_that_hangs_is_ended_before_the_program_is(monkeypatch, tmp_path, started_processes):
    tmux = tmp_path / "tmux"
    tmux.write_text("#!/bin/sh\nexec sleep 1000\n")
    tmux.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("TMUX", "some server")
    giving = asyncio.create_task(give_to_tmux("text"))
    while not started_processes:
        await asyncio.sleep(0.01)
    giving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await giving
    assert started_processes[0].returncode == -signal.SIGKILL
