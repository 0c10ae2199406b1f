"""Plugins of strangers that are broken, and what a person sees of them."""

import pytest
from tests.strangers import with_models, with_native_models

CALLED = "open(__file__.replace('stranger_of_a_stranger.py', 'called'), 'w').close()"
"""Leaves a mark beside the plugin."""


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (with_models("return None"), "a list of models was expected, not None"),
        (with_models("return [ModelInfo(model=7, name=None)]"), "expected str, not int"),
        (with_models("raise KeyboardInterrupt"), "KeyboardInterrupt"),
        (with_native_models("raise SystemExit(3)"), "SystemExit: 3"),
        ("raise KeyboardInterrupt", "The plugin stranger cannot be used: KeyboardInterrupt."),
        ("raise SystemExit", "The plugin stranger cannot be used: SystemExit."),
    ],
    ids=["no list", "wrong types", "interrupts", "exits", "interrupts its import", "exits at import"],
)
def test_a_broken_plugin_is_a_sentence_in_the_picker(start, stranger, code, reason):
    stranger(code)
    program = start()
    if "cannot be used" not in reason:  # then it is an entry, and the picker explains the highlighted one
        program.sees("Stranger")
        program.type("stranger")
    program.until(lambda text: reason in " ".join(text.replace("│", " ").split()), "the sentence")
    program.type("\x15rogue:steady\r")
    program.sees("ready")
    assert program.leave() == 0
    assert b"Traceback" not in program.terminal.output


@pytest.mark.parametrize(
    "code",
    [
        with_native_models(f"{CALLED}; time.sleep(3600)"),
        with_models(f"{CALLED}; await asyncio.sleep(3600)"),
        with_models(f"{CALLED}; time.sleep(3600)"),
        f"import time; {CALLED}; time.sleep(3600)",
    ],
    ids=["blocks a thread", "waits", "blocks its event loop", "blocks while it is imported"],
)
def test_a_plugin_that_hangs_keeps_nobody_from_leaving(start, stranger, tmp_path, code):
    stranger(code)
    program = start()
    program.until(lambda text: (tmp_path / "site" / "called").exists(), "it hangs")
    program.sees("Looking for engines and models")
    program.type("\x1b")
    program.until(lambda text: "Looking for" not in text, "the picker closes")
    assert program.leave() == 0
