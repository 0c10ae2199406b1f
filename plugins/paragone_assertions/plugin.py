"""The plugin: all assertions of this package."""

from __future__ import annotations

from collections.abc import Iterable

from paragone.assertions import AnyAssertion
from paragone.hooks import hookimpl
from paragone_assertions.contains import Contains
from paragone_assertions.equals import Equals
from paragone_assertions.json_schema import JsonSchema
from paragone_assertions.judge import JudgeAssertion
from paragone_assertions.latency import Latency
from paragone_assertions.length import Length
from paragone_assertions.number import Number
from paragone_assertions.regex import Regex
from paragone_assertions.valid_json import ValidJson


@hookimpl
def paragone_assertions() -> Iterable[AnyAssertion]:
    """Return the assertions."""
    return [
        Equals(),
        Contains(),
        Regex(),
        ValidJson(),
        JsonSchema(),
        Number(),
        Length(),
        Latency(),
        JudgeAssertion(),
    ]
