"""docs/library.md: its program runs unchanged, with the real model."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from paragone_workbench.engines.definitions import EngineDefinition

PAGE = Path(__file__).parents[2] / "docs" / "library.md"


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


def test_the_example_program_runs(smollm2, tmp_path):
    program = (
        blocks()[0]
        .replace("/models/small-Q4_1.gguf", str(smollm2))
        .replace("n_ctx=1024", "n_ctx=512, n_threads=1")
    )
    path = tmp_path / "program.py"
    path.write_text(program)
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, timeout=120)
    assert done.stderr == ""
    *answer, figures = done.stdout.splitlines()
    assert re.fullmatch(r"\d+ tokens/s, seed \d+", figures)
    assert "".join(answer).strip()


def test_the_example_program_has_ten_lines():
    body = blocks()[0].partition("async def main")[2].partition("asyncio.run")[0]
    assert len([line for line in body.splitlines()[1:] if line.strip()]) <= 10


def test_the_second_example_runs():
    namespace: dict[str, object] = {}
    exec(blocks()[1], namespace)
    assert namespace["spec"]


def test_the_example_suite_runs(smollm2, tmp_path, home, capsys):
    (suite,) = (block for block in blocks() if "SuiteRunner" in block)
    options = {"n_ctx": 512, "n_threads": 1}
    engine = EngineDefinition(name="small", backend="llama_cpp", model=str(smollm2), options=options)
    namespace: dict[str, Any] = {}
    exec(suite.replace("resolve_all(names, {})", "resolve_all(names, engines)"), namespace)
    namespace["engines"] = {"small": engine}
    path = tmp_path / "capitals.jsonl"
    path.write_text(
        '{"prompt": "What is the capital of France?", "expected": "Paris", "assertions": [{"type": "contains"}]}'
    )
    for _ in range(2):  # the second call finds that everything has been done
        asyncio.run(namespace["run_suite"](str(path), "small"))
        assert capsys.readouterr().out in ("e1 0 small True\n", "e1 0 small False\n")
