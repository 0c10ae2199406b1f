"""The demo: two real models side by side."""

import re
from pathlib import Path

import pytest
from tests.end_to_end.program import until

from paragone_workbench.paths import cache_folder

README = Path(__file__).parents[2] / "README.md"

pytestmark = pytest.mark.model


@pytest.mark.usefixtures("new_interpreters")
def test_the_demo_streams_one_prompt_into_two_lanes(start, smollm2):
    program = start("demo")
    program.sees("smollm2-q4_1", "smollm2-q4_0")
    program.until(lambda text: text.count("ready") == 2, "both engines load")
    assert len(program.workers()) == 2
    program.type("Name three colours.\r")  # all characters at once, as in a paste
    program.until(lambda text: text.count("Name three colours.") == 2, "the prompt stands in both lanes")
    program.until(lambda text: len(re.findall("writing|done", text)) == 2, "both lanes answer")
    program.until(lambda text: len(re.findall(r"\b[1-9]\d*/8[.,]", text)) == 2, "both lanes count tokens")
    program.type("\x03")
    program.until(lambda text: len(re.findall("stopped|done", text)) == 2, "both lanes stop")
    program.type("And why?\r")
    program.until(lambda text: text.count("And why?") == 2, "a second prompt")
    assert program.leave() == 0
    assert b"\x1b[?1049l" in program.terminal.output  # the terminal is restored
    named = re.findall(r"~/\.cache/paragone/([\w.-]+\.gguf)", README.read_text(encoding="utf-8"))
    assert {path.name for path in cache_folder().glob("*.gguf")} == {*named}


def test_it_works_in_tmux(tmux, command, smollm2):
    model = f"'llama_cpp:{smollm2}'"
    settings = "--set n_threads=1 --set n_ctx=512 --set max_tokens=12"
    tmux("new-session", "-d", "-x", "100", "-y", "24", f"{command} {model} {model} {settings}; sleep 60")

    def screen() -> str:
        return tmux("capture-pane", "-p")

    until(lambda: screen().count("ready") == 2, "both engines load")
    tmux("send-keys", "-l", "Say hello.")
    tmux("send-keys", "Enter")
    until(lambda: screen().count("done") == 2, "both lanes answer")
    assert screen().count("Say hello.") == 2
    tmux("send-keys", "M-y")
    until(lambda: "Copied" in screen(), "the answer is copied")
    until(lambda: tmux("show-buffer").strip(), "tmux has it in its buffer")
    tmux("send-keys", "C-q")
    until(lambda: "ready" not in screen() and "done" not in screen(), "the program leaves")
