"""JSON whose shape others decided: what is missing or of another type is empty."""

import pytest

from paragone import Json, json_values

DATA: Json = {"a": {"text": "x", "number": 1.5, "count": 3, "list": [{"b": 1}, "y", None], "flag": True}}


def test_what_is_at_a_path():
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


@pytest.mark.parametrize("path", [("b",), ("a", "b"), ("a", "list", "b"), ("a", "text", "b")])
def test_what_is_missing_is_empty(path):
    assert json_values.value_at(DATA, *path) is None
    assert (
        json_values.text_at(DATA, *path),
        json_values.number_at(DATA, *path),
        json_values.count_at(DATA, *path),
    ) == ("", None, None)
    assert (
        json_values.object_at(DATA, *path),
        json_values.list_at(DATA, *path),
        json_values.objects_at(DATA, *path),
    ) == ({}, (), [])


@pytest.mark.parametrize("wrong", [True, -1, 1.5, 2**53 + 1, "3", None])
def test_what_is_no_count(wrong):
    assert json_values.count_at(wrong) is None


@pytest.mark.parametrize("wrong", [True, "1", None, [], float("nan"), float("inf"), 10**400])
def test_what_is_no_number(wrong):
    assert json_values.number_at(wrong) is json_values.duration_at(wrong, unit=1) is None


def test_a_text_is_not_a_list_and_a_wrong_number_no_duration():
    assert json_values.list_at("abc") == ()
    assert json_values.duration_at(-1, unit=1) is json_values.duration_at(1e10, unit=1) is None
