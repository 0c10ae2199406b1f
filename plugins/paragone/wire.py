"""Convert dataclasses to JSON and back, by reflection on their fields.

This module uses only the standard library, because a worker's interpreter may have no other packages.
"""

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence

_DEEPEST = 100
"""Largest depth of nested lists and objects. Python's own limit depends on the depth of the call stack."""
_MOST_DIGITS = 300
"""Largest number of digits of a whole number, which then converts to a float without overflow."""

Json: typing.TypeAlias = bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"] | None
"""Any JSON value."""


if typing.TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Value: typing.TypeAlias = DataclassInstance
else:
    Value = object

V = typing.TypeVar("V", bound=Value)


def to_json(value: Value, *, complete: bool = False) -> dict[str, Json]:
    """Return the fields of a dataclass as JSON. Unless `complete`, omit fields that have their default value."""
    out: dict[str, Json] = {}
    for name, default in _fields(type(value)):
        item = getattr(value, name)
        if not complete and default is not dataclasses.MISSING and item == default:
            continue
        out[name] = _dump(item)
    return out


@functools.cache
def _fields(kind: type[Value]) -> tuple[tuple[str, object], ...]:
    return tuple((field.name, field.default) for field in dataclasses.fields(kind))


def from_json(kind: type[V], data: Json) -> V:
    """Return the value of type `kind` that `data`, the result of `to_json`, describes.

    Ignores unknown names, so that an older reader understands a newer sender.
    Raises TypeError or ValueError if `data` does not match the type.
    """
    return typing.cast("V", _loader(kind)(data))


def parse_json(text: str | bytes) -> Json:
    """Parse JSON from a third party. The result can be written as JSON again. Raises ValueError if the text is not
    valid JSON; the error completes the phrase "It is not valid JSON: …"."""
    import json  # imported here because most users of this module never parse JSON

    try:
        value: Json = json.loads(text, parse_constant=_refuse, parse_int=_whole, parse_float=_finite)
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg}, at character {error.pos + 1:,}") from error
    except UnicodeDecodeError as error:
        raise ValueError("it is not text in UTF-8") from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if _is_deeper(value, _DEEPEST):
        raise ValueError("it is nested too deeply")
    return value


def _is_deeper(value: Json, levels: int) -> bool:
    """Return whether lists and objects are nested in more than this many levels."""
    if not isinstance(value, dict | list):
        return False
    items = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(item, levels - 1) for item in items)


def _refuse(constant: str) -> typing.NoReturn:
    raise ValueError(f"{constant} is not a JSON number")


def _whole(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise ValueError(f"it has a number of {len(text):,} digits")
    return int(text)


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"the number {text[:20]} is too large")
    return value


def json_text(data: Json, *, indent: int | None = None) -> str:
    """Return data as JSON text, with null for NaN and infinity, which JSON does not have."""
    import json  # imported here because declarations of values need no JSON

    try:
        return json.dumps(data, ensure_ascii=False, indent=indent, allow_nan=False)
    except ValueError:
        return json.dumps(_without_nan(data), ensure_ascii=False, indent=indent)


def _without_nan(data: Json) -> Json:
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, Mapping):
        return {key: _without_nan(value) for key, value in data.items()}
    if isinstance(data, Sequence) and not isinstance(data, str):
        return [_without_nan(value) for value in data]
    return data


def _dump(item: object) -> Json:
    if item is None or isinstance(item, bool | int | float | str):
        return item
    if dataclasses.is_dataclass(item) and not isinstance(item, type):
        return to_json(item)
    if isinstance(item, Mapping):
        return {str(key): _dump(value) for key, value in item.items()}
    if isinstance(item, Sequence):
        return [_dump(value) for value in item]
    raise TypeError(f"{type(item).__name__} cannot be converted to JSON")


_Loader: typing.TypeAlias = Callable[[typing.Any], object]
"""Returns the value that JSON describes. Raises TypeError or ValueError if the JSON does not match the type."""


@functools.cache
def _loader(kind: typing.Any) -> _Loader:
    """Return the loader of a type. Loaders are cached, because histories have millions of values of few types."""
    origin = typing.get_origin(kind)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _dataclass_loader(kind)
    if origin in (typing.Union, types.UnionType):
        return _union_loader(typing.get_args(kind))
    if origin is typing.Literal:
        return functools.partial(_load_literal, typing.get_args(kind))
    if origin is tuple:
        return functools.partial(_load_tuple, _loader(typing.get_args(kind)[0]))
    if origin is not None and issubclass(origin, Mapping):
        return _load_mapping
    if kind is float:
        return _load_float
    if isinstance(kind, type):
        return functools.partial(_load_exactly, kind)
    return lambda data: data


def _dataclass_loader(kind: type) -> _Loader:
    fields: list[tuple[str, _Loader]] = []  # filled at the first use: a class may have fields of its own type
    required = {
        field.name: None
        for field in dataclasses.fields(kind)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }

    def load(data: typing.Any) -> object:
        if not isinstance(data, Mapping):
            raise TypeError(f"{kind.__name__} must be an object, not {type(data).__name__}")
        if not fields:
            fields.extend((name, _loader(hint)) for name, hint in typing.get_type_hints(kind).items())
        values: dict[str, object] = {}
        for name, load_field in fields:
            if name in data:
                try:
                    values[name] = load_field(data[name])
                except (TypeError, ValueError) as error:
                    kind_of_error = TypeError if isinstance(error, TypeError) else ValueError
                    raise kind_of_error(f"{name}: {error}") from error
        if not required.keys() <= values.keys():
            missing = [repr(name) for name in required if name not in values]
            raise TypeError(f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing")
        return kind(**values)

    return load


def _union_loader(kinds: tuple[typing.Any, ...]) -> _Loader:
    loaders = [_loader(kind) for kind in kinds]
    # Values of plain types are returned unchanged, which is fast. For other values, the loaders are tried in order.
    plain = {kind for kind in kinds if kind in (type(None), bool, int, float, str)}
    if float in plain:
        plain.discard(int)

    def load(data: typing.Any) -> object:
        if type(data) in plain:
            return data
        reasons: list[str] = []
        for load_kind in loaders:
            try:
                return load_kind(data)
            except (TypeError, ValueError) as error:
                reasons.append(str(error))
        raise TypeError("; ".join(reasons))

    return load


def _load_literal(values: tuple[object, ...], data: typing.Any) -> object:
    if data not in values:
        raise ValueError(f"{data!r} is not one of {', '.join(map(repr, values))}")
    return data


def _load_tuple(load_item: _Loader, data: typing.Any) -> object:
    if not isinstance(data, list | tuple):
        raise TypeError(f"expected a list, not {type(data).__name__}")
    return tuple(load_item(item) for item in data)


def _load_mapping(data: typing.Any) -> object:
    if not isinstance(data, Mapping):
        raise TypeError(f"expected an object, not {type(data).__name__}")
    return dict(data)  # option values and facts are already JSON


def _load_float(data: typing.Any) -> object:
    return float(data) if type(data) is int else _load_exactly(float, data)


def _load_exactly(kind: type, data: typing.Any) -> object:
    if type(data) is not kind:
        raise TypeError(f"expected {kind.__name__}, not {type(data).__name__}")
    return data
