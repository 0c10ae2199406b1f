"""Plugins of strangers that are broken, and what a person sees of them."""

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from tests.strangers import install, with_models, with_native_models

CALLED = "open(__file__ + '.called', 'w').close()"
"""Leaves a mark beside the plugin."""


@pytest.fixture
def strangers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Iterable[str]], list[Path]]:
    """A function that installs plugins of these codes, named stranger1 and so on. It returns the plugins' files."""
    site = tmp_path / "site"

    def make(codes: Iterable[str]) -> list[Path]:
        names = []
        for number, code in enumerate(codes, 1):
            names.append(name := f"stranger{number}")
            install(site, name, code.replace("stranger", name).replace("Stranger", name.title()))
        monkeypatch.setenv("PYTHONPATH", str(site), prepend=":")
        return [site / f"{name}_of_a_stranger.py" for name in names]

    return make


BROKEN = {
    "raise KeyboardInterrupt": "The plugin stranger1 cannot be used: KeyboardInterrupt.",
    "raise SystemExit": "The plugin stranger2 cannot be used: SystemExit.",
    "import os; os._exit(0)": "The plugin stranger3 cannot be used: its import ends the process, with exit code 0.",
    with_models("return None"): "a list of models was expected, not None",
    with_models("return [ModelInfo(model=7, name=None)]"): "expected str, not int",
    with_native_models("raise SystemExit(3)"): "SystemExit: 3",
}
"""What is wrong with each code."""


def test_broken_plugins_are_listed_in_the_picker_with_messages(start, strangers):
    strangers(BROKEN)
    program = start()
    program.type("typed ")  # before the picker opens
    program.sees("│ typed")
    program.type("early")
    program.sees("│ typed early")
    for number, reason in enumerate(BROKEN.values(), 1):
        if "cannot be used" not in reason:  # then it is an entry, and the picker explains the highlighted one
            program.type(f"\x15stranger{number}")
        program.until(
            lambda text, reason=reason: reason in " ".join(text.replace("│", " ").split()), f"{reason!r}"
        )
    program.type("\x15rogue:steady\r")
    program.sees("ready")
    assert program.leave() == 0
    assert b"Traceback" not in program.terminal.output


def test_plugins_that_hang_do_not_delay_quitting(start, strangers):
    codes = (
        with_native_models(f"{CALLED}; time.sleep(3600)"),  # in a thread
        with_models(f"{CALLED}; await asyncio.sleep(3600)"),
    )
    files = strangers(codes)
    program = start()
    for file in files:
        program.until(lambda text, file=file: Path(f"{file}.called").exists(), f"{file.name} hangs")
    program.sees("Looking for engines and models")
    program.type("\x1b")
    program.until(lambda text: "Looking for" not in text, "the picker closes")
    assert program.leave() == 0
