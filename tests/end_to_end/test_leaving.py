"""Leaving is quick, whatever an engine has written or is writing."""

import psutil
import pytest

pytestmark = pytest.mark.usefixtures("new_interpreters")

LINES = 30_000


@pytest.mark.parametrize("seen", ["Too long to typeset", "writing"])
def test_little_work_is_left_when_the_program_is_told_to_quit(start, seen, home):
    """While an answer of many short lines arrives, and when it is complete and would be typeset."""
    config = home / "config.toml"
    count = LINES if seen != "writing" else 10_000_000
    config.write_text(f'[engines.flood]\nbackend = "rogue"\nmodel = "lines"\nmax_tokens = {count}\n')
    program = start("--config", str(config), "flood")
    program.sees("ready")
    program.type("hello\r")
    program.sees(seen)
    before, used = program.terminal.cpu(), 0.0
    workers = program.workers()
    program.type("\x11")
    while program.terminal.process.poll() is None:
        try:
            used = program.terminal.cpu() - before
        except psutil.NoSuchProcess:
            break
        program.terminal.read(0.05)
    assert program.terminal.process.wait(5) == 0
    psutil.wait_procs(workers, timeout=5)
    assert used < 1.5  # seconds of CPU; typesetting these lines takes 3 and more
