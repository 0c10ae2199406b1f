"""Chat templates, special tokens and end tokens from a model's JSON files."""

import json
import os

import pytest

from paragone import InputError
from paragone_exllama.model_folder import check_folder, read_tokenizer_files


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
    assert files.ends(known.get) == {7, 8, 9, 258, 259}
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
def test_it_is_detected_whether_a_text_begins_with_a_bos_token(settings, tokenizer, adds, read):
    assert read(files={"tokenizer_config.json": settings, "tokenizer.json": tokenizer}).adds_bos == adds
