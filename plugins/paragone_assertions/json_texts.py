"""Assertions about JSON: `json` and `json_schema`."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass

from paragone import InputError, Json, Options, option
from paragone.assertions import Answer, Assertion, Judge, Verdict
from paragone.texts import install_command
from paragone_assertions.limited import LimitedAssertion

FENCE = "```"


class ValidJson(Assertion[Options]):
    name = "json"
    summary = "The answer is valid JSON, or contains valid JSON in a block between ``` fences."
    options = Options

    async def check(self, answer: Answer, options: Options, judge: Judge) -> Verdict:
        if reason := json_fault(json_part(answer.text)):
            return Verdict(passed=False, reason=f"The answer is not valid JSON: {reason}.")
        return Verdict(passed=True, reason="The answer is valid JSON.")


def json_part(answer: str) -> str:
    """Return the part of an answer that should be JSON: the first block between ``` fences, or the whole answer."""
    lines = answer.split("\n")
    start = next((at for at, line in enumerate(lines) if line.lstrip().startswith(FENCE)), None)
    if start is None:
        return answer.strip()
    block = lines[start + 1 :]
    end = next((at for at, line in enumerate(block) if line.strip() == FENCE), len(block))
    return "\n".join(block[:end]).strip()


def json_fault(text: str) -> str:
    try:
        json.loads(text, parse_constant=_refuse)
    except RecursionError:
        return "it is nested too deeply"
    except ValueError as error:  # JSONDecodeError, and numbers with thousands of digits
        return str(error)
    return ""


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a JSON number")


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonSchemaOptions(Options):
    schema: Mapping[str, Json] | None = option(
        None, "The JSON Schema, draft 2020-12 unless its `$schema` names another. Required."
    )

    def __post_init__(self) -> None:
        if self.schema is None:
            raise InputError("The assertion 'json_schema' has no 'schema'.", hint="Give it one.")
        if fault := _schema_fault(json.dumps(self.schema)):
            raise InputError(f"The schema is not valid: {fault}.", hint="See https://json-schema.org.")


class JsonSchema(LimitedAssertion[JsonSchemaOptions]):
    """Validates the answer in a process, which is killed if validating takes too long."""

    name = "json_schema"
    summary = "The answer is JSON as the assertion `json` accepts it, and matches a JSON Schema."
    options = JsonSchemaOptions

    async def check(self, answer: Answer, options: JsonSchemaOptions, judge: Judge) -> Verdict:
        """Validate the answer. Raises NoVerdict if validating takes too long, or the schema refers to another document."""
        text = json_part(answer.text)
        if fault := json_fault(text):
            return Verdict(passed=False, reason=f"The answer is not valid JSON: {fault}.")
        result = await self._process.run({"job": "validate", "schema": options.schema, "text": text})
        mismatch = result["fault"]
        if isinstance(mismatch, str):
            return Verdict(passed=False, reason=f"The answer does not match the schema: {mismatch}.")
        return Verdict(passed=True, reason="The answer matches the schema.")


@functools.lru_cache(maxsize=256)  # the same schema usually checks many answers
def _schema_fault(schema: str) -> str:
    """Return why a schema is not valid; empty for a valid schema. Raises InputError if jsonschema is not installed."""
    try:
        import jsonschema  # not at the top: only suites with schemas need this import
    except ModuleNotFoundError as error:
        if error.name != "jsonschema":
            raise
        raise InputError(
            "The assertion 'json_schema' needs the package jsonschema, which is not installed.",
            hint=f"Install it with: {install_command('experiments')}",
        ) from error
    parsed = json.loads(schema)
    kind = jsonschema.validators.validator_for(parsed, default=jsonschema.Draft202012Validator)
    try:
        kind.check_schema(parsed)
    except jsonschema.exceptions.SchemaError as error:
        return f"{error.json_path}: {error.message}"
    except RecursionError:
        return "it is nested too deeply"
    return ""
