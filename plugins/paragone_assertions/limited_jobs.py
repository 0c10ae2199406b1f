"""The program of a `LimitedAssertion`: it reads jobs from standard input and writes results to standard output. Each
job and each result is a line of JSON. Timers of the kernel kill the process when a job takes too much CPU time, or waits for too
long, even if Python is inside a C function."""

import functools
import hashlib
import json
import os
import re
import signal
import sys
import traceback
import types
from pathlib import Path
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


def call(job: dict[str, Any]) -> dict[str, Any]:
    """Call a function in a file, and return its result."""
    path, name = job["file"], job["function"]
    file = Path(path).name
    try:
        function = namespace(path, job["sha256"]).get(name)
        if not callable(function):
            raise JobError(f"{file} has no function {name!r}.")
        value = function(*job["arguments"])
    except JobError:
        raise
    except (Exception, SystemExit) as error:
        lines = [it.lineno for it in traceback.extract_tb(error.__traceback__) if it.filename == path]
        place = f"{file}:{lines[-1]}" if lines else file
        raise JobError(f"{place}: {type(error).__name__}: {error}") from error
    try:
        return {"value": json.loads(json.dumps(value, default=float))}  # float: a number of numpy
    except (TypeError, ValueError) as error:
        raise JobError(
            f"{name} in {file} returned a {type(value).__name__}, which is not plain data."
        ) from error


@functools.cache
def namespace(path: str, sha256: str) -> dict[str, Any]:
    """Run the code of a file without network, and return what the code defines."""
    from paragone.files import open_regular_file
    from paragone.worker.confinement import close_network_if_asked

    with open_regular_file(path) as read:
        source = read.read()
    if hashlib.sha256(source).hexdigest() != sha256:
        raise JobError(f"{Path(path).name} has changed since the suite was read.")
    close_network_if_asked("closed")
    module = types.ModuleType(f"suite_{sha256}")
    module.__file__ = path
    sys.modules[module.__name__] = module  # dataclasses look their module up
    exec(compile(source, path, "exec"), module.__dict__)  # noqa: S102 (the user has consented)
    return module.__dict__


JOBS = {"search": search, "validate": validate, "find_json": find_json, "call": call}


def main() -> None:
    jobs, results = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)  # a function of the user may read and print
    os.dup2(nothing, 1)
    for line in jobs:
        job = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, job["seconds"])
        signal.setitimer(signal.ITIMER_REAL, job["patience"])
        try:
            result = JOBS[job["job"]](job)
        except RecursionError:
            result = {"error": "The JSON or the schema is nested too deeply."}
        except JobError as error:
            result = {"error": str(error)}
        except Exception as error:  # noqa: BLE001 (the error concerns only this job)
            result = {"error": f"{type(error).__name__}: {error}"}
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        results.write(json.dumps(result).encode() + b"\n")
        results.flush()


if __name__ == "__main__":
    main()
