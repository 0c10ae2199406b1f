"""The program of a `LimitedAssertion`: it reads jobs from standard input and writes results to standard output. Each
job and each result is a line of JSON. A timer of the kernel kills the process when a job takes too much CPU time, even
if Python is inside a C function."""

import json
import re
import signal
import sys
from typing import Any


def search(job: dict[str, Any]) -> dict[str, Any]:
    found = re.search(job["pattern"], job["text"])
    return {"found": None if found is None else found[0][:200]}


def validate(job: dict[str, Any]) -> dict[str, Any]:
    """Check a JSON text against a schema. References to other documents are not fetched."""
    import jsonschema
    import referencing
    import referencing.exceptions

    kind = jsonschema.validators.validator_for(job["schema"], default=jsonschema.Draft202012Validator)
    validator = kind(job["schema"], registry=referencing.Registry())
    try:
        error = jsonschema.exceptions.best_match(validator.iter_errors(json.loads(job["text"])))
    except referencing.exceptions.Unresolvable as missing:
        return {"error": f"The schema refers to {missing.ref!r}, which the schema does not contain."}
    return {"fault": None if error is None else f"{error.json_path}: {error.message}"}


JOBS = {"search": search, "validate": validate}


def main() -> None:
    for line in sys.stdin.buffer:
        job = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, job["seconds"])
        try:
            result = JOBS[job["job"]](job)
        except RecursionError:
            result = {"error": "The JSON or the schema is nested too deeply."}
        except Exception as error:  # noqa: BLE001 (the error concerns only this job)
            result = {"error": f"{type(error).__name__}: {error}"}
        signal.setitimer(signal.ITIMER_PROF, 0)
        sys.stdout.buffer.write(json.dumps(result).encode() + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
