"""Test doubles: the polite backend with one flaw each, to see that the conformance suite finds it.

A flaw stands in for a mistake that an author of a backend makes. `FLAWS` says which tests find it.
"""

from flawed_backends import (
    answers,
    declared,
    distributions,
    opening,
    probabilities,
    refusals,
    scoring,
    stopping,
)
from flawed_backends.found import FLAWS

__all__ = [
    "FLAWS",
    "answers",
    "declared",
    "distributions",
    "opening",
    "probabilities",
    "refusals",
    "scoring",
    "stopping",
]
