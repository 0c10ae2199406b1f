"""Options of backends. Each option is declared once, as a dataclass field with a default, a doc and bounds.

The checks of config files, `--set key=value` on the command line, the settings form and the
documentation pages all use this declaration.
"""

import dataclasses
import functools
import math
import types
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import (
    Any,
    Literal,
    TypeAlias,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from paragone.errors import InputError
from paragone.wire import Json

Outside: TypeAlias = Literal["", "file", "text or file", "program", "command", "arguments", "sent"]
"""What an option's value names outside paragone: a file or folder to read; a text, or a file after an @; a program to
start; a shell command to run; arguments for a program; or the user's data to send to a server, such as a variable."""

T = TypeVar("T")
OptionsT = TypeVar("OptionsT", bound="Options")

_WANTED = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    dict: "a JSON object",
}
_LARGEST = 10**15 - 1
"""Largest whole number of an option without a `maximum`: enough for bytes, and floats represent such numbers exactly."""
_SHOWN = 80
"""Largest number of characters of an invalid value that an error message shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Base class of a backend's options.

    Subclass `Options` as a frozen, slotted, keyword-only dataclass whose fields are made with `option`. A field's type is
    `bool`, `int`, `float`, `str`, a `Literal` of strings, a union of these (`bool | int`), `tuple[T, ...]` with one of
    these types as `T`, or `Mapping[str, Json]` for a JSON object. `| None` can follow each of these types.
    """


def option(
    default: T,
    doc: str,
    *,
    note: str = "",
    minimum: float | None = None,
    maximum: float | None = None,
    metavar: str = "",
    address: bool = False,
    slots: bool = False,
    secret: bool = False,
    fact: str = "",
    outside: Outside = "",
    same_answers: str = "",
) -> T:
    """Declare an option.

    Args:
        default: Its default value.
        doc: One sentence on what the option does.
        note: A sentence to add to `doc`.
        minimum: Smallest allowed number; by default -999,999,999,999,999 for whole numbers.
        maximum: Largest allowed number; by default 999,999,999,999,999 for whole numbers.
        metavar: Placeholder for a value in help texts, such as `path`.
        address: Whether the value is the server's URL. Only one load option of a backend may have such a value.
        slots: Whether the value is the number of engines that share one loaded model: `Backend.sharing` returns this value.
            Only one load option of a backend may have such a value.
        secret: Whether the value is a secret, or a command that prints a secret. The value is never shown,
            exported or logged.
        fact: The standard name under which engines of different backends are compared. For a load option: the fact of the
            open model that the option sets (see `paragone.facts`). For a sampling option: the option's name in other
            backends, if that differs.
        outside: What the value names outside paragone. If the value comes from a third-party document, the user is
        asked for consent first.
        same_answers: A message on why engines that differ only in this option give the same answers. Empty if the
        option can change an answer: paragone then names the option where two compared engines differ in it.
    """
    metadata = {
        "doc": f"{doc} {note}".rstrip(),
        "minimum": minimum,
        "maximum": maximum,
        "metavar": metavar,
        "address": address,
        "slots": slots,
        "secret": secret,
        "fact": fact,
        "outside": outside,
        "same_answers": same_answers,
    }
    field: T = dataclasses.field(default=default, metadata=metadata)
    return field


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionInfo:
    """The description of an option.

    Attributes:
        name: Its name.
        kind: The type of a value, for display: `whole number`, `text`, `f16 or q8_0` …
        default: Its default value.
        doc: One sentence on what the option does.
        choices: The allowed values, if the option has a fixed set.
        minimum: Smallest allowed number.
        maximum: Largest allowed number.
        many: Whether the value is a list.
        address: Whether the value is the server's URL.
        slots: Whether the value is the number of engines that share one loaded model.
        secret: Whether the value is a secret, or a command that prints a secret.
        fact: The standard name under which engines of different backends are compared; empty without such a name.
        outside: What the value names outside paragone; empty if the value names nothing outside.
        same_answers: Why engines that differ in this option alone give the same answers; empty if it can change an answer.
        types: The types of one value, besides `named`.
        named: The texts that one value can be, besides `types`.
        optional: Whether the value can be None.
    """

    name: str
    kind: str
    default: Json
    doc: str
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    many: bool = False
    address: bool = False
    slots: bool = False
    secret: bool = False
    fact: str = ""
    outside: Outside = ""
    same_answers: str = ""
    types: tuple[type, ...] = dataclasses.field(default=(), compare=False)
    named: tuple[str, ...] = dataclasses.field(default=(), compare=False)
    optional: bool = dataclasses.field(default=False, compare=False)

    @property
    def accepted(self) -> str:
        """The values that the option accepts, for display: the kind and the bounds."""
        low = [] if self.minimum is None else [f"from {self.minimum:g}"]
        high = [] if self.maximum is None else [f"to {self.maximum:.10g}"]
        return " ".join((self.kind, *low, *high))


def describe(options: type[Options]) -> tuple[OptionInfo, ...]:
    """Return the options that a class declares, in order of declaration."""
    return tuple(_declared(options).values())


def build(options: type[OptionsT], values: Mapping[str, Json], *, owner: str = "") -> OptionsT:
    """Check the given values. Return the options with these values, and with defaults for the other options.

    `owner` names the owner of the options in errors. Raises InputError.
    """
    of = f" of {owner}" if owner else ""
    checked: dict[str, Any] = {}
    for name, value in values.items():
        checked[name] = _check(_find(options, name, of), value, f"The option {name!r}{of}")
    return options(**checked)


def as_values(options: Options) -> dict[str, Json]:
    """Return the values of all options by name, default values included; the inverse of `build`."""
    found: dict[str, Json] = {}
    for field in dataclasses.fields(options):
        value: Any = getattr(options, field.name)
        found[field.name] = list(value) if isinstance(value, tuple) else value
    return found


def address_option(options: type[Options]) -> OptionInfo | None:
    """Return the option whose value is the server's URL, or None without such an option."""
    return next((info for info in describe(options) if info.address), None)


def slots_option(options: type[Options]) -> OptionInfo | None:
    """Return the option whose value is the number of engines that share one loaded model, or None without such an option."""
    return next((info for info in describe(options) if info.slots), None)


def parse(options: type[Options], name: str, text: str, *, owner: str = "") -> Json:
    """Return the value of the option `name` that a user typed as `text`. Raises InputError.

    Items of a list are separated by commas; `none` means None for an option that can be None.
    """
    of = f" of {owner}" if owner else ""
    info = _find(options, name, of)
    if info.optional and text.strip().lower() == "none":
        return None
    value: Json
    if info.many:
        value = [_parse_one(info, part.strip()) for part in text.split(",")] if text else []
    else:
        value = _parse_one(info, text)
    build(options, {name: value}, owner=owner)
    return value


def _parse_one(info: OptionInfo, text: str) -> Json:
    if info.types in ((), (str,)):
        return text
    import json  # imported here because most users of this module never parse an option

    try:
        value: Json = json.loads(text if info.types == (dict,) else text.strip().lower())
    except (ValueError, RecursionError):
        return text  # the check that follows reports the expected type
    return value


def value_text(value: Json) -> str:
    """Return an option's value as it is typed: `true`, `0.2`, `a,b`; empty for None. The inverse of `parse`."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return ",".join(value_text(item) for item in value)
    if isinstance(value, Mapping):
        import json  # imported here because few options are objects

        return json.dumps(value, ensure_ascii=False)
    return f"{value:g}" if isinstance(value, float) and value == float(f"{value:g}") else str(value)


def _declared(options: type[Options]) -> Mapping[str, OptionInfo]:
    return _cached_declarations(cast("Hashable", options))  # mypy does not see that a class is hashable


@functools.cache  # suites build options thousands of times
def _cached_declarations(options: type[Options]) -> Mapping[str, OptionInfo]:
    hints = get_type_hints(options)
    found = {}
    for field in dataclasses.fields(options):
        kinds, many = _kinds(hints[field.name])
        plain = tuple(kind for kind in kinds if kind in _WANTED)
        named = tuple(name for kind in kinds if get_origin(kind) is Literal for name in get_args(kind))
        names = [_WANTED[kind].removeprefix("a ") for kind in plain] + [" or ".join(named)] * bool(named)
        details = dict(field.metadata)
        default: Any = field.default
        found[field.name] = OptionInfo(
            name=field.name,
            kind=details.pop("metavar") or "list of " * many + ", ".join(names),
            default=list(default) if isinstance(default, tuple) else default,
            choices=() if plain else named,
            many=many,
            types=plain,
            named=named,
            optional=type(None) in kinds,
            **details,
        )
    return found


def _find(options: type[Options], name: str, of: str) -> OptionInfo:
    """Return the option with this name. Raises InputError if no option has the name; `of` names the owner of the options."""
    declared = _declared(options)
    if name not in declared:
        raise InputError(f"There is no option {name!r}{of}.", hint=_nearest(name, declared))
    return declared[name]


def _kinds(hint: Any) -> tuple[list[Any], bool]:
    """Return the types of one value, with NoneType if the option can be None, and whether the option's value is a list."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        parts = [_kinds(part) for part in inner]
        return [kind for kinds, _ in parts for kind in kinds], any(many for _, many in parts)
    if origin is tuple:
        return _kinds(inner[0])[0], True
    return [dict if origin is Mapping else hint], False


def _check(info: OptionInfo, value: Any, what: str) -> object:
    if value is None and info.optional:
        return None
    if info.many:
        if isinstance(value, str) or not isinstance(value, list | tuple):
            value = [value]
        return tuple(_check_one(info, item, what) for item in value)
    return _check_one(info, value, what)


def _check_one(info: OptionInfo, value: Any, what: str) -> object:
    if value in info.named:
        return value
    if type(value) is int and info.types == (float,):
        try:
            value = float(value)
        except OverflowError:
            value = math.inf
    kind = type(value)
    if info.choices:
        raise _refusal(what, value, f"It is one of: {', '.join(info.choices)}.")
    if kind not in info.types:
        several = info.named or len(info.types) > 1
        raise _refusal(
            what,
            value,
            f"It takes one of: {info.kind}." if several else f"It takes {_WANTED[info.types[0]]}.",
        )
    if kind in (int, float):
        low, high = info.minimum, info.maximum
        if kind is int:
            low = -_LARGEST if low is None else low
            high = _LARGEST if high is None else high
        if (
            (low is not None and value < low)
            or (high is not None and value > high)
            or not math.isfinite(value)
        ):
            raise _refusal(what, value, f"It takes {_number(low, high)}.")
    return value


def _refusal(what: str, value: object, hint: str) -> InputError:
    shown = repr(value)
    if len(shown) > _SHOWN:
        shown = shown[:_SHOWN] + "…"
    return InputError(f"{what} cannot be {shown}.", hint=hint)


def _number(low: float | None, high: float | None) -> str:
    """Describe the numbers that an option accepts.

    JSON has no infinity and no NaN, so neither is accepted.
    """
    if low is not None and high is not None:
        return f"a number from {low:.15g} to {high:.15g}"
    if low is not None:
        return f"a number of at least {low:.15g}"
    return "a finite number" if high is None else f"a number of at most {high:.15g}"


def _nearest(name: str, known: Mapping[str, object]) -> str:
    import difflib  # imported here because only error messages need it

    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f"Did you mean {near[0]!r}?"
    return f"There are: {', '.join(known)}." if known else "It has no options."
