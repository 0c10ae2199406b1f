"""The bytes of tokens, compared with llama.cpp's for the same vocabulary by fingerprint."""

import contextlib
from typing import Any

import pytest
from tests.gguf_writer import gguf

from paragone import Json, fingerprint
from paragone_exllama.model_folder import token_bytes

UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1 << 0, 1 << 3, 1 << 4, 1 << 5
"""Attributes of tokens in llama.cpp (`llama_token_attr`)."""

BYTE_LEVEL = {"pre_tokenizer": {"type": "ByteLevel"}, "decoder": {"type": "ByteLevel"}}
SENTENCEPIECE: dict[str, Json] = {
    "pre_tokenizer": None,
    "decoder": {
        "type": "Sequence",
        "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"},
            {"type": "Fuse"},
        ],
    },
}


@pytest.fixture
def llama_cpp():
    """A function that opens the vocabulary of a GGUF in llama.cpp itself."""
    lib = pytest.importorskip("llama_cpp").llama_cpp
    library = pytest.importorskip("paragone_llama_cpp.library")
    vocab = pytest.importorskip("paragone_llama_cpp.context")
    library.load("native")

    @contextlib.contextmanager
    def opened(path):
        lib.llama_backend_init()
        parameters = lib.llama_model_default_params()
        parameters.vocab_only = True
        model = lib.llama_model_load_from_file(str(path).encode(), parameters)
        assert model
        try:
            yield lib, vocab.Vocab(model)
        finally:
            lib.llama_model_free(model)

    return opened


def as_tokenizer(lib, vocab, kind):
    """Return the relevant part of the tokenizer.json from which a GGUF with this vocabulary would be converted."""
    pieces, added = {}, []
    for token in range(vocab.size):
        text = lib.llama_vocab_get_text(vocab.pointer, token).decode()
        attributes = lib.llama_vocab_get_attr(vocab.pointer, token)
        pieces[text] = token
        if attributes & (UNKNOWN | CONTROL | USER_DEFINED):
            added.append({"id": token, "content": text, "special": bool(attributes & (UNKNOWN | CONTROL))})
    return {**kind, "added_tokens": added, "model": {"type": "BPE", "vocab": pieces}}


def test_byte_level_tokens_are_those_of_llama_cpp(llama_cpp, whole_smollm2):
    with llama_cpp(whole_smollm2) as (lib, vocab):
        found, control = token_bytes(as_tokenizer(lib, vocab, BYTE_LEVEL))
        theirs = [vocab.written(token) for token in range(vocab.size)]
        assert control == {token for token in range(vocab.size) if not vocab.piece(token)}
    ours = [found[token] for token in range(len(theirs))]
    assert ours == theirs
    assert fingerprint(ours) == fingerprint(theirs)
    assert b"<|im_end|>" in ours
    assert any(b"\xf0\x9f" in piece and not piece.decode("utf-8", "ignore") for piece in ours)


def test_sentencepiece_tokens_are_those_of_llama_cpp(llama_cpp, tmp_path):
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    tokens = ["<unk>", "<s>", "</s>", *bytes_, "▁", "▁▁the", "naïve", "▁<x", "<0x4", "<mark up>", "\n"]
    kinds = [2, 3, 3] + [6] * 256 + [1] * 5 + [4, 1]
    values: dict[str, Any] = {
        "general.architecture": "llama",
        "llama.context_length": 16,
        "llama.embedding_length": 8,
        "llama.block_count": 1,
        "llama.feed_forward_length": 8,
        "llama.attention.head_count": 1,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": [-float(at) - 0.5 for at in range(len(tokens))],
        "tokenizer.ggml.token_type": kinds,
    }
    path = tmp_path / "spm.gguf"
    path.write_bytes(gguf(values))
    with llama_cpp(path) as (lib, vocab):
        found, control = token_bytes(as_tokenizer(lib, vocab, SENTENCEPIECE))
        theirs = [vocab.written(token) for token in range(vocab.size)]
        assert control == {token for token in range(vocab.size) if not vocab.piece(token)}
    assert [found[token] for token in range(len(theirs))] == theirs
    assert theirs[3:5] == [b"\x00", b"\x01"]
    assert theirs[260:262] == [b"  the", "naïve".encode()]


def test_names_in_angle_brackets_are_control_tokens():
    """llama.cpp's converter treats them as control tokens, even if tokenizer.json does not."""
    names = ["<｜tool▁calls▁begin｜>", "▁▁", "<unused7>", "<s>"]
    added: list[Json] = [
        {"id": at, "content": name, "special": name == "<s>"} for at, name in enumerate(names)
    ]
    found, control = token_bytes({**SENTENCEPIECE, "added_tokens": added, "model": {"vocab": {}}})
    assert control == {0, 2, 3}
    assert [found[at].decode() for at in range(4)] == ["<｜tool▁calls▁begin｜>", "  ", "<unused7>", "<s>"]


def test_a_unigram_model_lists_its_tokens():
    model: Json = {"type": "Unigram", "vocab": [["<unk>", 0.0], ["▁a", -1.0], ["<0xE2>", -2.0]]}
    kind: dict[str, Json] = {"pre_tokenizer": {"type": "Metaspace"}, "decoder": {"type": "Metaspace"}}
    assert token_bytes({**kind, "model": model}).pieces == {0: b"<unk>", 1: b" a", 2: b"\xe2"}


@pytest.mark.parametrize(
    "tokenizer",
    [
        {},
        {"model": {"type": "WordPiece", "vocab": {"a": 0}}, "decoder": {"type": "WordPiece"}},
        {"decoder": None, "pre_tokenizer": {"type": "Sequence", "pretokenizers": None}},
    ],
)
def test_other_kinds_are_unknown(tokenizer):
    assert token_bytes(tokenizer) is None


def test_damaged_files_are_read_as_far_as_possible():
    assert token_bytes({**BYTE_LEVEL, "model": None, "added_tokens": 7}).pieces == {}
    odd: dict[str, Json] = {
        **BYTE_LEVEL,
        "model": {"vocab": {"a": True, "b": "c", "d": 1}},
        "added_tokens": [1, {"id": 2}],
    }
    assert token_bytes(odd).pieces == {1: b"d"}
