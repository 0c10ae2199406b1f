"""The demo: two real models side by side."""

import re
from pathlib import Path

import pytest

from paragone_workbench.paths import cache_folder

README = Path(__file__).parents[2] / "README.md"

pytestmark = pytest.mark.model


def test_the_demo_streams_one_prompt_into_two_lanes(start, smollm2):
    program = start("demo", columns=160)  # in narrower lanes the width of the figures decides which are shown
    program.sees("SmolLM2-135M-Instruct.Q4_1", "SmolLM2-135M-Instruct.Q4_0")
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
    named = re.findall(r"SmolLM2-135M-Instruct\.Q4_\d", README.read_text(encoding="utf-8"))
    assert {path.stem for path in cache_folder().glob("*.gguf")} == {*named}
