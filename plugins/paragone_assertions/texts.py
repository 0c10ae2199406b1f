"""Assertions about the text of an answer, JSON included."""

import functools
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from paragone import InputError, Json, Options, assertions, option
from paragone.assertions import Answer, NoVerdict, OptionsT, Verdict
from paragone.texts import install_command, quoted
from paragone_assertions.limited import LimitedAssertion


class Check(assertions.Assertion[OptionsT]):
    """An assertion that is a function of an answer and its options. `require` raises InputError if the options and
    the expected answer, its first argument, give it nothing to compare with."""

    def __init__(
        self,
        name: str,
        summary: str,
        options: type[OptionsT],
        verdict: Callable[[Answer, OptionsT], Verdict],
        require: Callable[[str | None, OptionsT], None] = lambda expected, options: None,
    ) -> None:
        self.name, self.summary, self.options = name, summary, options
        self._verdict, self._require = verdict, require

    def check_expected(self, expected: str | None, options: OptionsT) -> None:
        self._require(expected, options)

    async def check(self, answer: Answer, options: OptionsT, judge: assertions.Judge) -> Verdict:
        return self._verdict(answer, options)


def lacking(assertion: str, what: str, hint: str) -> InputError:
    """Return the error of an assertion that has nothing to compare with."""
    return InputError(f"The assertion {assertion!r} has {what}.", hint=hint)


def is_within(value: float | Decimal, least: float | Decimal | None, most: float | Decimal | None) -> bool:
    return (least is None or value >= least) and (most is None or value <= most)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainsOptions(Options):
    value: tuple[str, ...] = option(
        (), "The text, or a list of texts; by default the expected answer of the prompt."
    )
    match: Literal["all", "any"] = option(
        "all", "Whether the answer must contain all texts of a list, or any."
    )
    ignore_case: bool = option(False, "Whether upper and lower case are the same.")

    def __post_init__(self) -> None:
        if "" in self.value:
            raise InputError(
                "The option 'value' of the assertion 'contains' cannot be empty.",
                hint="Every answer contains the empty text.",
            )


def _searchable(expected: str | None, options: ContainsOptions) -> None:
    if not options.value and not expected:
        raise lacking("contains", "nothing to search for", "Give it a 'value', or the prompt an 'expected'.")


def contains(answer: Answer, options: ContainsOptions) -> Verdict:
    wanted = options.value or ((answer.expected or "").strip(),)
    text = answer.text.casefold() if options.ignore_case else answer.text
    found = [each for each in wanted if (each.casefold() if options.ignore_case else each) in text]
    passed = bool(found) if options.match == "any" else len(found) == len(wanted)
    if found and (passed or options.match == "any"):
        reason = f"The answer contains {', '.join(map(quoted, found))}."
    else:
        missing = [each for each in wanted if each not in found]
        reason = f"The answer does not contain {', '.join(map(quoted, missing))}."
    score = len(found) / len(wanted) if len(wanted) > 1 else None
    return Verdict(passed=passed, reason=reason, score=score)


@dataclass(frozen=True, slots=True, kw_only=True)
class EqualsOptions(Options):
    value: str | None = option(None, "The text; by default the expected answer of the prompt.")
    ignore_case: bool = option(False, "Whether upper and lower case are the same.")


def _comparable(name: str) -> Callable[[str | None, EqualsOptions], None]:
    def require(expected: str | None, options: EqualsOptions) -> None:
        if expected is None and options.value is None:
            raise lacking(name, "nothing to compare with", "Give it a 'value', or the prompt an 'expected'.")

    return require


def _compared(answer: Answer, options: EqualsOptions) -> tuple[str, str, str, str]:
    """Return the text and the wanted text, without white space around them: as written, and as compared."""
    text = answer.text.strip()
    wanted = (options.value if options.value is not None else answer.expected or "").strip()
    return (text, wanted, text.casefold(), wanted.casefold()) if options.ignore_case else (text, wanted) * 2


def equals(answer: Answer, options: EqualsOptions) -> Verdict:
    text, wanted, compared, with_text = _compared(answer, options)
    relation = "is" if (passed := compared == with_text) else "is not"
    return Verdict(passed=passed, reason=f"The answer {quoted(text)} {relation} {quoted(wanted)}.")


def starts_with(answer: Answer, options: EqualsOptions) -> Verdict:
    text, wanted, compared, with_text = _compared(answer, options)
    relation = "starts" if (passed := compared.startswith(with_text)) else "does not start"
    return Verdict(passed=passed, reason=f"The answer {quoted(text)} {relation} with {quoted(wanted)}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class RegexOptions(Options):
    pattern: str = option(
        "", "The regular expression, in Python's syntax, which may contain flags such as `(?i)`. Required."
    )

    def __post_init__(self) -> None:
        if not self.pattern:
            raise lacking("regex", "no 'pattern'", "Give it one.")
        try:
            re.compile(self.pattern)
        except (re.error, OverflowError, RecursionError) as error:
            raise InputError(
                f"The pattern {quoted(self.pattern)} is not a valid regular expression: {error}.",
                hint="See https://docs.python.org/3/library/re.html.",
            ) from error


class Regex(LimitedAssertion[RegexOptions]):
    name = "regex"
    summary = "A regular expression matches somewhere in the answer."
    options = RegexOptions

    async def check(self, answer: Answer, options: RegexOptions, judge: assertions.Judge) -> Verdict:
        result = await self.run({"job": "search", "pattern": options.pattern, "text": answer.text})
        found = result["found"]
        if not isinstance(found, str):
            return Verdict(passed=False, reason=f"{quoted(options.pattern)} matches nothing in the answer.")
        return Verdict(passed=True, reason=f"{quoted(options.pattern)} matches {quoted(found)}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthOptions(Options):
    unit: Literal["characters", "words", "tokens"] = option(
        "words", "What is counted. Words are separated by white space; tokens include thinking."
    )
    minimum: int | None = option(None, "Smallest length.", minimum=0)
    maximum: int | None = option(None, "Largest length.", minimum=0)

    def __post_init__(self) -> None:
        if self.minimum is None and self.maximum is None:
            raise lacking("length", "no bound", "Give it a 'minimum' or a 'maximum'.")


def length(answer: Answer, options: LengthOptions) -> Verdict:
    found = {
        "characters": len(answer.text),
        "words": len(answer.text.split()),
        "tokens": answer.completion_tokens,
    }
    count = found[options.unit]
    if count is None:
        raise NoVerdict("The engine does not report the number of tokens.")
    unit = options.unit.removesuffix("s") if count == 1 else options.unit
    passed = is_within(count, options.minimum, options.maximum)
    return Verdict(passed=passed, reason=f"The answer has {count:,} {unit}.")


_NUMBER = re.compile(
    r"""
    (?<!\w)(?<![0-9]\.)                 # not inside a word or a version such as 1.2.3
    [-+−]?
    (?: (?: [0-9]{1,3}(?:,[0-9]{3})+(?![0-9]) | [0-9]+ ) (?: \.[0-9]+ )? | (?<!\.)\.[0-9]+ )
    (?: [eE][-+]?[0-9]{1,3}(?![0-9]) )?
    """,
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberOptions(Options):
    minimum: float | None = option(None, "Smallest number.")
    maximum: float | None = option(None, "Largest number.")
    tolerance: float | None = option(
        None,
        "Largest difference to the number in the expected answer of the prompt; 0 if no other option is set.",
        minimum=0,
    )

    @property
    def uses_expected(self) -> bool:
        return self.tolerance is not None or (self.minimum is None and self.maximum is None)


def _has_number(expected: str | None, options: NumberOptions) -> None:
    if options.uses_expected and (expected is None or last_number(expected) is None):
        hint = "Give the prompt an 'expected' with a number, or the assertion a 'minimum' or 'maximum'."
        raise lacking("number", "nothing to compare with", hint)


def number(answer: Answer, options: NumberOptions) -> Verdict:
    last = last_number(answer.text)
    if last is None:
        return Verdict(passed=False, reason="The answer has no number.")
    passed = is_within(last, _exact(options.minimum), _exact(options.maximum))
    reason = f"The last number in the answer is {last:,}"
    if options.uses_expected:
        wanted = last_number(answer.expected or "")
        if wanted is None:
            raise NoVerdict("The prompt has no expected number.")
        passed &= is_within(abs(last - wanted), None, _exact(options.tolerance or 0.0))
        reason += f", the expected one is {wanted:,}"
    return Verdict(passed=passed, reason=f"{reason}.")


def last_number(text: str) -> Decimal | None:
    """Return the last number in a text. Commas between groups of three digits are ignored."""
    numbers = _NUMBER.findall(text)
    return Decimal(numbers[-1].replace(",", "").replace("−", "-")) if numbers else None


def _exact(bound: float | None) -> Decimal | None:
    """Return a bound exactly as the user wrote it: 0.1, not the nearest binary fraction."""
    return None if bound is None else Decimal(repr(bound))


@dataclass(frozen=True, slots=True, kw_only=True)
class LikelihoodOptions(Options):
    normalized: bool = option(
        False,
        "Whether log-probabilities are divided by the bytes of the choice, without white space around it.",
    )


def _has_expected(expected: str | None, options: LikelihoodOptions) -> None:
    if expected is None:
        raise lacking("likelihood", "nothing to compare with", "Give the prompt an 'expected'.")


def likelihood(answer: Answer, options: LikelihoodOptions) -> Verdict:
    if not answer.choices or answer.expected is None:
        raise NoVerdict("The answer was generated.", hint="Give the prompt 'choices'.")
    values = {
        choice: logprob / (len(choice.strip().encode()) if options.normalized else 1)
        for choice, logprob in answer.choices.items()
    }
    best, unit = max(values, key=values.__getitem__), " for a byte" if options.normalized else ""
    reason = f"The most likely choice is {quoted(best)}, with the log-probability {values[best]:.3f}{unit}"
    if best != answer.expected:
        reason += f"; {quoted(answer.expected)} has {values[answer.expected]:.3f}"
    return Verdict(passed=best == answer.expected, reason=f"{reason}.")


FENCE = "```"


def valid_json(answer: Answer, options: Options) -> Verdict:
    _, fault = json_part(answer.text)
    return Verdict(passed=not fault, reason=fault or "The answer is valid JSON.")


def json_part(answer: str) -> tuple[str, str]:
    """Return the first block between ``` fences, or the whole answer, and why this is not JSON; empty if it is."""
    lines = answer.split("\n")
    start = next((at for at, line in enumerate(lines) if line.lstrip().startswith(FENCE)), None)
    block = lines if start is None else lines[start + 1 :]
    end = next((at for at, line in enumerate(block) if line.strip() == FENCE), len(block))
    text, fault = "\n".join(block[:end]).strip(), ""
    try:
        json.loads(text, parse_constant=_refuse)
    except RecursionError:
        fault = "The answer is not valid JSON: it is nested too deeply."
    except ValueError as error:  # JSONDecodeError, and numbers with thousands of digits
        fault = f"The answer is not valid JSON: {error}."
    return text, fault


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a JSON number")


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonSchemaOptions(Options):
    schema: Mapping[str, Json] | None = option(
        None, "The JSON Schema, draft 2020-12 unless its `$schema` names another. Required."
    )

    def __post_init__(self) -> None:
        if self.schema is None:
            raise lacking("json_schema", "no 'schema'", "Give it one.")
        _check_schema(self.schema)


class JsonSchema(LimitedAssertion[JsonSchemaOptions]):
    name = "json_schema"
    summary = "The answer is JSON as the assertion `json` accepts it, and matches a JSON Schema."
    options = JsonSchemaOptions

    async def check(self, answer: Answer, options: JsonSchemaOptions, judge: assertions.Judge) -> Verdict:
        """Validate the answer. Raises NoVerdict if validating takes too long, or the schema refers to another document."""
        text, fault = json_part(answer.text)
        if fault:
            return Verdict(passed=False, reason=fault)
        result = await self.run({"job": "validate", "schema": options.schema, "text": text})
        mismatch = result["fault"]
        if isinstance(mismatch, str):
            return Verdict(passed=False, reason=f"The answer does not match the schema: {mismatch}.")
        return Verdict(passed=True, reason="The answer matches the schema.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainsJsonOptions(Options):
    schema: Mapping[str, Json] | None = option(
        None,
        "The JSON Schema that the object or list must match, as for `json_schema`; by default, any matches.",
    )

    def __post_init__(self) -> None:
        if self.schema is not None:
            _check_schema(self.schema)


class ContainsJson(LimitedAssertion[ContainsJsonOptions]):
    name = "contains_json"
    summary = "The answer contains a JSON object or list, anywhere in its text, which matches the schema if one is set."
    options = ContainsJsonOptions

    async def check(self, answer: Answer, options: ContainsJsonOptions, judge: assertions.Judge) -> Verdict:
        result = await self.run({"job": "find_json", "schema": options.schema, "text": answer.text})
        found, fault = result["found"], result["fault"]
        if not isinstance(found, str):
            return Verdict(passed=False, reason="The answer contains no JSON object or list.")
        if isinstance(fault, str):
            reason = f"The answer contains {quoted(found)}, which does not match the schema: {fault}."
            return Verdict(passed=False, reason=reason)
        return Verdict(passed=True, reason=f"The answer contains {quoted(found)}.")


def _check_schema(schema: Mapping[str, Json]) -> None:
    if fault := _schema_fault(json.dumps(schema)):
        raise InputError(f"The schema is not valid: {fault}.", hint="See https://json-schema.org.")


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
            hint=f"Install it with: {install_command('jsonschema')}",
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


def text_assertions() -> list[assertions.AnyAssertion]:
    return [
        Check(
            "equals",
            "The answer is this text, apart from white space around it.",
            EqualsOptions,
            equals,
            _comparable("equals"),
        ),
        Check(
            "starts_with",
            "The answer starts with this text, apart from white space around both.",
            EqualsOptions,
            starts_with,
            _comparable("starts_with"),
        ),
        Check(
            "contains",
            "The answer contains this text, or all or any of these texts.",
            ContainsOptions,
            contains,
            _searchable,
        ),
        Regex(),
        Check(
            "json",
            "The answer is valid JSON, or contains valid JSON in a block between ``` fences.",
            Options,
            valid_json,
        ),
        JsonSchema(),
        ContainsJson(),
        Check(
            "number",
            "The last number in the answer is within these bounds, or near the expected number.",
            NumberOptions,
            number,
            _has_number,
        ),
        Check(
            "likelihood",
            "The expected one of the prompt's choices is the most likely.",
            LikelihoodOptions,
            likelihood,
            _has_expected,
        ),
        Check(
            "length",
            "The answer has at least or at most this many characters, words or tokens.",
            LengthOptions,
            length,
        ),
    ]
