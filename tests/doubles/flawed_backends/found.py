"""Which tests of the suite find which flaw."""

from typing import NamedTuple

from polite_backend import PoliteBackend, PoliteEngine


class Found(NamedTuple):
    tests: set[str]
    """The tests of the suite that check for the flaw."""
    elsewhere: bool
    """Whether other tests may fail as well."""


FLAWS: dict[type[PoliteBackend], Found] = {}


def found_by(*tests: str, elsewhere: bool = False):
    """A decorator that registers a flawed backend or engine, with the tests that find its flaw."""

    def note(flawed):
        if issubclass(flawed, PoliteEngine):
            flawed = type(flawed.__name__, (PoliteBackend,), {"engine": flawed})
        FLAWS[flawed] = Found({f"test_{test.replace(' ', '_')}" for test in tests}, elsewhere)
        return flawed

    return note
