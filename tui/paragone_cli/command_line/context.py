"""The context of a command: settings, backends, the engines that the command line names, consent, and the history."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from paragone_cli.command_line import output
from paragone_cli.command_line.arguments import Arguments
from paragone_workbench.config.network import apply_network_settings
from paragone_workbench.config.read import load
from paragone_workbench.config.settings import Config, find_named, permission_warning, with_preset
from paragone_workbench.config.state import State
from paragone_workbench.engines.definitions import (
    EngineDefinition,
    UnknownEngine,
    apply_settings,
    check_engine,
    resolve_all,
    settings_of,
)
from paragone_workbench.engines.registry import Registry
from paragone_workbench.paths import config_file, state_file

if TYPE_CHECKING:
    from paragone_workbench.consent import Consent


def terminal_consent(document: Path, state: State, *, trusted: bool) -> Consent:
    """Return the consent to the actions of a document. The user is asked if standard input is a terminal."""
    from paragone_workbench.consent import Consent

    def ask(actions: Sequence[str]) -> bool:
        output.note(f"A third party may have written {document}. If you consent:")
        for action in actions:
            print(output.one_line(f"  {action}"), file=sys.stderr)
        return output.confirmed("Do you consent? paragone remembers a yes for this file and these actions.")

    return Consent(document=document, state=state, ask=ask if output.at_terminal() else None, trusted=trusted)


def require_consent_to_config(args: Arguments, config: Config, state: State, registry: Registry) -> None:
    """Raise InputError unless the config file is the user's own, or the user consents to the file's actions beyond its
    folder."""
    document = config.document.path
    named = Path(os.path.normpath(document.absolute()))  # a link in the folder for settings is the user's own
    if named.is_relative_to(config_file().parent):
        return
    # not needed for the user's own config.toml
    from paragone_workbench.consent import config_actions

    terminal_consent(document, state, trusted=args.trust).require(config_actions(config, registry))


class CommandContext:
    """The active settings, the saved state and the backends. Raises InputError if the settings are invalid.

    A third party may have written a config file outside of the user's folder for settings: the user must consent to the programs
    and addresses in such a file.

    Warnings about the state file and about a config file that other users can read are printed if `warns` is true; a
    screen shows the warnings itself. A broken state file is renamed, so that the next command does not find the file.
    """

    def __init__(self, args: Arguments, *, warns: bool = True) -> None:
        self.state = State(state_file())
        self.config = load(args.config, self.state)
        if warning := apply_network_settings(self.config.network):
            self.config = replace(self.config, warnings=(*self.config.warnings, warning))
        self.registry = Registry()
        self._trusted = args.trust
        if args.config is not None:
            require_consent_to_config(args, self.config, self.state, self.registry)
        if not warns:
            return
        exposed = permission_warning(self.config.document, self.registry.find)
        for message in filter(None, (self.state.warning, exposed)):
            output.warn(message)

    def consent(self, document: Path) -> Consent:
        return terminal_consent(document, self.state, trusted=self._trusted)

    def system_prompt(self, args: Arguments) -> str:
        """Return the active system prompt: from `--system`, the preset, or the settings.

        Raises InputError if the preset does not exist.
        """
        preset = None if args.preset is None else find_named("preset", args.preset, self.config.presets)
        given = (args.system, None if preset is None else preset.system)
        return next((text for text in given if text is not None), self.config.chat.system)

    def engines(
        self, names: Iterable[str], settings: Sequence[str], preset: str | None = None, *, checks: bool = True
    ) -> tuple[EngineDefinition, ...]:
        """Return the named engines with their options overridden by a preset's options, and by `--set`.

        Their backends and options are checked if `checks` is true. Raises InputError.
        """
        definitions = self._resolved(names)
        known = [definition.name for definition in definitions]
        found = tuple(
            self.with_settings(it, settings_of(it.name, settings, known), preset) for it in definitions
        )
        for definition in found if checks else ():
            check_engine(definition, self.registry.get(definition.backend))
        return found

    def _resolved(self, names: Iterable[str]) -> tuple[EngineDefinition, ...]:
        """Return the named engines. A name that no engine has may be that of a model on this machine. Raises InputError."""
        texts, engines = list(names), dict(self.config.engines)
        while True:
            try:
                return resolve_all(texts, engines)
            except UnknownEngine as error:
                # these modules are not needed to open an engine
                from paragone_cli.command_line.event_loop import run
                from paragone_workbench.catalog import engine_named_after_model, hint_for

                place = (self.registry, self.config.models.folders)
                found = run(engine_named_after_model(error.text, *place))
                if found is None:
                    error.hint = run(hint_for(error.text, *place)) or error.hint
                    raise
                engines[error.text] = found

    def with_settings(
        self, definition: EngineDefinition, settings: Sequence[str], preset: str | None = None
    ) -> EngineDefinition:
        """Return the engine with its options overridden by a preset's options, and by `--set`. Raises InputError."""
        if not settings and preset is None:
            return definition  # the backend may be missing: the screen shows that
        backend = self.registry.get(definition.backend)
        if preset is not None:
            definition = with_preset(definition, backend, find_named("preset", preset, self.config.presets))
        return apply_settings(definition, backend, settings)
