import contextlib
import re

import pytest
from large_model import write_large_model, write_large_moe

from paragone import InputError
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.measure.fit import parse_size
from paragone_workbench.store.store import Store
from paragone_workbench.store.votes import Measurement

from .conftest import data, paragone, said

MODEL = pytest.mark.model
FEW = 1024
"""Number of tokens of a large model that is read fast."""


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("24G", 24 << 30),
        ("24GB", 24 * 10**9),
        ("512M", 512 << 20),
        (" 1.5 gib ", 3 << 29),
        ("7B", 7),
        ("1T", 1 << 40),
    ],
)
def test_sizes_of_gpus_are_parsed(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "G", "-1G", "24iB", "1e3", "0.2", "nan", "99999T", "2 4G"])
def test_invalid_sizes_are_refused(text):
    with pytest.raises(InputError, match=r"24GB or 512M"):
        parse_size(text)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rogue:steady", "--vram", "much"], "'much' is not a size.\nWrite for example 24G"),
        (["rogue:steady", "--vram", "24G,"], "--vram 24G, has a comma without a size on one side."),
        (["rogue:steady", "--vram", "24G,10K"], "A GPU of --vram 24G,10K is too small for any model."),
        (["rogue:steady", "--ctx", "many"], "'many' is not a whole number from 1"),
        (["ollama:llama3.2"], "Ollama cannot estimate the memory that a model needs."),
        (["llama_cpp:/nowhere.gguf"], "There is no file /nowhere.gguf."),
        (
            ["llama_cpp:/nowhere.gguf", "--ctx", "99999999999"],
            "'99999999999' is not a whole number from 1 to 16,777,216.",
        ),
    ],
)
def test_engines_that_cannot_be_planned_are_refused(arguments, message):
    done = paragone("fit", *arguments)
    assert (done.returncode, done.stdout) == (2, b"")
    assert message in said(done)


def test_a_backend_without_a_layout_cannot_be_planned_for_another_gpu():
    done = paragone("fit", "rogue:steady", "--vram", "24G")
    assert done.returncode == 1
    assert "The backend does not report how a model can be divided" in said(done)


def test_the_plan_is_printed_as_json():
    free = 10 << 20
    done = paragone("fit", "rogue:steady", "--ctx", "1000", "--set", f"free={free}", "--json")
    assert (done.returncode, said(done)) == (0, "")
    found = data("fit", done)
    assert (found["model"], found["n_ctx"], found["largest_ctx"]) == ("steady", 1000, 1 << 16)
    sizes = {"weights": 1 << 20, "kv_cache": 16_000, "compute": 1 << 16, "free": free}
    assert found["devices"] == [{"device": "CPU", **sizes, "fits": True}]
    assert data("fit", paragone("fit", "rogue:steady", "--json"))["devices"][0]["fits"] is None


def test_the_plan_is_printed_as_text():
    done = paragone("fit", "rogue:steady", "--set", "free=1000000")
    assert (done.returncode, said(done)) == (0, "")
    text = done.stdout.decode()
    assert "steady with a context of 4,096 tokens" in text
    assert "CPU     1 MB     66 kB     66 kB    1 MB   1 MB  does not fit" in text
    assert "It does not fit.\nNo context fits.\n" in text
    tight = paragone("fit", "rogue:steady", "--set", "free=2000000").stdout.decode()
    assert "It fits, but leaves less than 1.1 GB" in tight
    assert "Largest context that fits: 55,296 tokens." in tight
    long = paragone("fit", "rogue:steady", "--ctx", "100000").stdout.decode()
    assert "Whether it fits is unknown" in long
    assert "The model was trained for a context of 65,536 tokens only." in long


@pytest.fixture
def few_tokens(tmp_path):
    """A 70B model at 16 bits and at two quantizations, of which only the headers exist.

    The model has few tokens, since llama.cpp reads the whole vocabulary for each estimate.
    """
    folder = tmp_path / "few-tokens"
    folder.mkdir()
    return {name: write_large_model(folder, name, vocab=FEW) for name in ("F16", "Q4_K_M", "Q2_K")}


@MODEL
def test_the_quantizations_that_fit_are_listed_with_their_fidelity(few_tokens):
    save_fidelity(few_tokens["F16"], few_tokens["Q4_K_M"])
    done = paragone("fit", f"llama_cpp:{few_tokens['F16']}", "--vram", "48G", "--ctx", "8192")
    assert (done.returncode, said(done)) == (0, "")
    text = done.stdout.decode()
    assert "Planned for a hypothetical GPU with 51.5 GB free" in text
    assert "QUANTIZATION  FILE " in text, "the weights take less than their file"
    losses = text.partition("Losses, by the newest measurements with `paragone fidelity`:\n")[2].splitlines()
    assert losses[2].split()[:6] == ["Q4_K_M", "0.1316", "±", "0.0079", "(noticeable)", "75.8%"]
    assert "about 472 MB" in text
    assert "of 81 layers (the output counts as one); the others stay on the CPU." in text
    rows = {line.split()[0]: line for line in text.splitlines() if line[:1] in "FQ" and "GB" in line}
    assert set(rows) == {"Q4_K_M", "Q2_K"}
    assert "38.5 GB" in rows["Q4_K_M"]  # 68.5e9 weights of 4.5 bits
    assert "  yes  " in rows["Q4_K_M"]
    assert "Of these, Q4_K_M and Q2_K would fit on the GPU as a whole." in text


@MODEL
def test_other_quantizations_are_estimated_even_without_a_history(few_tokens, home):
    (home / "data").mkdir(exist_ok=True)
    (home / "data" / "paragone").touch()
    for name in ("Q4_K_M", "Q2_K"):
        few_tokens[name].unlink()
    done = paragone("fit", f"llama_cpp:{few_tokens['F16']}", "--vram", "48G")
    text = done.stdout.decode()
    assert (done.returncode, said(done)) == (0, "")
    assert "A rough estimate of other quantizations, from their usual bits per weight" in text
    rows = {line.split()[0]: line for line in text.splitlines() if "about" in line}
    assert "about 72.7 GB" in rows["Q8_0"]  # 68.5e9 weights of 8.5 bits
    assert rows["Q4_K_M"].endswith("  yes")
    assert not rows["Q8_0"].endswith("  yes")


@MODEL
def test_a_model_is_planned_for_two_hypothetical_gpus(few_tokens):
    command = ("fit", f"llama_cpp:{few_tokens['Q4_K_M']}", "--ctx", "8192")
    both = data("fit", paragone(*command, "--vram", "24G,24G", "--json"))
    first, second, cpu = both["devices"]
    assert [it["device"] for it in both["devices"]] == ["hypothetical GPU 0", "hypothetical GPU 1", "CPU"]
    assert (both["gpu_layers"], both["layers"]) == (81, 81)
    layers = first["kv_cache"] // (both["n_ctx"] * 8 * 128 * 2 * 2)
    assert layers == 41, "41 of 81 for the first GPU, 39 and the output for the second"
    assert first["compute"] == second["compute"] > 0
    assert cpu["kv_cache"] == 0


@MODEL
def test_experts_can_be_planned_in_main_memory(tmp_path):
    path = write_large_moe(tmp_path, vocab=2048)
    text = paragone("fit", f"llama_cpp:{path}", "--ctx", "8192", "--vram", "24G").stdout.decode()
    kept, option = re.findall(r"The experts of the first (\d+) layers .*: --set n_cpu_moe=(\d+)", text)[0]
    assert 0 < int(kept) == int(option) < 48
    (cpu,) = (line for line in text.splitlines() if line.startswith("CPU"))
    layer = 3 * 128 * 768 * 2048 * 34 // 32  # the experts of one layer at 8.5 bits
    embeddings = 2048 * 2048 * 34 // 32
    assert f"  {(int(kept) * layer + embeddings) / 1e9:.1f} GB  " in cpu


def save_fidelity(reference, candidate):
    """Save a measurement of two files, as `paragone fidelity` does."""
    figures = {"mean_kld": 0.1316, "mean_kld_se": 0.0079, "top1_agreement": 0.758}
    measurement = Measurement(
        kind="fidelity",
        engines=tuple(
            EngineDefinition(name=it.stem, backend="llama_cpp", model=str(it))
            for it in (reference, candidate)
        ),
        data={"candidates": [{"engine": candidate.stem, **figures}]},
        created=1_790_000_000,
    )
    with contextlib.closing(Store.open()) as store:
        store.measurements.add(measurement)
