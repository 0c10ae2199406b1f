"""The tutorial, the README, docs/choose.md and docs/fidelity.md: their commands run in their order, in one home, with the real
program and shallow models, and print lines of the kinds that the pages show."""

import json
import re
import shlex
from collections.abc import Iterator
from functools import cache
from itertools import chain, filterfalse
from pathlib import Path

import pytest
from tests.cli.conftest import PROGRAM, paragone, said
from tests.docs.existing import ROOT
from tests.end_to_end.program import ForkedTerminal, Program

from paragone_workbench.choosing import choice
from paragone_workbench.measure.fidelity import sample_text
from paragone_workbench.measure.fidelity_verdict import SCALE

PAGES = ("docs/tutorial.md", "README.md", "docs/choose.md", "docs/fidelity.md")
"""A later page repeats measurements of an earlier one, as a reader does: their results are known."""
BLOCK = re.compile(r"^(?:`([\w.]+)`:\n\n)?```(sh|text|toml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
"""A block of commands, of output, or of a file with its name above."""

DEMO = "paragone demo -s temperature=0"
FASTER = {
    "choose": ["-s", "max_tokens=1"],
    "fidelity": ["--window", "64", "-s", "max_tokens=40"],
    "suite run": ["-s", "max_tokens=20"],
}
"""Options that are added to commands of pages."""

FEWER = 20
"""How many built-in prompts `choose` has here. They leave the question open, as the 120 do for the models of the pages."""

TEXT = sample_text()
SHORTER = TEXT[:4_000]

NOT_WORDS = {*SCALE, "another", "model", "s", "ms", "MB", "GB", "at", "of", "to"}
"""Names on the scale, units and prepositions: they belong to figures."""

ALIKE = {
    r"(engine size memory pass rate KLD )same answers ": r"\1",
    r"(Preliminary after prompts )?[Dd]eploy": "Deploy",
    r"The suite has (only )?(no more|prompts left).*": "(prompts left)",
    r".* passes points \w+ often than .*|In pass rate .*|.* do not differ in pass rate .*": "(difference of the pass rates)",
    r".* generates tokens \w+ than .*|In completion tokens .*|.* do not differ in completion tokens .*": "(difference of the tokens)",
    r"\w+ answers (was|were) cut the length limit .*": "(cut answers)",
    r"Whether .* is worse than .*|\S+ is (not )?worse than .* points.*": "(verdict)",
    r".* (above|within) the noise floor .*": "(difference from the reference)",
    r".* gives the same greedy answer .*": "(same answers)",
    r"(\S+ e1) .*|(contains|length) The answer .*": r"\1",
}
"""Messages that have other words for other figures, and answers."""

SOMETIMES = re.compile(r"Read with care|\w+ The decode rate varies .*")
"""Lines that a page may show although an idle machine prints none."""


def blocks(page: str) -> Iterator[tuple[str, str, str]]:
    """Yield each block: the name of its file, its language and its text."""
    for found in BLOCK.finditer((ROOT / page).read_text(encoding="utf-8")):
        yield found[1] or "", found[2], found[3]


def kind(line: str) -> str:
    """Return the words of a line, without figures and without what figures decide."""
    words = re.findall(r"(?<![\w.])[A-Za-z][\w-]*", line.replace("SmolLM2-135M-Instruct.", ""))
    text = " ".join(word for word in words if word not in NOT_WORDS)
    for pattern, same in ALIKE.items():
        text = re.sub(f"^(?:{pattern})", same, text)
    return text


def kinds(output: str) -> list[str]:
    return [found for line in output.splitlines() if (found := kind(line))]


@pytest.fixture
def models(home: Path, smollm2: Path, smaller_smollm2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put shallow models where the demo has its models, and into ~/models by the names on the pages; ask fewer prompts."""
    folder = home / "models"
    folder.mkdir()
    for path, name in ((smollm2, "Q8_0"), (smaller_smollm2, "Q4_K_M")):
        (home.with_name(f"{home.name}-cache") / "paragone" / path.name).symlink_to(path)
        (folder / f"Llama-3.1-8B-Instruct-{name}.gguf").symlink_to(path)
    system, *prompts = choice.QUESTIONS.read_text(encoding="utf-8").split("[[prompts]]")
    fewer = home / "fewer.toml"
    fewer.write_text("[[prompts]]".join([system, *prompts[:FEWER]]), encoding="utf-8")
    monkeypatch.setattr(choice, "QUESTIONS", fewer)
    monkeypatch.setattr("paragone_workbench.measure.fidelity.sample_text", lambda: TEXT[:7_500])
    monkeypatch.setattr("paragone_cli.fidelity.sample_text", lambda: SHORTER)
    (home / "mine.txt").write_text(SHORTER, encoding="utf-8")
    (home / "short.toml").write_text(
        next(text for name, _, text in blocks("docs/tutorial.md") if name), encoding="utf-8"
    )
    own = [{"prompt": f"What is {number} + 1?", "expected": str(number + 1)} for number in range(20)]
    (home / "mine.jsonl").write_text("".join(f"{json.dumps(prompt)}\n" for prompt in own))
    monkeypatch.chdir(home)


@cache
def run(line: str) -> str:
    """Run a command of a page, and return what it printed. A command that stands on two pages runs once."""
    program, *argv = shlex.split(line)
    assert program == "paragone"
    command = next((name for name in FASTER if " ".join(argv).startswith(name)), "")
    done = paragone(*argv, *FASTER.get(command, ()), *(["-s", "n_threads=1"] if command else ()))
    assert done.returncode in (0, 1), said(done)  # 1: answers failed, or a limit is exceeded
    return done.stdout.decode()


@pytest.mark.model
def test_each_command_prints_lines_of_the_kinds_that_its_page_shows(models, home):
    printed = ""
    for name, language, text in chain.from_iterable(map(blocks, PAGES)):
        if name:
            (home / name).write_text(text, encoding="utf-8")
        elif language == "sh":
            (home / "choice.html").unlink(missing_ok=True)  # two pages write it
            printed = "".join(
                run(line) for line in text.splitlines() if line.startswith("paragone") and line != DEMO
            )
        else:
            rest = iter(kinds(printed))
            for wanted in filterfalse(SOMETIMES.fullmatch, kinds(text)):
                assert wanted in rest, f"{wanted!r} is not printed in this order:\n{printed}"


@pytest.mark.model
def test_the_screens_of_the_tutorial_are_those_of_the_program(models):
    page = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    assert f"```sh\n{DEMO}\n```" in page
    engines = [f"SmolLM2-135M-Instruct.{name}" for name in ("Q4_1", "Q4_0")]
    options = ("temperature=0", "max_tokens=40", "n_threads=1")
    arguments = [*engines, *(part for option in options for part in ("-s", option))]
    with ForkedTerminal([PROGRAM, *arguments], 120, 27) as terminal:
        program = Program(terminal)
        program.until(lambda screen: screen.count("ready") == 2, "both lanes are ready")
        program.type("What is the capital of Kenya?\r")
        program.until(
            lambda screen: screen.count("done") + screen.count("cut") >= 2, "both lanes have answered"
        )
        program.type("\x1bv")
        program.sees("its choice")
        program.type("\x1b")
        program.sees("LANE")
        program.type("c")
        program.sees("Was it fair?", "Quantization: Q4_1")
        program.type("q")
        program.sees("LANE")
        program.type("v")
        program.sees("its choice")
        program.type("\r")
        program.sees("Continues from the chosen token")
        assert program.leave() == 0
    for name in ("tutorial-divergence", "tutorial-fair", "tutorial-fork"):
        picture = ROOT / "docs" / "screens" / f"{name}.svg"
        assert f"](screens/{name}.svg)" in page
        assert picture.stat().st_size < 100_000
