"""The adapters, compared with the real sources of ExLlamaV2 and ExLlamaV3, which are not imported."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import paragone
import paragone_exllama

PACKAGE = Path(paragone_exllama.__file__).parent
ADAPTERS = {"exllamav2": "v2.py", "exllamav3": "v3.py"}

libraries = pytest.mark.parametrize("library", list(ADAPTERS))


def generator_texts(folder, library):
    """Return all string constants of the real generator, which include the keys and values of its results."""
    texts = set()
    for path in (folder / library / "generator").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.add(node.value)
    return texts


@libraries
def test_keys_of_results_agree_with_the_real_generator(library, sources):
    texts = generator_texts(sources(library), library)
    used = {
        "stage", "started", "prefill", "streaming", "curr_progress", "eos", "eos_reason", "stop_token",
        "max_new_tokens", "text", "token_ids", "held",
    }  # fmt: skip
    if library == "exllamav3":
        used |= {"error"}
    assert used <= texts
    # The adapters read no other keys.
    read = set()
    for module in ("engine.py", "open_model.py", ADAPTERS[library]):
        for node in ast.walk(ast.parse((PACKAGE / module).read_bytes())):
            if isinstance(node, ast.Subscript) and ast.unparse(node.value) in ("result", "held"):
                assert isinstance(node.slice, ast.Constant)
                read.add(node.slice.value)
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "result.get":
                assert isinstance(node.args[0], ast.Constant)
                read.add(node.args[0].value)
    assert read <= used | {"error"}


@libraries
def test_the_capacity_agrees_with_the_end_of_the_generator(library, sources):
    """The capacity is derived from these lines of the libraries. If they change, it must change too."""
    folder = sources(library)
    if library == "exllamav2":
        text = (folder / "exllamav2" / "generator" / "dynamic.py").read_text()
        assert "if self.new_tokens >= self.max_new_tokens - self.generator.num_draft_tokens:" in text
        assert "max_len = len(seq.sequence_ids) + self.max_new_tokens" in text
    else:
        text = (folder / "exllamav3" / "generator" / "job.py").read_text()
        assert "- 1 - self.generator.max_draft_tokens" in text
        assert "if self.new_tokens >= self.max_new_tokens:" in text


def test_copied_formulas_are_still_in_the_libraries_sources(sources):
    """If one of these lines changes in the libraries, `estimate` must change too."""
    v2, v3 = sources("exllamav2") / "exllamav2", sources("exllamav3") / "exllamav3"
    for path, said in {
        v2 / "model.py": ("# Embedding layer on CPU",),
        v2 / "cache.py": (
            "self.shape_s = (self.batch_size, self.max_seq_len, self.num_key_value_heads, self.head_dim // 32)",
        ),
        v3 / "modules" / "embedding.py": ('"prefer_cpu": not quantized',),
        v3 / "modules" / "linear.py": ("pad_to: int = 128",),
        v3 / "modules" / "quant" / "exl3.py": ("MAX_RECONSTRUCT_SLICE_N = 32768",),
        v3 / "cache" / "quant.py": ("self.token_dim // 32 * k_bits", "self.token_dim // 32)"),
        v3 / "architecture" / "llama.py": (
            'if config.tie_word_embeddings and not self.config.stc.has_tensor("lm_head"):',
        ),
    }.items():
        text = path.read_text(encoding="utf-8")
        for message in said:
            assert message in text, f"{path.name}: {message}"


@libraries
def test_recognized_error_messages_are_still_in_the_libraries_sources(library, sources):
    text = "\n".join(
        path.read_text(encoding="utf-8")
        for path in (sources(library) / library).rglob("*.py")
        if "architecture" not in path.parts
    )
    said = {
        "exllamav2": ("Insufficient VRAM for model and cache", "Insufficient space in device allocation"),
        "exllamav3": ("Insufficient VRAM in split for model and cache", "CUDA out of memory"),
    }[library]
    assert [message for message in said if message not in text] == []
    assert "OutOfMemoryError" in text


MYPY = """
[mypy]
strict = True
explicit_package_bases = True
warn_unreachable = True
untyped_calls_exclude = exllamav2,exllamav3
mypy_path = {path}
[mypy-exllamav2.*,exllamav3.*]
follow_imports = silent
implicit_reexport = True
implicit_optional = True
[mypy-torch.*]
ignore_missing_imports = True
"""


def test_mypy_finds_wrong_calls_of_the_libraries(sources, kept, tmp_path):
    """It checks a copy of the package with wrong calls against the real sources of both libraries."""
    pytest.importorskip("mypy")
    copy = tmp_path / "paragone_exllama"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for name, old, new in (
        ("v2.py", "callback=progress", "call_back=progress"),
        ("v2.py", "lazy=True", "lazy_load=True"),
        ("v3.py", "max_num_tokens=self._context", "max_num_tokens=str(self._context)"),
        ("v3.py", "self.generator.close()", "self.generator.shut()"),
    ):
        text = (copy / name).read_text()
        assert text.count(old) >= 1
        (copy / name).write_text(text.replace(old, new))
    real = [str(sources(library)) for library in ADAPTERS]
    path = os.pathsep.join([str(tmp_path), str(Path(paragone.__file__).parent.parent), *real])
    (tmp_path / "mypy.ini").write_text(MYPY.format(path=path))
    command = [sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "-p", "paragone_exllama"]
    command += ["--cache-dir", str(kept / "mypy"), "--no-error-summary"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
    assert done.stderr == ""
    errors = [line for line in done.stdout.splitlines() if " note: " not in line]
    for kind, what in (
        ("call-arg", "call_back"),
        ("call-arg", "lazy_load"),
        ("arg-type", "max_num_tokens"),
        ("attr-defined", '"shut"'),
    ):
        found = [line for line in errors if f"[{kind}]" in line and what in line]
        assert found, what
        errors = [line for line in errors if line not in found]
    assert errors == []
