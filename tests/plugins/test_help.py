"""help(paragone): the documentation of the fields of public types."""

import dataclasses
import inspect
import re

import paragone
from paragone.options import OptionInfo

CLASSES = [kind for name in paragone.__all__ if inspect.isclass(kind := getattr(paragone, name))]
ATTRIBUTES = {
    paragone.ParagoneError: {"message", "hint", "exit_code"},
    paragone.ContextOverflow: {"tokens", "context"},
    paragone.EngineCrashed: {"status", "log_tail"},
}
"""Attributes of classes that do not declare them with a type in the class body."""


def documented(kind: type) -> dict[str, str]:
    """Return the section `Attributes:` of a class docstring, which is the last section."""
    _, _, section = inspect.cleandoc(kind.__doc__ or "").partition("\n\nAttributes:\n")
    return dict(re.findall(r"^    (\w+): (.+)$", section, re.MULTILINE))


def declared(kind: type) -> set[str]:
    return next((names for it, names in ATTRIBUTES.items() if it is kind), None) or {
        name for name in inspect.get_annotations(kind) if not name.startswith("_")
    }


def test_every_field_is_documented_in_the_class_docstring():
    kinds = [*CLASSES, OptionInfo]
    assert {kind: set(documented(kind)) for kind in kinds} == {kind: declared(kind) for kind in kinds}


def test_the_checked_classes_include_the_dataclasses():
    """The test above uses the annotations of a class; those of a dataclass are its fields."""
    kinds = [kind for kind in CLASSES if dataclasses.is_dataclass(kind)]
    assert len(kinds) > 20
    for kind in kinds:
        assert {field.name for field in dataclasses.fields(kind)} == declared(kind)
