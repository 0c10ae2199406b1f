"""The time that `paragone fidelity` takes, compared with the two passes of llama.cpp's llama-perplexity."""

import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from bench.programs import built, environment, paragone, smollm2
from bench.row import Row
from paragone.threads import physical_cores
from paragone_workbench.measure.fidelity import WINDOW, sample_text

__all__ = ["fidelity"]

PAIRS = 3
MOST = 1.2
TIMES = 3
"""Number of repetitions of the sample text, which give about 15 windows."""


def fidelity() -> Row:
    """Compare the durations of alternating runs on all cores. paragone also measures the noise floor.

    The model is compared with itself, which takes as long as a comparison of two models of this size.
    """
    figure = "`fidelity` of two models, noise floor included"
    budget = f"≤ {MOST} ×"
    program = built("llama-perplexity")
    if not program.exists():
        return Row(
            figure=figure,
            measured="not measured",
            baseline="llama-perplexity is not built: run `make llama-perplexity`",
            budget=budget,
            holds=None,
        )
    with tempfile.TemporaryDirectory() as home:
        text = Path(home) / "text.txt"
        text.write_text(sample_text() * TIMES)
        base: list[float] = []
        ours: list[float] = []
        for _ in range(PAIRS):
            base.append(_two_passes(program, text))
            ours.append(_measured(text))
    # Ratios of neighbouring runs: on a shared machine the speed changes from run to run.
    ratio = statistics.median(mine / its for mine, its in zip(ours, base, strict=True))
    return Row(
        figure=figure,
        measured=f"{ratio:.2f} × ({statistics.median(ours):.0f} s)",
        baseline=f"both passes of llama-perplexity: {statistics.median(base):.0f} s, median of {PAIRS} pairs",
        budget=budget,
        holds=ratio <= MOST,
    )


def _two_passes(program: Path, text: Path) -> float:
    """Return the seconds that the passes over the reference and over the candidate take together."""
    command = [str(program), "-m", str(smollm2()), "-f", str(text), "-c", str(WINDOW)]
    command += ["-t", str(physical_cores()), "-fa", "off"]
    command += ["--kl-divergence-base", str(text.with_name("logits"))]
    return _seconds(command, text) + _seconds([*command, "--kl-divergence"], text)


def _measured(text: Path) -> float:
    engine = f"llama_cpp:{smollm2()}"
    options = ["--set", "n_ctx=1024", "--set", "flash_attn=off"]
    return _seconds(paragone("fidelity", engine, engine, "--text", str(text), "--json", *options), text)


def _seconds(command: list[str], text: Path) -> float:
    started = time.monotonic()
    subprocess.run(command, env=environment(str(text.parent)), check=True, capture_output=True)
    return time.monotonic() - started
