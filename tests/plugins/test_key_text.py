"""What looks like a key, and URLs without keys."""

import pytest

from paragone.texts import is_key, without_key_words, without_keys


@pytest.mark.parametrize(
    ("is_one", "texts"),
    [
        (True, "sk-verysecret sk%2Dverysecret AKIAIOSFODNN7EXAMPLE 0123456789abcdef0123456789abcdef 01234567890123456789 "
               "a3f2c1d4-1111-2222-3333-444455556666 •••"),
        (False, " v1 openai gpt-4o-mini-2024-07-18 my-long-project-1234 OpenHermesMistralInstruct GPU_BOX_KEY2 $NAME 8000"),
    ],
)  # fmt: skip
def test_what_is_a_key(is_one, texts):
    assert {text: is_key(text) for text in texts.split(" ")} == dict.fromkeys(texts.split(" "), is_one)


@pytest.mark.parametrize(
    ("text", "public"),
    [
        ("openai:m@http://u:p@h:1/v1/sk-verysecret/x?key=abc#f", "openai:m@http://h:1/v1/•••/x"),
        ("See http://h:80/v1. And https://a/b?c=d, 'http://h?k=v'.", "See http://h:80/v1. And https://a/b, 'http://h'."),
        ("http://[::1]:80/v1", "http://[::1]:80/v1"),
        ("no url: a?b=c#d me@box", "no url: a?b=c#d me@box"),
    ],
)  # fmt: skip
def test_texts_without_keys(text, public):
    assert without_keys(text) == public


@pytest.mark.parametrize(
    ("text", "public"),
    [
        ("runs the command echo sk-verysecret", "runs the command echo •••"),
        ("headers = Authorization: Bearer ab/cd+ef1==", "headers = Authorization: Bearer •••"),
        ("The key 'sk-verysecret', --api-key=hf_0123456789.", "The key '•••', --api-key=•••."),
        ("at http://h/?k=sk-verysecret", "at http://h/"),
        ("Basic authentication is required.", "Basic authentication is required."),
        ("reads /m/0123456789abcdef0123/m.gguf", "reads /m/0123456789abcdef0123/m.gguf"),
        ("sends to its server: key_env = GPU_BOX_KEY2", "sends to its server: key_env = GPU_BOX_KEY2"),
    ],
)
def test_texts_without_keys_among_their_words(text, public):
    assert without_key_words(text) == public


@pytest.mark.parametrize(
    "around",
    ["<b>{}</b>", "“{}”", "{}…", "key={}&x=1", "&quot;{}&quot;", r'{{\"key\": \"{}\"}}', r"{}\n", "%22{}%22", "{}\u200b",
     "\x1b[1m{}\x1b[0m", "({})."],
)  # fmt: skip
def test_a_key_is_found_whatever_stands_around_it(around):
    """Gateways answer with HTML, JSON in JSON, and other text with the key in it."""
    key = "sk-proj-4f9aB2c8D1e7F3a6"
    public = without_key_words(around.format(key))
    assert key[8:] not in public
    assert "•••" in public


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("text", "public"),
    [
        ("a" * 100_000, "a" * 100_000),
        ("a." * 50_000 + "://u:p@h", "a." * 50_000 + "://h"),
        ("http://h?k" + "." * 100_000 + "v", "http://h"),
        ("a-" * 50_000 + "/", "a-" * 50_000 + "/"),
    ],
    ids=["letters", "a scheme", "punctuation", "a part of a path"],
)
def test_a_long_text_takes_no_more_than_its_length_deserves(text, public):
    # the time limit of all tests ends a search whose time grows with the square of the length
    assert without_keys(text) == without_key_words(text) == public
