"""JSON whose shape others decided: what is missing or of another type is empty."""

import pytest

from paragone import Json
from paragone.json_values import (
    count_at,
    duration_at,
    flag_at,
    list_at,
    number_at,
    object_at,
    objects_at,
    text_at,
    texts_at,
    value_at,
)

DATA: Json = {"a": {"text": "x", "number": 1.5, "count": 3, "list": [{"b": 1}, "y", None], "flag": True}}


def test_what_is_at_a_path():
    assert value_at(DATA, "a", "flag") is flag_at(DATA, "a", "flag") is True
    assert texts_at(DATA, "a", "list") == ("y",)
    assert duration_at(DATA, "a", "number", unit=1e-3) == 0.0015
    assert text_at(DATA, "a", "text") == "x"
    assert number_at(DATA, "a", "number") == 1.5
    assert count_at(DATA, "a", "count") == number_at(DATA, "a", "count") == 3
    assert object_at(DATA, "a")["flag"] is True
    assert list_at(DATA, "a", "list") == [{"b": 1}, "y", None]
    assert objects_at(DATA, "a", "list") == [{"b": 1}]
    assert object_at(DATA) == DATA


@pytest.mark.parametrize("path", [("b",), ("a", "b"), ("a", "list", "b"), ("a", "text", "b")])
def test_what_is_missing_is_empty(path):
    assert value_at(DATA, *path) is None
    assert (text_at(DATA, *path), number_at(DATA, *path), count_at(DATA, *path)) == ("", None, None)
    assert (object_at(DATA, *path), list_at(DATA, *path), objects_at(DATA, *path)) == ({}, (), [])


@pytest.mark.parametrize("wrong", [True, -1, 1.5, 2**53 + 1, "3", None])
def test_what_is_no_count(wrong):
    assert count_at(wrong) is None


@pytest.mark.parametrize("wrong", [True, "1", None, [], float("nan"), float("inf"), 10**400])
def test_what_is_no_number(wrong):
    assert number_at(wrong) is duration_at(wrong, unit=1) is None


@pytest.mark.parametrize("wrong", [-1, 1e10])
def test_what_is_no_duration(wrong):
    assert duration_at(wrong, unit=1) is None


def test_a_text_is_not_a_list():
    assert list_at("abc") == ()
