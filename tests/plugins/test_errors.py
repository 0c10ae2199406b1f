"""Errors: the sentence, the hint, and the exit code of the command line."""

import pytest

from paragone import ContextOverflow, EngineCrashed, EngineError, InputError, ParagoneError


@pytest.mark.parametrize(
    ("kind", "parent", "exit_code"),
    [
        (ParagoneError, Exception, 1),
        (InputError, ParagoneError, 2),
        (EngineError, ParagoneError, 1),
        (ContextOverflow, InputError, 2),
        (EngineCrashed, EngineError, 1),
    ],
)
def test_errors_of_the_user_exit_with_two_and_others_with_one(kind, parent, exit_code):
    error = kind("It broke.", hint="Mend it.")
    assert isinstance(error, parent)
    assert error.exit_code == exit_code
    assert (error.sentence, error.hint) == ("It broke.", "Mend it.")


def test_str_is_the_sentence_and_the_hint():
    assert str(InputError("It broke.", hint="Mend it.")) == "It broke. Mend it."
    assert str(InputError("It broke.")) == "It broke."
