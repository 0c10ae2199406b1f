"""Test doubles: variants of the polite backend with one flaw each, to test that the conformance suite finds it.

Each flaw is a mistake that the author of a backend might make. `FLAWS` says which tests find it.
"""

from flawed_backends import (
    answers,
    declared,
    distributions,
    embeddings,
    loading,
    opening,
    probabilities,
    refusals,
    scoring,
    stopping,
    top_tokens,
)
from flawed_backends.found import FLAWS

__all__ = [
    "FLAWS",
    "answers",
    "declared",
    "distributions",
    "embeddings",
    "loading",
    "opening",
    "probabilities",
    "refusals",
    "scoring",
    "stopping",
    "top_tokens",
]
