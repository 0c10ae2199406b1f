"""The value of the option `json_schema`: read, and refused before anything is sent."""

import json

import pytest

from paragone import InputError
from paragone.json_values import check_inline_schema, read_schema

PERSON = (
    '{"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": ["integer", "null"]}}}'
)


def test_a_schema_is_read_from_the_value_or_from_a_file(tmp_path):
    path = tmp_path / "person.json"
    path.write_text(PERSON)
    assert read_schema(f"@{path}") == read_schema(PERSON) == json.loads(PERSON)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("name: string", "is not JSON"),
        ("[]", "is not a JSON object"),
        ('{"items": ' * 5000 + "{}" + "}" * 5000, "is not JSON"),
        ('{"title": "' + "a" * 2**20 + '"}', "characters long"),
    ],
)
def test_what_is_no_object_is_refused(value, reason):
    for read in (read_schema, check_inline_schema):
        with pytest.raises(InputError) as refused:
            read(value)
        assert reason in refused.value.sentence


def test_a_file_is_not_read_by_the_check_of_options():
    check_inline_schema("@/nowhere/at.all")
    with pytest.raises(InputError, match="json_schema"):
        read_schema("@/nowhere/at.all")
