"""The active keys, and the key bindings made from them."""

from __future__ import annotations

import contextlib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from paragone_tui.commands import COMMANDS, ScreenCommand
from paragone_workbench.config.settings import Config, ConfigProblem
from paragone_workbench.engines.definitions import suggest

if TYPE_CHECKING:
    from textual.binding import Binding


_BY_ID = {command.id: command for command in COMMANDS}


@dataclass(frozen=True, slots=True)
class Keys:
    both: tuple[str, ...]
    lane: tuple[str, ...]

    @property
    def all(self) -> tuple[str, ...]:
        return self.both + self.lane

    @property
    def first(self) -> str:
        """The first key that works while the user writes, in short notation: a key of both modes, or of lane mode with Alt."""
        return readable_keys(self.both[:1] or [f"alt+{key}" for key in self.lane[:1]])

    @property
    def in_lane_mode(self) -> str:
        """The first key of lane mode and the words "in lane mode", for texts that stay on the screen when the mode changes."""
        return f"{readable_keys(self.lane[:1])} in lane mode" if self.lane else self.first


def active_keys(settings: Mapping[str, str]) -> dict[str, Keys]:
    """Return the keys of each command by its id.

    `settings` has the user's keys by command id. Characters among these keys, with or without Alt, replace the default keys
    of lane mode. Other keys replace the default keys of both modes, unless the command belongs to the group `Lane mode`.
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
    """Return the character of a key with Alt, such as `Q` for `alt+shift+q`. Return other keys unchanged."""
    name = key.removeprefix("alt+")
    shifted = name.removeprefix("shift+")
    name = shifted.upper() if len(shifted) == 1 and shifted != name else name
    return name if _is_character(name) else key


def _is_character(key: str) -> bool:
    return len(key) == 1 or key == "space"


def is_sent_by_terminals(key: str) -> bool:
    *modifiers, name = key.split("+") if key != "+" else [key]
    if not name or key in _AS_ESCAPE:
        return False
    if len(set(modifiers)) < len(modifiers) or not _MODIFIERS.issuperset(modifiers):
        return False
    if len(name) > 1:
        return (
            name in _NAMED or re.fullmatch(r"f([1-9]|1\d|2[0-4])", name) is not None or bool(key_symbol(name))
        )
    # Terminals send a letter with shift as the capital letter, and a letter with ctrl as the small letter.
    return (
        name.isprintable()
        and not (name.isalpha() and modifiers == ["shift"])
        and not (name.isupper() and "ctrl" in modifiers)
    )


def key_symbol(name: str) -> str:
    """Return the character that a key sends, such as `?` for `question_mark`; empty if the key sends no character."""
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
_AS_ESCAPE = ("alt+enter", "alt+tab", "alt+backspace")
"""Keys that arrive as Escape and the key without Alt."""
_SIGNS = {
    "slash": "solidus", "backslash": "reverse_solidus", "at": "commercial_at", "minus": "hyphen_minus",
    "plus": "plus_sign", "underscore": "low_line",
}  # fmt: skip
"""Textual's names of keys whose characters have other names in Unicode, and these Unicode names."""
_FROM_COMPOSER = "composer.lane-mode"
"""The id of the binding that changes from the composer to lane mode."""


def key_map(keys: Mapping[str, Keys]) -> dict[str, str]:
    """Return the keys of each binding, separated by commas, by the binding's id.

    The bindings are those of lane mode, of dialogs and of the composer. In lane mode, a command loses the keys that
    another command has only in lane mode. A command without remaining keys is skipped.
    """
    owners = {key: command for command, bound in keys.items() for key in bound.lane}
    in_lane = {
        command: [key for key in bound.all if owners.get(key, command) == command]
        for command, bound in keys.items()
    }
    in_lane[_FROM_COMPOSER] = list(keys["lane-mode"].both)
    return {binding: ",".join(bound) for binding, bound in in_lane.items() if bound}


def composer_binding() -> Binding:
    """Return the composer's binding to lane mode, which has priority: the mode changes before the next key is handled."""
    from textual.binding import Binding  # `config check` uses this module without Textual

    command = _BY_ID["lane-mode"]
    return Binding(command.keys, command.action, command.title, id=_FROM_COMPOSER, show=False, priority=True)


def closing_binding(command_id: str) -> Binding:
    """Return a binding for a sheet: the keys of the command that opens the sheet also close it."""
    from textual.binding import Binding

    command = _BY_ID[command_id]
    keys = ",".join(filter(None, (command.keys, command.lane_keys)))
    return Binding(keys, "dismiss", "Close", id=command_id)


def bindings(commands: Iterable[ScreenCommand], *, priority: bool = False) -> list[Binding]:
    """Return key bindings. With `priority`, a command takes effect before the next key is handled."""
    from textual.binding import Binding  # `config check` uses this module without Textual

    keys = key_map(active_keys({}))
    return [
        Binding(keys[command.id], command.action, command.title, id=command.id, show=False, priority=priority)
        for command in commands
        if command.id in keys
    ]


def readable_keys(keys: Iterable[str]) -> str:
    names = {"escape": "esc", "pageup": "pgup", "pagedown": "pgdn"}
    return " ".join(
        "+".join(names.get(part, part) for part in key.split("+")).replace("ctrl+", "^") for key in keys
    )


def problems(config: Config) -> Iterator[ConfigProblem]:
    def problem(section: str, name: str, message: str, hint: str) -> ConfigProblem:
        file, line = config.document.path, config.document.line(section, name)
        return ConfigProblem(file=file, line=line, key=f"{section}.{name}", sentence=message, hint=hint)

    for command in config.keys:
        if command not in _BY_ID:
            yield problem("keys", command, f"There is no command {command!r}.", suggest(command, _BY_ID))
    own = {command: keys for command, keys in config.keys.items() if command in _BY_ID}
    for command, setting in own.items():
        for key in _split(setting):
            if not (is_sent_by_terminals(key) or is_sent_by_terminals(without_alt(key))):
                message = f"No terminal sends a key {key!r}, which is set for {command}."
                hint = "Write a character, or names such as ctrl+k, f5, alt+left or question_mark."
                yield problem("keys", command, message, hint)
    active = active_keys(own)
    for is_lane_mode in (False, True):
        owners: dict[str, list[str]] = {}
        for command, keys in active.items():
            for key in keys.lane if is_lane_mode else keys.both:
                owners.setdefault(key, []).append(command)
        for key, commands in owners.items():
            if len(commands) > 1:
                where = next(command for command in commands if command in own)
                message = f"The key {key} is set for {' and '.join(commands)}; one will not work."
                yield problem("keys", where, message, "Give one of them another key.")
    if config.ui.theme is not None:
        from textual.theme import BUILTIN_THEMES

        from paragone_tui.terminal.themes import OWN

        known = {*OWN, *config.themes, *BUILTIN_THEMES}
        if config.ui.theme not in known:
            message = f"'theme' of [ui] cannot be {config.ui.theme!r}: there is no such theme."
            yield problem("ui", "theme", message, suggest(config.ui.theme, sorted(known)))
