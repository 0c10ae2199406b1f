"""The program of a `LimitedAssertion`: it reads jobs from standard input and writes results to standard output. Each
job and each result is a line of JSON. A timer of the kernel kills the process when a job takes too much CPU time, even
if Python is inside a C function."""

import json
import re
import signal
import sys
from typing import Any


class JobError(Exception):
    """The message of a job that has no result."""


def search(job: dict[str, Any]) -> dict[str, Any]:
    found = re.search(job["pattern"], job["text"])
    return {"found": None if found is None else found[0][:200]}


def validate(job: dict[str, Any]) -> dict[str, Any]:
    return {"fault": schema_error(json.loads(job["text"]), job["schema"])}


def find_json(job: dict[str, Any]) -> dict[str, Any]:
    """Find the first object or list in a text that matches the schema; if none does, return why the first does not."""
    text, decoder = job["text"], json.JSONDecoder()
    found, why, at = None, None, 0
    while start := OPENING.search(text, at):
        try:
            value, at = decoder.raw_decode(text, start.start())
        except (ValueError, RecursionError):
            at = start.end()
            continue
        problem = None if job["schema"] is None else schema_error(value, job["schema"])
        if found is None or problem is None:
            found, why = text[start.start() : at], problem
        if problem is None:
            break
    return {"found": found, "fault": why}


OPENING = re.compile(r"[\[{]")


def schema_error(value: Any, schema: dict[str, Any]) -> str | None:
    """Return why a value does not match a schema. References to other documents are not fetched."""
    import jsonschema
    import referencing
    import referencing.exceptions

    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    validator = kind(schema, registry=referencing.Registry())
    try:
        error = jsonschema.exceptions.best_match(validator.iter_errors(value))
    except referencing.exceptions.Unresolvable as missing:
        raise JobError(
            f"The schema refers to {missing.ref!r}, which the schema does not contain."
        ) from missing
    return None if error is None else f"{error.json_path}: {error.message}"


JOBS = {"search": search, "validate": validate, "find_json": find_json}


def main() -> None:
    for line in sys.stdin.buffer:
        job = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, job["seconds"])
        try:
            result = JOBS[job["job"]](job)
        except RecursionError:
            result = {"error": "The JSON or the schema is nested too deeply."}
        except JobError as error:
            result = {"error": str(error)}
        except Exception as error:  # noqa: BLE001 (the error concerns only this job)
            result = {"error": f"{type(error).__name__}: {error}"}
        signal.setitimer(signal.ITIMER_PROF, 0)
        sys.stdout.buffer.write(json.dumps(result).encode() + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
