"""`paragone fidelity` beside llama.cpp's own llama-perplexity, on the same files and text.

Skipped unless `make llama-perplexity` has built it.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from paragone_workbench.measure.fidelity import sample_text

from .conftest import data, paragone, said

pytestmark = [pytest.mark.model, pytest.mark.slow]

PROGRAM = (
    Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    / "paragone-llama-perplexity"
    / "llama-perplexity"
)
WINDOW = 128

QUANTIZE = """
import ctypes, sys
from llama_cpp import llama_cpp as lib
source, target, kind = sys.argv[1:]
params = lib.llama_model_quantize_default_params()
params.ftype, params.allow_requantize, params.nthread = getattr(lib, f"LLAMA_FTYPE_MOSTLY_{kind}"), True, 1
sys.exit(lib.llama_model_quantize(source.encode(), target.encode(), ctypes.byref(params)))
"""


@pytest.fixture(scope="session")
def model(smollm2, tmp_path_factory):
    """Return the file of a quantization of SmolLM2, made from the one that its wheel has."""
    pytest.importorskip("llama_cpp", reason="only the native build can make these quantizations")
    folder = tmp_path_factory.mktemp("quantized")

    def made(kind: str) -> str:
        if kind == "Q4_1":
            return str(smollm2)
        path = folder / f"SmolLM2-{kind}.gguf"
        if not path.exists():
            command = [sys.executable, "-c", QUANTIZE, str(smollm2), str(path), kind]
            subprocess.run(command, check=True, capture_output=True)
        return str(path)

    return made


@pytest.fixture
def llama_perplexity(tmp_path):
    """Return what llama-perplexity prints of two files."""
    if not PROGRAM.is_file():
        pytest.skip(f"there is no llama-perplexity at {PROGRAM}: run `make llama-perplexity`")

    def run(reference: str, candidate: str, text: Path) -> str:
        logits = str(tmp_path / "logits")
        base = [str(PROGRAM), "-f", str(text), "-c", str(WINDOW), "-b", str(WINDOW), "-t", "1", "-fa", "off"]
        base += ["--kl-divergence-base", logits, "-m"]
        subprocess.run([*base, reference], check=True, capture_output=True, timeout=300)
        command = [*base, candidate, "--kl-divergence"]
        return subprocess.run(command, check=True, capture_output=True, timeout=300, text=True).stdout

    return run


FIGURES = {
    "ppl": r"Mean PPL\(Q\) ",
    "log_ppl_ratio": r"Mean ln\(PPL\(Q\)/PPL\(base\)\)",
    "mean_kld": r"Mean +KLD",
    "median_kld": "Median +KLD",
    "p90_kld": r"90\.0% +KLD",
    "p99_kld": r"99\.0% +KLD",
    "max_kld": "Maximum KLD",
    "rms_dp": "RMS Δp ",
    "top1_agreement": "Same top p",
}
PERCENT = {"mean_dp", "rms_dp", "top1_agreement"}


@pytest.mark.parametrize(("reference", "candidate"), [("Q4_1", "Q3_K_M"), ("Q8_0", "Q2_K")])
def test_fidelity_agrees_with_llama_perplexity_to_one_percent(
    reference, candidate, model, llama_perplexity, tmp_path
):
    text = tmp_path / "text.txt"
    text.write_text(sample_text()[:3400])
    engines = [f"llama_cpp:{model(kind)}" for kind in (reference, candidate)]
    options = ("--set", "n_threads=1", "--set", "n_ctx=512", "--set", "flash_attn=off")
    done = paragone("fidelity", *engines, "--text", str(text), "--window", str(WINDOW), "--json", *options)
    assert (done.returncode, said(done)) == (0, "")
    found = data("fidelity", done)
    ours = found["candidates"][0]
    assert ours["windows"] >= 5

    printed = llama_perplexity(model(reference), model(candidate), text)
    for name, title in FIGURES.items():
        value, error = re.search(rf"{title}.*?: +(-?[\d.]+)%?(?: ± +([\d.]+))?", printed).groups()
        scale = 100 if name in PERCENT else 1
        # The log of a ratio and the mean of Δp are near 0, where a percent of them is less than what is printed.
        assert scale * ours[name] == pytest.approx(float(value), rel=0.01, abs=2e-3 if scale == 100 else 2e-4)
        if error is not None:
            independent = scale * ours["llama_perplexity_se"][name]
            assert independent == pytest.approx(float(error), rel=0.02, abs=1e-3)
