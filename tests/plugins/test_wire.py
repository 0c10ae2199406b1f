"""Conversion of dataclasses to JSON and back, and the worker protocol that uses it."""

import dataclasses
import functools
import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import paragone
from paragone.wire import from_json, json_text, to_json
from paragone.worker.protocol import dump_error, dump_item, load_error, load_item

# All characters that JSON must escape, and lone surrogates, which occur in invalid file names.
texts = st.text(st.characters(codec=None))
numbers = st.floats(allow_nan=False)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
FIELDS = {
    "sampling": st.dictionaries(texts, anything, max_size=3),
    "options": st.dictionaries(texts, anything, max_size=3),
    "facts": st.dictionaries(texts, texts, max_size=3),
}


@functools.cache
def values_of(kind):
    """Return a strategy for values of a type, built from the declarations of its fields."""
    names = [field.name for field in dataclasses.fields(kind)]
    return st.builds(kind, **{name: FIELDS[name] for name in names if name in FIELDS})


for plain, strategy in ((str, texts), (float, numbers)):
    st.register_type_strategy(plain, strategy)
EVENTS = [
    paragone.Queued,
    paragone.RunSettings,
    paragone.PromptProgress,
    paragone.Token,
    paragone.Caution,
    paragone.Finish,
]
EXPORTED = [getattr(paragone, name) for name in paragone.__all__]
KINDS = [
    kind
    for kind in EXPORTED
    if dataclasses.is_dataclass(kind) and kind not in (paragone.Options, paragone.LogitsBlock)
]
"""All value types that are sent as JSON; blocks of logits are passed in shared memory."""


def through_json(data):
    return json.loads(json.dumps(data))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@settings(max_examples=10)  # for each of the kinds, most of which have fields of the same few types
@given(data=st.data())
def test_a_value_is_the_same_after_conversion_to_json_and_back(kind, data):
    value = data.draw(values_of(kind))
    again = from_json(kind, through_json(to_json(value)))
    if kind in EVENTS:  # a form of their own on the pipe
        assert load_item(through_json(dump_item(value))) == value
    assert again == value
    assert type(again) is kind


def test_value_types_are_frozen_have_slots_and_take_keyword_arguments():
    assert KINDS
    for kind in KINDS:
        assert vars(kind)["__dataclass_params__"].frozen, kind
        assert "__slots__" in vars(kind), kind
        assert all(field.kw_only for field in dataclasses.fields(kind)), kind


def test_default_values_are_omitted():
    assert to_json(paragone.Message(role="user", text="hi")) == {"role": "user", "text": "hi"}
    assert to_json(paragone.ModelInfo(model="a", name="b", size=0)) == {"model": "a", "name": "b", "size": 0}


def test_names_from_a_newer_sender_are_ignored():
    data = {"role": "user", "text": "hi", "mood": "good"}
    assert from_json(paragone.Message, data) == paragone.Message(role="user", text="hi")


@pytest.mark.parametrize(
    ("kind", "data", "says"),
    [
        (paragone.Message, [], "Message must be an object, not list"),
        (paragone.Message, {"role": "user"}, "^'text' is missing$"),
        (
            paragone.Message,
            {"role": "user", "text": "hi", "images": [{}]},
            "^images: 'data' and 'media_type' are missing$",
        ),
        (
            paragone.Message,
            {"role": "king", "text": "hi"},
            "'king' is not one of 'system', 'user', 'assistant'",
        ),
        (paragone.LoadProgress, {"fraction": True}, "expected float, not bool"),
        (paragone.OpenRequest, {"model": "a", "options": []}, "expected an object, not list"),
    ],
)
def test_values_of_a_wrong_type_are_refused(kind, data, says):
    with pytest.raises((TypeError, ValueError), match=says):
        from_json(kind, data)


@settings(max_examples=50)
@given(kind=st.sampled_from(KINDS), data=anything)
def test_any_json_is_read_or_refused(kind, data):
    try:
        value = from_json(kind, data)
    except (TypeError, ValueError):
        return
    assert isinstance(value, kind)


def test_an_integer_is_accepted_for_a_float():
    progress = from_json(paragone.LoadProgress, {"fraction": 1})
    assert progress == paragone.LoadProgress(fraction=1.0)
    assert type(progress.fraction) is float


def test_values_that_json_cannot_represent_are_not_sent():
    options: dict[str, Any] = {"stop": {"a"}}
    with pytest.raises(TypeError, match="set cannot be converted to JSON"):
        to_json(paragone.OpenRequest(model="a", options=options))


@settings(max_examples=25)
@given(
    message=texts,
    hint=texts,
    tokens=st.integers(0),
    context=st.integers(0),
    kind=st.sampled_from([paragone.InputError, paragone.EngineError, paragone.ContextOverflow]),
)
def test_an_error_is_the_same_after_the_pipe(message, hint, tokens, context, kind):
    more = {"tokens": tokens, "context": context} if kind is paragone.ContextOverflow else {}
    error = kind(message, hint=hint, **more)
    again = load_error(through_json(dump_error(error)))
    assert type(again) is kind
    assert vars(again) == vars(error)


def test_an_error_of_a_subclass_is_sent_as_its_base_class():
    class Missing(paragone.InputError):
        pass

    assert type(load_error(through_json(dump_error(Missing("Gone."))))) is paragone.InputError
    assert type(load_error(through_json(dump_error(paragone.ParagoneError("Gone."))))) is paragone.EngineError


def test_any_data_becomes_valid_json():
    text = json_text({"a": [1.5, math.nan, {"b": -math.inf}], "c": "é"})
    assert text == '{"a": [1.5, null, {"b": null}], "c": "é"}'
