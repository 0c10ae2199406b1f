"""Chat templates, special tokens and the bytes of tokens, from a model's JSON files."""

import contextlib
import ctypes
import json
import os
from typing import Any

import pytest
from tests.gguf_writer import gguf

from paragone import InputError, Json, fingerprint
from paragone_exllama.model_folder import check_folder, read_tokenizer_files, token_bytes
from paragone_llama_cpp import c_api, context, library


@pytest.fixture
def read(write_model, tmp_path):
    def read_it(option=None, *, config=None, files=None):
        folder = write_model(tmp_path / "model", **(config or {}))
        for name, change in (files or {}).items():
            path = folder / name
            if isinstance(change, str):
                path.write_text(change)
            else:
                path.write_text(json.dumps((json.loads(path.read_text()) if path.exists() else {}) | change))
        return read_tokenizer_files(check_folder(folder, ["plain"], "Test"), option)

    return read_it


def test_the_template_is_found_in_each_possible_file(read):
    assert read().template.startswith("{% for message in messages %}")
    named = {"chat_template": [{"name": "tools", "template": "T"}, {"name": "default", "template": "D"}]}
    assert read(files={"tokenizer_config.json": named}).template == "D"
    assert read(files={"chat_template.jinja": "J"}).template == "J"


def test_older_models_have_a_separate_template_file(read):
    apart = {"tokenizer_config.json": {"chat_template": None}, "chat_template.json": {"chat_template": "A"}}
    assert read(files=apart).template == "A"


def test_the_users_template_takes_precedence(read, tmp_path):
    (tmp_path / "mine.jinja").write_text("M")
    assert read("given").template == "given"
    assert read(f"@{tmp_path / 'mine.jinja'}").template == "M"
    assert read("").template is None
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read(f"@{tmp_path / 'none'}")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="is not a regular file"):
        read(f"@{tmp_path / 'pipe'}")


def test_all_end_tokens_are_found(read):
    files = read(config={"eos_token_id": [7, 8], "text_config": {"eos_token_id": 9}})
    known = {"<|im_end|>": 258, "<|end_of_text|>": 259}
    # config.json, generation_config.json, tokenizer_config.json and the vocabulary
    assert files.end_tokens(known.get) == {7, 8, 9, 258, 259}
    assert (files.bos, files.eos) == ("<|bos|>", "<|im_end|>")


@pytest.mark.parametrize(("others", "ends"), [([], True), (["<|channel|>"], False)])
def test_a_token_that_ends_channels_ends_answers_in_models_without_channels(read, others, ends):
    added = [
        {"content": text, "id": 300 + at, "special": True} for at, text in enumerate(["<|end|>", *others])
    ]
    files = read(files={"tokenizer.json": {"added_tokens": added}})
    assert ("<|end|>" in files.end_texts) == ends


@pytest.mark.parametrize(
    ("settings", "tokenizer", "adds"),
    [
        ({"add_bos_token": True}, {}, True),
        ({"add_bos_token": False}, {}, False),
        ({"add_bos_token": True, "bos_token": None}, {}, False),
        (
            {"add_bos_token": None, "bos_token": {"content": "<|bos|>"}},
            {
                "post_processor": {
                    "type": "Sequence",
                    "processors": [
                        {"type": "ByteLevel"},
                        {
                            "type": "TemplateProcessing",
                            "single": [{"SpecialToken": {"id": "<|bos|>"}}, {"Sequence": {"id": "A"}}],
                        },
                    ],
                }
            },
            True,
        ),
        (
            {"add_bos_token": None},
            {"post_processor": {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A"}}]}},
            False,
        ),
    ],
)
def test_whether_texts_begin_with_a_bos_token_is_detected(settings, tokenizer, adds, read):
    assert read(files={"tokenizer_config.json": settings, "tokenizer.json": tokenizer}).adds_bos == adds


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
    raw = ctypes.CDLL(str(library.load().file))
    raw.llama_vocab_get_text.restype = ctypes.c_char_p

    @contextlib.contextmanager
    def opened(path):
        parameters = c_api.lib.llama_model_default_params()
        parameters.vocab_only = True
        model = c_api.lib.llama_model_load_from_file(str(path).encode(), parameters)
        assert model
        try:
            yield raw, context.Vocab(model)
        finally:
            c_api.lib.llama_model_free(model)

    return opened


def as_tokenizer(lib, vocab, kind):
    """Return the relevant part of the tokenizer.json from which a GGUF with this vocabulary would be converted."""
    pieces, added, pointer = {}, [], ctypes.c_void_p(vocab.pointer)
    for token in range(vocab.size):
        text = lib.llama_vocab_get_text(pointer, token).decode()
        attributes = lib.llama_vocab_get_attr(pointer, token)
        pieces[text] = token
        if attributes & (UNKNOWN | CONTROL | USER_DEFINED):
            added.append({"id": token, "content": text, "special": bool(attributes & (UNKNOWN | CONTROL))})
    return {**kind, "added_tokens": added, "model": {"type": "BPE", "vocab": pieces}}


def test_byte_level_tokens_agree_with_llama_cpp(llama_cpp, whole_smollm2):
    with llama_cpp(whole_smollm2) as (lib, vocab):
        found, control = token_bytes(as_tokenizer(lib, vocab, BYTE_LEVEL))
        theirs = [vocab.written(token) for token in range(vocab.size)]
        assert control == {token for token in range(vocab.size) if not vocab.piece(token)}
    ours = [found[token] for token in range(len(theirs))]
    assert ours == theirs
    assert fingerprint(ours) == fingerprint(theirs)
    assert b"<|im_end|>" in ours
    assert any(b"\xf0\x9f" in piece and not piece.decode("utf-8", "ignore") for piece in ours)


def test_sentencepiece_tokens_agree_with_llama_cpp(llama_cpp, tmp_path):
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
    assert token_bytes({**kind, "model": model})[0] == {0: b"<unk>", 1: b" a", 2: b"\xe2"}


@pytest.mark.parametrize(
    "tokenizer",
    [
        {},
        {"model": {"type": "WordPiece", "vocab": {"a": 0}}, "decoder": {"type": "WordPiece"}},
        {"decoder": None, "pre_tokenizer": {"type": "Sequence", "pretokenizers": None}},
    ],
)
def test_other_kinds_of_vocabularies_are_unknown(tokenizer):
    assert token_bytes(tokenizer) is None


def test_damaged_files_are_read_as_far_as_possible():
    assert token_bytes({**BYTE_LEVEL, "model": None, "added_tokens": 7})[0] == {}
    odd: dict[str, Json] = {
        **BYTE_LEVEL,
        "model": {"vocab": {"a": True, "b": "c", "d": 1}},
        "added_tokens": [1, {"id": 2}],
    }
    assert token_bytes(odd)[0] == {1: b"d"}
