"""The figures of `paragone bench`, compared with llama-bench's on the same file, threads and context."""

import json
import statistics
import subprocess
import tempfile
from pathlib import Path

from bench.programs import built, environment, paragone, smollm2
from bench.row import Row

__all__ = ["user_bench"]

PAIRS = 9
PROMPT, TOKENS = 512, 128
MOST = 0.05
_OPTIONS = {"n_threads": 1, "n_ctx": 768, "n_batch": 512, "flash_attn": "off"}


def user_bench() -> list[Row]:
    """Compare prefill of 512 tokens, and decoding of the 128 tokens that follow, with one thread, in alternating runs."""
    program = built("llama-bench")
    if not program.exists():
        return [_row(name, None, None) for name in _FIGURES]
    base: list[dict[str, float]] = []
    ours: list[dict[str, float]] = []
    for _ in range(PAIRS):
        base.append(_llama_bench(program))
        ours.append(_paragone_bench())
    return [_row(name, [run[name] for run in ours], [run[name] for run in base]) for name in _FIGURES]


_FIGURES = {
    "prefill_tps": f"pp{PROMPT}",
    "decode_tps": f"tg{TOKENS} at depth {PROMPT}",
}


def _row(name: str, ours: list[float] | None, base: list[float] | None) -> Row:
    figure = f"`paragone bench` vs llama-bench, {_FIGURES[name]}, 1 thread"
    budget = f"within {MOST:.0%}"
    if ours is None or base is None:
        return Row(
            figure=figure,
            measured="not measured",
            baseline="llama-bench is not built: run `make llama-bench`",
            budget=budget,
            holds=None,
        )
    # Ratios of neighbouring runs: on a shared machine the speed changes from run to run.
    ratio = statistics.median(mine / its for mine, its in zip(ours, base, strict=True))
    return Row(
        figure=figure,
        measured=f"{ratio:.3f} × ({statistics.median(ours):.0f} tokens/s)",
        baseline=f"llama-bench -fa off: {statistics.median(base):.0f} tokens/s, median of {PAIRS} pairs",
        budget=budget,
        holds=abs(ratio - 1) <= MOST,
    )


def _llama_bench(program: Path) -> dict[str, float]:
    """Return the rates of llama-bench. Decoding begins after a prompt, as in an answer."""

    def rate(*test: str) -> float:
        command = [
            str(program),
            "-m",
            str(smollm2()),
            "-t",
            "1",
            "-fa",
            "off",
            "-r",
            "1",
            "-o",
            "json",
            *test,
        ]
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return float(json.loads(out)[0]["avg_ts"])

    return {
        "prefill_tps": rate("-p", str(PROMPT), "-n", "0"),
        "decode_tps": rate("-p", "0", "-n", str(TOKENS), "-d", str(PROMPT)),
    }


def _paragone_bench() -> dict[str, float]:
    settings = [word for key, value in _OPTIONS.items() for word in ("--set", f"{key}={value}")]
    numbers = ("--prompt-tokens", str(PROMPT), "--tokens", str(TOKENS), "--repeat", "1")
    command = paragone("bench", f"llama_cpp:{smollm2()}", *numbers, *settings, "--json")
    with tempfile.TemporaryDirectory() as home:
        out = subprocess.run(
            command, capture_output=True, text=True, check=True, env=environment(home)
        ).stdout
    (test,) = json.loads(out)["engines"][0]["tests"]
    return {name: float(test[name]["mean"]) for name in _FIGURES}
