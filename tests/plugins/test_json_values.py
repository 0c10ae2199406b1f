"""JSON whose shape others decided, and the option `json_schema`, which is refused before anything is sent."""

import json

import pytest

from paragone import InputError, Json, json_values

DATA: Json = {"a": {"text": "x", "number": 1.5, "count": 3, "list": [{"b": 1}, "y", None], "flag": True}}


def test_values_are_read_at_a_path():
    assert json_values.value_at(DATA, "a", "flag") is json_values.flag_at(DATA, "a", "flag") is True
    assert json_values.texts_at(DATA, "a", "list") == ("y",)
    assert json_values.duration_at(DATA, "a", "number", unit=1e-3) == 0.0015
    assert json_values.text_at(DATA, "a", "text") == "x"
    assert json_values.number_at(DATA, "a", "number") == 1.5
    assert json_values.count_at(DATA, "a", "count") == json_values.number_at(DATA, "a", "count") == 3
    assert json_values.object_at(DATA, "a")["flag"] is True
    assert json_values.list_at(DATA, "a", "list") == [{"b": 1}, "y", None]
    assert json_values.objects_at(DATA, "a", "list") == [{"b": 1}]
    assert json_values.object_at(DATA) == DATA


def test_missing_values_and_wrong_types_are_empty():
    for path in (("b",), ("a", "b"), ("a", "list", "b"), ("a", "text", "b")):
        assert json_values.value_at(DATA, *path) is json_values.number_at(DATA, *path) is None
        assert json_values.count_at(DATA, *path) is None
        assert (json_values.text_at(DATA, *path), json_values.object_at(DATA, *path)) == ("", {})
        assert (json_values.list_at(DATA, *path), json_values.objects_at(DATA, *path)) == ((), [])
    counts: tuple[Json, ...] = (True, -1, 1.5, 2**53 + 1, "3", None)
    assert all(json_values.count_at(wrong) is None for wrong in counts)
    numbers: tuple[Json, ...] = (True, "1", None, [], float("nan"), float("inf"), 10**400)
    for wrong in numbers:
        assert json_values.number_at(wrong) is json_values.duration_at(wrong, unit=1) is None
    assert json_values.list_at("abc") == ()
    assert json_values.duration_at(-1, unit=1) is json_values.duration_at(1e10, unit=1) is None


PERSON = '{"type": "object", "properties": {"name": {"type": "string"}}}'


def test_a_schema_is_read_from_the_value_or_from_a_file(tmp_path):
    """A file is not read by the check of options."""
    path = tmp_path / "person.json"
    path.write_text(PERSON)
    assert json_values.read_schema(f"@{path}") == json_values.read_schema(PERSON) == json.loads(PERSON)
    json_values.check_inline_schema("@/nowhere/at.all")
    with pytest.raises(InputError, match="json_schema"):
        json_values.read_schema("@/nowhere/at.all")
    for value, reason in {
        "name: string": "is not JSON",
        "[]": "is not a JSON object",
        '{"items": ' * 5000 + "{}" + "}" * 5000: "is not JSON",
        '{"title": "' + "a" * 2**20 + '"}': "characters long",
    }.items():
        with pytest.raises(InputError, match=reason):
            json_values.check_inline_schema(value)
