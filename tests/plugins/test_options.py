"""Options: declaration, description, checks of config values, parsing of command lines."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paragone import InputError, Json, Options, option
from paragone.options import OptionInfo, build, describe, parse, value_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Example(Options):
    flag: bool = option(False, "A switch.")
    count: int = option(3, "A whole number.", minimum=0, maximum=10)
    share: float = option(0.5, "A number.", minimum=0, maximum=1)
    scale: float = option(1.0, "A number without bounds.")
    text: str = option("", "Any text.")
    path: str | None = option(None, "A path or none.", metavar="path")
    kind: Literal["f16", "q8_0"] = option("f16", "One of some.")
    limit: int | None = option(None, "A number or none.", minimum=1)
    at_most: float = option(0.0, "A number with an upper bound.", maximum=5)
    split: tuple[float, ...] = option((), "Some numbers.", minimum=0)
    stop: tuple[str, ...] = option(("end",), "Some texts.")
    kinds: tuple[Literal["f16", "q8_0"], ...] | None = option(None, "Some of some, or none.")
    shape: Mapping[str, Json] | None = option(None, "A JSON object or none.")
    pace: bool | int | Literal["slow", "fast"] | None = option(None, "Several types.", minimum=1, maximum=9)


finite = st.floats(allow_nan=False, allow_infinity=False)
kind = st.sampled_from(["f16", "q8_0"])
VALUES = {
    "flag": st.booleans(),
    "count": st.integers(0, 10),
    "share": st.floats(0, 1) | st.integers(0, 1),
    "scale": finite | st.integers(-(2**53), 2**53),
    "text": st.text(),
    "path": st.none() | st.text(),
    "kind": kind,
    "limit": st.none() | st.integers(min_value=1, max_value=10**15 - 1),
    "at_most": st.floats(max_value=5, allow_infinity=False),
    "split": st.lists(st.floats(0, allow_infinity=False), max_size=3),
    "stop": st.lists(st.text(), max_size=3),
    "kinds": st.none() | st.lists(kind, max_size=3),
    "shape": st.none()
    | st.dictionaries(st.text(), st.none() | st.booleans() | finite | st.text(), max_size=3),
    "pace": st.none() | st.booleans() | st.integers(1, 9) | st.sampled_from(["slow", "fast"]),
}
good_values = st.fixed_dictionaries({}, optional=VALUES)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def test_every_option_is_described_in_order():
    infos = {info.name: info for info in describe(Example)}
    assert list(infos) == list(VALUES)
    assert infos["count"] == OptionInfo(
        name="count", kind="whole number", default=3, doc="A whole number.", minimum=0, maximum=10
    )
    assert infos["kind"].choices == ("f16", "q8_0")
    assert infos["stop"] == OptionInfo(
        name="stop", kind="list of text", default=["end"], doc="Some texts.", many=True
    )
    assert [infos[name].kind for name in ("flag", "share", "path", "kind", "kinds", "shape")] == [
        "true or false",
        "number",
        "path",
        "f16 or q8_0",
        "list of f16 or q8_0",
        "JSON object",
    ]


@settings(max_examples=30)
@given(good_values)
def test_valid_values_are_kept_and_missing_ones_get_defaults(values):
    built = build(Example, values)
    for name in VALUES:
        value = getattr(built, name)
        if name not in values:
            assert value == getattr(Example(), name)
        elif isinstance(values[name], list):
            assert value == tuple(values[name])
        else:
            assert value == values[name]
    assert build(Example, {name: getattr(built, name) for name in VALUES}) == built
    # numbers have the type that was declared
    assert type(built.share) is type(built.scale) is float
    assert all(type(value) is float for value in built.split)


@settings(max_examples=30)
@given(st.dictionaries(st.sampled_from(list(VALUES)) | st.text(), anything, max_size=3))
def test_any_value_is_accepted_or_refused_with_the_name_of_its_option(values):
    error = refusal(build, Example, values, owner="the example")
    if error is None:
        assert set(values) <= set(VALUES)
    else:
        assert any(f"option {name!r} of the example" in error.message for name in values)
        assert error.hint


def refusal(do, *args, **options) -> InputError | None:
    try:
        do(*args, **options)
    except InputError as error:
        return error
    return None


@settings(max_examples=30)
@given(good_values)
def test_text_is_parsed_to_the_original_value(values):
    for name, value in values.items():
        if isinstance(value, list):
            if not all(
                str(item).strip() == str(item) and "," not in str(item) for item in value
            ) or value == [""]:
                continue  # values that a list on a command line cannot express
            typed = ",".join(map(str, value))
        else:
            typed = value_text(value) if isinstance(value, dict) else str(value)
        if isinstance(value, str) and typed.strip().lower() == "none" and name == "path":
            continue
        assert build(Example, {name: parse(Example, name, typed)}) == build(Example, {name: value})


@pytest.mark.parametrize(
    ("name", "typed", "value"),
    [
        ("limit", "none", None),
        ("text", "none", "none"),
        ("split", "3, 1", [3, 1]),
        ("shape", '{"Type": [1, null]}', {"Type": [1, None]}),
    ],
)
def test_typed_values_are_parsed(name, typed, value):
    parsed = parse(Example, name, typed)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("flag", 1, "The option 'flag' of It cannot be 1. It takes true or false."),
        ("count", True, "The option 'count' of It cannot be True. It takes a whole number."),
        ("count", 11, "The option 'count' of It cannot be 11. It takes a number from 0 to 10."),
        ("scale", math.inf, "The option 'scale' of It cannot be inf. It takes a finite number."),
        ("kind", "q4", "The option 'kind' of It cannot be 'q4'. It is one of: f16, q8_0."),
        ("split", [1, -1], "The option 'split' of It cannot be -1.0. It takes a number of at least 0."),
    ],
)
def test_invalid_values_are_refused(name, value, says):
    with pytest.raises(InputError) as caught:
        build(Example, {name: value}, owner="It")
    assert str(caught.value) == says


def test_numbers_have_bounds_even_if_none_are_declared():
    for value in (0, 10**15, 10**400):
        with pytest.raises(InputError, match=r"It takes a number from 1 to 999999999999999\.$"):
            build(Example, {"limit": value})
    with pytest.raises(InputError, match="'scale' cannot be inf"):
        build(Example, {"scale": 10**400})


def test_one_value_is_accepted_for_a_list():
    assert build(Example, {"stop": "end", "split": 3}) == Example(stop=("end",), split=(3.0,))


def test_a_misspelled_name_gets_a_suggestion():
    with pytest.raises(InputError) as caught:
        build(Example, {"cuont": 3}, owner="It")
    assert str(caught.value) == "There is no option 'cuont' of It. Did you mean 'count'?"
    with pytest.raises(InputError, match="Did you mean 'count'"):
        parse(Example, "cuont", "3")


def test_an_unknown_name_gets_no_suggestion():
    with pytest.raises(InputError, match="There are: flag, count, share"):
        build(Example, {"zzz": 3})
    with pytest.raises(InputError) as caught:
        build(Options, {"zzz": 3}, owner="It")
    assert str(caught.value) == "There is no option 'zzz' of It. It has no options."


def test_an_unclosed_bracket_is_refused():
    with pytest.raises(InputError, match="'count'") as caught:
        parse(Example, "count", "[" * 100_000)
    assert len(caught.value.message) < 200


def test_an_option_can_be_of_several_types():
    kind = {info.name: info.kind for info in describe(Example)}["pace"]
    assert kind == "true or false, whole number, slow or fast"
    typed = [parse(Example, "pace", text) for text in ("true", "false", "7", "fast", "none")]
    assert typed == [True, False, 7, "fast", None]
    for wrong in ("10", "Fast", "1.5"):
        with pytest.raises(InputError, match="pace"):
            parse(Example, "pace", wrong)
