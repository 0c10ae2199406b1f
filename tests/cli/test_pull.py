"""`paragone engines pull`, with a test double of a backend that only reports progress of downloads."""

import re
import signal
from pathlib import Path

import pytest
from tests.strangers import install

from .conftest import Terminal, paragone, running, said, until

PLUGIN = """
import asyncio, pathlib
from dataclasses import dataclass
from paragone import Backend, InputError, Options, Probe, PullProgress, option
from paragone.hooks import hookimpl

@dataclass(frozen=True, slots=True, kw_only=True)
class Load(Options):
    url: str | None = option(None, "Where it is.", address=True)

class Fetcher(Backend):
    name = "fetcher"
    title = "Fetcher"
    api_version = 2
    load_options = Load

    async def probe(self, python=None):
        return Probe(usable=True)

    async def models(self, folders):
        return ()

    async def open(self, request, on_progress):
        raise InputError("It only fetches.")

    async def pull(self, model, options):
        yield PullProgress(status=f"looking at {options['url']}")
        for done in (0, 42, 43, 99):
            yield PullProgress(status="fetching \\x1b[31maa", done=done * 10**7, total=10**9)
        if model == "broken":
            raise ZeroDivisionError("oops")
        if model == "endless":
            try:
                await asyncio.sleep(600)
            finally:
                await asyncio.sleep(0)  # as a request takes to close
                pathlib.Path(options["url"]).touch()
        yield PullProgress(status="fetching bb", done=3 * 10**9, total=2 * 10**9)

@hookimpl
def paragone_backends():
    return [Fetcher()]
"""

REFUSED = "Nothing answers at http://127.0.0.1:1: the connection was refused."


@pytest.fixture(autouse=True)
def fetcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "plugin", "fetcher", PLUGIN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "plugin"), prepend=":")


LINES = """\
paragone: looking at x://y …
paragone: 0% of 1.0 GB: fetching ␛[31maa
paragone: 42% of 1.0 GB: fetching ␛[31maa
paragone: 99% of 1.0 GB: fetching ␛[31maa
paragone: 100% of 2.0 GB: fetching bb
"""


def test_outside_a_terminal_progress_is_printed_in_lines(settings):
    settings("[engines.defined]\nbackend = 'fetcher'\nmodel = 'm/n:1'\nurl = 'x://y'\n")
    for engine in ("defined", "fetcher:m/n:1@x://y"):
        done = paragone("engines", "pull", engine)
        assert (done.returncode, done.stdout.decode()) == (0, "m/n:1: the server has the model\n")
        assert said(done) == LINES


def painted(terminal: Terminal) -> list[str]:
    """All that stood in the line, one after the other."""
    return re.findall(r"\r([^\r\x1b]+)\x1b\[K", terminal.written.decode())


def test_a_terminal_gets_a_progress_bar(terminal, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    with running("engines", "pull", "fetcher:m@x://y", stderr=terminal.theirs) as process:
        terminal.read(process)
        assert process.stdout.read() == b"m: the server has the model\n"
    assert process.returncode == 0
    # the step within a tenth is painted only if it comes a moment after the last painting
    assert [text for text in painted(terminal) if "43%" not in text] == [
        f"{'░' * 30} looking at x://y",
        f"{'░' * 30} 0% of 1.0 GB: fetching ␛[31maa",
        f"{'█' * 12}{'░' * 18} 42% of 1.0 GB: fetching ␛[31maa",
        f"{'█' * 29}░ 99% of 1.0 GB: fetching ␛[31maa",
        f"{'█' * 30} 100% of 2.0 GB: fetching bb",
    ]
    assert terminal.written.endswith(b"\r\x1b[K")


@pytest.mark.parametrize("term", ["xterm", "dumb"])
def test_ctrl_c_cancels_the_download(terminal, tmp_path, monkeypatch, term):
    monkeypatch.setenv("TERM", term)
    closed = tmp_path / "closed"
    (tmp_path / "config.toml").write_text(
        f"[engines.far]\nbackend = 'fetcher'\nmodel = 'endless'\nurl = '{closed}'\n"
    )
    argv = ("engines", "pull", "far", "--config", str(tmp_path / "config.toml"))
    with running(*argv, stderr=terminal.theirs) as process:
        until(lambda: terminal.take() and b"99% of 1.0 GB" in terminal.written, "it tells how far it is")
        assert not closed.exists()
        process.send_signal(signal.SIGINT)
        written = terminal.read(process).decode()
        assert process.stdout.read() == b""
    assert process.returncode == 130
    assert closed.exists()
    begin = "\r\x1b[K" if term == "xterm" else "\r\n"
    message = "No longer waiting; the server may continue the download, or keep the downloaded part."
    assert written.endswith(f"{begin}paragone: {message}\r\n")


@pytest.mark.parametrize(
    ("engine", "code", "told"),
    [
        ("rogue:steady", 2, "paragone: Rogue cannot download models.\n"),
        ("fethcer:m", 2, "paragone: There is no backend 'fethcer'.\n"),
        ("ollama:m@http://127.0.0.1:1", 1, f"paragone: {REFUSED}\n"),
    ],
)
def test_impossible_downloads_are_refused(engine, code, told):
    done = paragone("engines", "pull", engine)
    assert (done.returncode, done.stdout) == (code, b"")
    assert said(done).startswith(told)


def test_a_broken_plugin_is_reported():
    done = paragone("engines", "pull", "fetcher:broken@x://y")
    assert (done.returncode, done.stdout) == (1, b"")
    assert "\nparagone: The backend fetcher raised an unexpected error (ZeroDivisionError: oops).\n" in said(
        done
    )
