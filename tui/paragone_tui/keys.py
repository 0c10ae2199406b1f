"""The keys in force, and the key bindings that are made of them."""

from __future__ import annotations

import contextlib
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from paragone_tui.commands import COMMANDS, ScreenCommand

if TYPE_CHECKING:
    from textual.binding import Binding


_BY_ID = {command.id: command for command in COMMANDS}


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of a command."""

    both: tuple[str, ...]
    """Keys in both modes."""
    lane: tuple[str, ...]
    """Keys in lane mode only."""

    @property
    def all(self) -> tuple[str, ...]:
        """All keys, those that work in both modes first."""
        return self.both + self.lane

    @property
    def first(self) -> str:
        """The first key that works while the user writes, in short notation: one of lane mode with Alt, if need be."""
        return readable(self.both[:1] or [f"alt+{key}" for key in self.lane[:1]])

    @property
    def alt(self) -> tuple[str, ...]:
        """The characters of lane mode, with Alt."""
        return tuple(f"alt+{key}" for key in self.lane if _is_character(key))

    @property
    def in_lane_mode(self) -> str:
        """The first key of lane mode, with the name of the mode: for texts that stay while the mode changes."""
        return f"{readable(self.lane[:1])} in lane mode" if self.lane else self.first


def keys_in_force(settings: Mapping[str, str]) -> dict[str, Keys]:
    """Return the keys of each command by its id.

    Keys in `settings` replace the defaults of their kind: characters, which are text while the user
    writes, are keys in lane mode, also with Alt; other keys are keys in both modes, unless the command
    belongs to the group `Lane mode`.
    """
    return {command.id: _keys(command, settings.get(command.id, "")) for command in COMMANDS}


def _keys(command: ScreenCommand, setting: str) -> Keys:
    keys = tuple(map(without_alt, _split(setting)))
    lane = tuple(key for key in keys if command.group == "Lane mode" or _is_character(key))
    both = tuple(key for key in keys if key not in lane)
    return Keys(both or _split(command.keys), lane or _split(command.lane_keys))


def _split(keys: str) -> tuple[str, ...]:
    return tuple(key.strip() for key in keys.split(",") if key.strip())


def without_alt(key: str) -> str:
    """Return the letter, digit, sign or space of a key with Alt, such as `Q` of `alt+shift+q`; other keys as they are.

    Such a key is Escape and the character: terminals send the same for both.
    """
    name = key.removeprefix("alt+")
    shifted = name.removeprefix("shift+")
    name = shifted.upper() if len(shifted) == 1 and shifted != name else name
    return name if _is_character(name) else key


def with_alt(key: str) -> str:
    """Return a key of a character with Alt by its character, such as `alt+Q` of `alt+shift+q`; other keys as they are."""
    name = without_alt(key)
    if name == key:  # a sign such as `?`, whose key is called `question_mark`
        name = sign(key.removeprefix("alt+")) if key.startswith("alt+") else ""
    return f"alt+{name}" if name else key


def _is_character(key: str) -> bool:
    return len(key) == 1 or key == "space"


def is_sent(key: str) -> bool:
    """Return whether a terminal can send a key of this name, such as `ctrl+left`, `f5`, `A` or `question_mark`."""
    *modifiers, name = key.split("+") if key != "+" else [key]
    if not name:
        return False
    if len(set(modifiers)) < len(modifiers) or not _MODIFIERS.issuperset(modifiers):
        return False
    if len(name) > 1:
        return name in _NAMED or re.fullmatch(r"f([1-9]|1\d|2[0-4])", name) is not None or bool(sign(name))
    # A letter with shift comes as the upper one, and with ctrl as the lower one.
    return (
        name.isprintable()
        and not (name.isalpha() and modifiers == ["shift"])
        and not (name.isupper() and "ctrl" in modifiers)
    )


def sign(name: str) -> str:
    """Return the character that a key of this name sends, such as `?` of `question_mark`; empty if it sends none."""
    with contextlib.suppress(KeyError):
        found = unicodedata.lookup(_SIGNS.get(name, name).replace("_", " ").upper())
        return found if found.isprintable() else ""
    return ""


_MODIFIERS = frozenset(("ctrl", "alt", "shift", "super", "hyper", "meta"))
_NAMED = frozenset(
    ("up", "down", "left", "right", "home", "end", "pageup", "pagedown", "insert", "delete", "backspace", "enter", "tab",
     "escape", "space")
)  # fmt: skip
"""The names of keys that send no character."""
_SIGNS = {
    "slash": "solidus", "backslash": "reverse_solidus", "at": "commercial_at", "minus": "hyphen_minus",
    "plus": "plus_sign", "underscore": "low_line",
}  # fmt: skip
"""Signs that keys call otherwise than Unicode."""
_FROM_COMPOSER = "composer.lane-mode"
"""The id of the binding that changes from the composer to lane mode."""


def key_map(keys: Mapping[str, Keys]) -> dict[str, str]:
    """Return the keys of each binding by its id, separated by commas.

    The bindings are those of lane mode and of dialogs, and the composer's. In lane mode, a command loses
    the keys that another one has in that mode only; it is left out if it has no others.
    """
    owners = {key: command for command, bound in keys.items() for key in bound.lane}
    in_lane = {
        command: [key for key in bound.all if owners.get(key, command) == command]
        for command, bound in keys.items()
    }
    in_lane[_FROM_COMPOSER] = list(keys["lane-mode"].both)
    return {binding: ",".join(bound) for binding, bound in in_lane.items() if bound}


def composer_binding() -> Binding:
    """Return the composer's binding of lane mode. The binding has priority, so that the mode is in force before the next key."""
    from textual.binding import Binding  # `config check` uses this module without Textual

    command = _BY_ID["lane-mode"]
    return Binding(command.keys, command.action, command.title, id=_FROM_COMPOSER, show=False, priority=True)


def closing_binding(command_id: str) -> Binding:
    """Return the binding by which the keys of the command that shows a sheet also close the sheet."""
    from textual.binding import Binding

    command = _BY_ID[command_id]
    keys = ",".join(filter(None, (command.keys, command.lane_keys)))
    return Binding(keys, "dismiss", "Close", id=command_id)


def lane_bindings() -> list[Binding]:
    """Return the key bindings of lane mode.

    The bindings have priority, so that a change of the mode or of the lane is in force before the next key.
    """
    return _bindings(COMMANDS, priority=True)


def program_bindings() -> list[Binding]:
    """Return the bindings of the program's commands, which work on every screen."""
    return _bindings([command for command in COMMANDS if command.group == "Program"], priority=False)


def _bindings(commands: Iterable[ScreenCommand], *, priority: bool) -> list[Binding]:
    from textual.binding import Binding  # `config check` uses this module without Textual

    keys = key_map(keys_in_force({}))
    return [
        Binding(keys[command.id], command.action, command.title, id=command.id, show=False, priority=priority)
        for command in commands
        if command.id in keys
    ]


def readable(keys: Iterable[str]) -> str:
    """Return keys in short notation, separated by spaces: `ctrl+j` as `^j`, `escape` as `esc`."""
    names = {"escape": "esc", "pageup": "pgup", "pagedown": "pgdn"}
    return " ".join(
        "+".join(names.get(part, part) for part in key.split("+")).replace("ctrl+", "^") for key in keys
    )
