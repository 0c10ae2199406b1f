"""Checks the settings of keys and themes. Only the user interface knows which keys, commands and themes exist."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from paragone_tui.commands import COMMANDS
from paragone_tui.keys import is_sent, keys_in_force, without_alt
from paragone_workbench.config.settings import Config, ConfigProblem
from paragone_workbench.engines.definitions import suggest

_IDS = tuple(command.id for command in COMMANDS)


def known_keys(config: Config) -> dict[str, str]:
    """Return the keys that the user set, except keys of unknown commands."""
    return {command: keys for command, keys in config.keys.items() if command in _IDS}


def problems(config: Config) -> Iterator[ConfigProblem]:
    """Yield the problems: unknown commands, keys that no terminal sends, keys set more than once, an unknown theme."""
    for command in config.keys:
        if command not in _IDS:
            yield _problem(
                config, "keys", command, f"No command is called {command!r}.", suggest(command, _IDS)
            )
    own = known_keys(config)
    yield from _unsent(config, own)
    owners: dict[str, list[str]] = {}
    in_lane_mode: dict[str, list[str]] = {}
    for command, keys in keys_in_force(own).items():
        for key in keys.both:
            owners.setdefault(key, []).append(command)
        for key in keys.lane:
            in_lane_mode.setdefault(key, []).append(command)
    for key, commands in (*owners.items(), *in_lane_mode.items()):
        if len(commands) > 1:
            where = next(command for command in commands if command in own)
            sentence = f"The key {key} is set for {' and '.join(commands)}; one will not work."
            yield _problem(config, "keys", where, sentence, "Give one of them another key.")
    if config.ui.theme is not None:
        from textual.theme import BUILTIN_THEMES

        from paragone_tui.painting.themes import OWN

        known = {*OWN, *config.themes, *BUILTIN_THEMES}
        if config.ui.theme not in known:
            sentence = f"'theme' of [ui] cannot be {config.ui.theme!r}: there is no such theme."
            yield _problem(config, "ui", "theme", sentence, suggest(config.ui.theme, sorted(known)))


def _unsent(config: Config, own: Mapping[str, str]) -> Iterator[ConfigProblem]:
    """Yield the keys that no terminal sends."""
    for command, keys in own.items():
        for key in filter(None, map(str.strip, keys.split(","))):
            if not (is_sent(key) or is_sent(without_alt(key))):
                sentence = f"No terminal sends a key {key!r}, which is set for {command}."
                hint = "Write a character, or names such as ctrl+k, f5, alt+left or question_mark."
                yield _problem(config, "keys", command, sentence, hint)


def _problem(config: Config, section: str, name: str, sentence: str, hint: str) -> ConfigProblem:
    document = config.document
    return ConfigProblem(
        file=document.path,
        line=document.line(section, name),
        key=f"{section}.{name}",
        sentence=sentence,
        hint=hint,
    )
