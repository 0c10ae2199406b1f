"""Which checks of the suite find which flaw."""

from polite_backend import PoliteBackend, PoliteEngine

FLAWS: dict[type[PoliteBackend], set[str]] = {}
"""The names of the checks that find a flaw, by the flawed backend."""


def found_by(*checks: str):
    """A decorator that registers a flawed backend or engine, with the checks that find its flaw."""

    def note(flawed):
        if issubclass(flawed, PoliteEngine):
            flawed = type(flawed.__name__, (PoliteBackend,), {"engine": flawed})
        FLAWS[flawed] = {f"test_{check.replace(' ', '_')}" for check in checks}
        return flawed

    return note
