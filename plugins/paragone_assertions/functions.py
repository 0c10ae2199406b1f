"""The assertion `python`: a function of the user checks the answer."""

import dataclasses
import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from paragone import InputError, Json, Options, assertions, files, option
from paragone.assertions import Answer, NoVerdict, Verdict
from paragone.texts import quoted
from paragone_assertions.limited import LimitedAssertion
from paragone_assertions.texts import lacking

_HINT = "Put the file beside the suite, and name it by its relative path, such as checks.py."


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonOptions(Options):
    file: str = option("", "The file with the function: its path relative to the suite. Required.")
    function: str = option("check", "The function, which gets the answer's text and a dict.")
    minimum: float | None = option(
        None, "The smallest score with which an answer passes; by default any score above 0.", minimum=0
    )
    sha256: str = option("", "The SHA-256 of the file, which paragone sets: a changed file is another check.")

    def __post_init__(self) -> None:
        if not self.file:
            raise lacking("python", "no 'file'", _HINT)


class Python(LimitedAssertion[PythonOptions]):
    name = "python"
    summary = "A function in a Python file beside the suite lets the answer pass."
    options = PythonOptions

    def located(self, options: PythonOptions, folder: Path) -> PythonOptions:
        path = (folder / options.file).resolve()
        if not path.is_relative_to(folder.resolve()):
            raise InputError(f"{options.file} is not in the folder of the suite.", hint=_HINT)
        source = files.read_regular_file(path, hint=_HINT, largest=files.LARGEST_TEXT)
        return dataclasses.replace(options, file=str(path), sha256=_digest(path, source))

    def actions(self, options: PythonOptions) -> tuple[str, ...]:
        return (f"runs Python code in {Path(options.file).name} (SHA-256 {options.sha256[:16]}…)",)

    async def check(self, answer: Answer, options: PythonOptions, judge: assertions.Judge) -> Verdict:
        variables = dict(answer.variables)
        context: dict[str, Json] = {
            "prompt": answer.prompt,
            "messages": [{"role": it.role, "content": it.text} for it in answer.messages],
            "expected": answer.expected,
            "variables": variables,
            "vars": variables,  # as promptfoo names them
        }
        result = await self.run(
            {
                "job": "call",
                "file": options.file,
                "sha256": options.sha256,
                "function": options.function,
                "arguments": [answer.text, context],
            }
        )
        return _verdict(result["value"], options)


@functools.lru_cache(maxsize=8)  # the same file usually checks many answers
def _digest(path: Path, source: bytes) -> str:
    """Return the SHA-256 of a file. Raises InputError if the file is not valid Python."""
    try:
        compile(source, str(path), "exec")
    except SyntaxError as error:
        raise InputError(f"{path.name}:{error.lineno}: This is not valid Python: {error.msg}.") from error
    except ValueError as error:  # a null character
        raise InputError(f"{path.name} is not valid Python: {error}.") from error
    return hashlib.sha256(source).hexdigest()


def _verdict(value: Json, options: PythonOptions) -> Verdict:
    """Return the verdict for the result of a function: true or false, a score, or an object with `passed` (`pass` in
    promptfoo), `score` and `reason`. Raises NoVerdict for another result."""
    name = f"{options.function} in {Path(options.file).name}"
    given: Mapping[str, Json] = value if isinstance(value, Mapping) else {}
    if isinstance(value, bool):
        given = {"passed": value}
    elif isinstance(value, int | float):
        given = {"score": value}
    passed, score = given.get("passed", given.get("pass")), given.get("score")
    is_score = score is None or (isinstance(score, int | float) and 0 <= score <= 1)
    if not is_score or not isinstance(passed, bool | None) or (passed is None and score is None):
        raise NoVerdict(
            f"{name} returned {quoted(str(value))}.",
            hint="It must return True or False, a score from 0 to 1, or a dict with 'passed', 'score' and 'reason'.",
        )
    assert score is None or isinstance(score, int | float)
    if score is not None:
        enough = score >= options.minimum if options.minimum is not None else passed or score > 0
        passed = enough and passed is not False
    reason = given.get("reason")
    if not isinstance(reason, str) or not reason:
        reason = f"{name} returned {value}."
    return Verdict(passed=bool(passed), reason=reason, score=None if score is None else float(score))
