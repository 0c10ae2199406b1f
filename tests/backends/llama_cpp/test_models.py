"""Reading headers and finding models, with synthetic files."""

import os
import struct
import tracemalloc

import pytest

from paragone.gguf import GgufError, find_models, read_header, read_tensors, usual_folders

VOCABULARY = [f"token{i}" for i in range(60_000)]
MODEL = {
    "general.architecture": "llama",
    "general.name": "Tiny",
    "llama.context_length": 4096,
    "general.file_type": 15,
}


@pytest.fixture
def write(tmp_path, make_gguf):
    def write_it(name, values=MODEL, tensors=(), **options):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(make_gguf(values, tensors, **options))
        return path

    return write_it


@pytest.mark.parametrize(("file_type", "quantization"), [(1, "F16"), (12, "Q3_K_M"), (15, "Q4_K_M")])
def test_a_header_describes_the_model(write, file_type, quantization):
    header = read_header(str(write("a.gguf", MODEL | {"general.file_type": file_type})))
    assert (header.name, header.architecture, header.context) == ("Tiny", "llama", 4096)
    assert header.quantization == quantization


def noted_reads(monkeypatch):
    """Return a list to which the size of each read is added."""
    sizes: list[int] = []
    real = os.read

    def read(fd, size):
        sizes.append(size)
        return real(fd, size)

    monkeypatch.setattr(os, "read", read)
    return sizes


def test_the_vocabulary_is_not_read(write, monkeypatch):
    path = write("a.gguf", {**MODEL, "tokenizer.ggml.tokens": VOCABULARY})
    assert path.stat().st_size > 800_000
    read = noted_reads(monkeypatch)
    monkeypatch.setattr("mmap.mmap", lambda *a, **k: pytest.fail("the whole file was mapped"))
    assert read_header(str(path)).quantization == "Q4_K_M"
    assert len(read) == 1
    assert read[0] <= 1 << 16


def test_keys_after_the_vocabulary_are_found(write):
    # llama.cpp's quantizer writes the file type at the end.
    values = {"general.architecture": "llama", "tokenizer.ggml.tokens": VOCABULARY, **MODEL}
    assert read_header(str(write("a.gguf", values))).quantization == "Q4_K_M"


def test_without_a_file_type_the_quantization_is_read_from_the_file_name_or_the_tensors(write):
    values = {key: value for key, value in MODEL.items() if key != "general.file_type"}
    tensors = [("norm", (64,), 0), ("ffn", (64, 64), 14), ("token_embd", (8, 8), 1)]
    assert read_header(str(write("tiny.gguf", values, tensors))).quantization == "Q6_K"
    assert read_header(str(write("tiny-IQ4_XS.gguf", values))).quantization == "IQ4_XS"
    assert read_header(str(write("tiny.q5_k_m.gguf", values))).quantization == "Q5_K_M"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"PK\x03\x04" + bytes(100), "is not a GGUF file"),
        (b"GGUF" + struct.pack("<IQQ", 99, 0, 0), "version 99"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big-endian"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1 << 60), "0 tensors and 1,152,921,504,606,846,976 values"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1 << 63), "9,223,372,036,854,775,808 bytes of text"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"k" + struct.pack("<I", 77), "unknown type 77"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"k" + struct.pack("<IIQ", 9, 8, 1 << 40), "lists of"),
    ],
)
def test_problems_of_a_file_are_reported(tmp_path, content, reason):
    path = tmp_path / "bad.gguf"
    path.write_bytes(content)
    for whole in (False, True):
        with pytest.raises(GgufError, match=reason):
            read_header(str(path), whole=whole)
    (model,) = find_models([str(tmp_path)])
    assert reason in model.problem
    assert model.name == "bad"


KEY = struct.pack("<Q", 1) + b"k"
LIST = KEY + struct.pack("<II", 9, 8)


@pytest.mark.parametrize(
    ("counts", "parts", "reason"),
    [
        ((0, 1), [(struct.pack("<Q", 2**31), 2**31)], "2,147,483,648 bytes of text"),
        ((0, 1), [(KEY + struct.pack("<IQ", 8, 2**31), 2**31)], "2,147,483,649 bytes of text"),
        (
            (0, 2),
            [(LIST + b"\1" + bytes(7), 8), (LIST + bytes(5) + b"\1\0\0", 0)],
            "lists of 1,099,511,627,777 strings",
        ),
    ],
    ids=["key", "value", "lists"],
)
def test_a_header_that_no_model_has_is_refused_before_it_takes_memory(tmp_path, counts, parts, reason):
    path = tmp_path / "hollow.gguf"
    with path.open("wb") as file:
        file.write(b"GGUF" + struct.pack("<IQQ", 3, *counts))
        for part, hole in parts:  # a hole takes no space
            file.write(part)
            file.seek(hole, os.SEEK_CUR)
        file.truncate()
    tracemalloc.start()
    with pytest.raises(GgufError, match=reason):
        read_header(str(path), whole=True)
    with pytest.raises(GgufError, match=reason):
        read_tensors(str(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**28


def test_a_header_cut_anywhere_is_reported_as_truncated(tmp_path, make_gguf):
    whole = make_gguf({**MODEL, "tokenizer.ggml.tokens": ["a", "b"]}, [("t", (2, 2), 0)])
    path = tmp_path / "cut.gguf"
    for length in range(4, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(GgufError, match="truncated"):
            read_header(str(path), whole=True)


def test_models_are_found_below_the_folders_and_sorted(write, tmp_path):
    write("b/two.gguf")
    write("a/deep/er/one.GGUF")
    write("c.gguf")
    (tmp_path / "notes.txt").write_text("no model")
    (tmp_path / "folder.gguf").mkdir()
    found = find_models([str(tmp_path), str(tmp_path / "b"), str(tmp_path / "nowhere")])
    assert [os.path.relpath(model.model, tmp_path) for model in found] == [
        "a/deep/er/one.GGUF",
        "b/two.gguf",
        "c.gguf",
    ]
    assert all(not model.problem and model.size for model in found)


def test_links_are_followed_but_not_in_cycles(write, tmp_path):
    write("real/one.gguf")
    (tmp_path / "real" / "back").symlink_to(tmp_path)
    (tmp_path / "real" / "gone.gguf").symlink_to(tmp_path / "nothing")
    (tmp_path / "real" / "a-loop").symlink_to("a-loop")
    (tmp_path / "real" / "loop.gguf").symlink_to("loop.gguf")
    found = find_models([str(tmp_path / "real")])
    assert [os.path.basename(model.model) for model in found] == ["gone.gguf", "loop.gguf", "one.gguf"]
    assert all("cannot be read" in model.problem for model in found[:2])


def test_a_split_model_is_listed_once(write):
    values = {**MODEL, "split.count": 3}
    paths = [write(f"big-{n:05d}-of-00003.gguf", values if n == 1 else {"split.no": n}) for n in (1, 2, 3)]
    (model,) = find_models([str(paths[0].parent)])
    assert model.model == str(paths[0])
    assert model.size == sum(path.stat().st_size for path in paths)
    assert (model.name, model.quantization, model.problem) == ("Tiny", "Q4_K_M", "")
    paths[1].unlink()
    (model,) = find_models([str(paths[0].parent)])
    assert model.problem == "is one of 3 parts, and part 2 is missing"


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"general.type": "adapter", "general.architecture": "llama"}, "LoRA adapter"),
        ({"general.architecture": "bert", "bert.attention.causal": False}, "embedding"),
        ({"general.name": "x"}, "does not name an architecture"),
    ],
)
def test_files_that_are_not_models_are_listed_with_a_problem(write, values, reason):
    path = write("x.gguf", values)
    (model,) = find_models([str(path.parent)])
    assert reason in model.problem


def test_image_encoders_are_not_listed(write):
    path = write("model.gguf")
    write("mmproj-model.gguf", {"general.architecture": "clip", "general.type": "mmproj"})
    assert [model.model for model in find_models([str(path.parent)])] == [str(path)]


def test_a_file_in_two_revisions_in_hugging_faces_cache_is_listed_once(write, tmp_path):
    repository = tmp_path / "models--owner--a-model-GGUF"
    blob = write("models--owner--a-model-GGUF/blobs/0123")
    for revision in ("aaaa", "bbbb"):
        link = repository / "snapshots" / revision / "sub" / "model-Q4_K_M.gguf"
        link.parent.mkdir(parents=True)
        link.symlink_to(blob)
    (model,) = find_models([str(tmp_path)])
    assert model.name == "owner/a-model-GGUF/model-Q4_K_M"
    assert model.model == str(repository / "snapshots/aaaa/sub/model-Q4_K_M.gguf")


def test_the_usual_folders_belong_to_other_programs(home, monkeypatch):
    cache = home.with_name(f"{home.name}-cache")
    (cache / "huggingface/hub/models--owner--name/snapshots").mkdir(parents=True)
    assert usual_folders() == [
        f"{cache}/llama.cpp",
        "~/.lmstudio/models",
        "~/.cache/lm-studio/models",
        f"{cache}/huggingface/hub/models--owner--name/snapshots",
    ]
    monkeypatch.setenv("LLAMA_CACHE", "/srv/llama")
    assert usual_folders()[0] == "/srv/llama"
