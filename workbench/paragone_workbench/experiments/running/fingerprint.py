"""The fingerprint of an experiment, by which the same command finds what it has already begun."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable

from paragone import Json
from paragone.wire import to_json
from paragone_workbench.experiments.suites.suite import SuitePrompt

__all__ = ["fingerprint"]


def fingerprint(
    prompts: Iterable[SuitePrompt], engines: Iterable[Json], repetitions: int, judges: Iterable[Json] = ()
) -> str:
    """Return the SHA-256 of everything that the answers of an experiment depend on, in hexadecimal.

    The prompts include the system prompt and the assertions, the engines and the judges their options and which weights
    they have. Pass engines and judges without secrets. The lines of the file do not count: an added comment begins no new experiment.
    """
    digest = hashlib.sha256()
    for prompt in prompts:
        digest.update(_line(to_json(dataclasses.replace(prompt, line=0))))
    digest.update(_line(list(engines)))
    digest.update(_line(repetitions))
    for judge in judges:
        digest.update(_line(judge))
    return digest.hexdigest()


def _line(data: Json) -> bytes:
    return json.dumps(data, sort_keys=True).encode() + b"\n"
