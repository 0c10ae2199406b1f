"""Asks the user for consent to the actions of config files, suites and documents beyond their folders."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from paragone_cli.command_line.arguments import Arguments
from paragone_cli.command_line.output import note, one_line
from paragone_cli.command_line.question import at_terminal, confirmed
from paragone_workbench.config.settings import Config
from paragone_workbench.config.state import State
from paragone_workbench.consent.consent import Consent
from paragone_workbench.engines.registry import Registry
from paragone_workbench.paths import config_file


def terminal_consent(document: Path, state: State, *, trusted: bool) -> Consent:
    """Return the consent to the actions of a document. The user is asked if standard input is a terminal."""

    def ask(actions: Sequence[str]) -> bool:
        note(f"{document} may come from somebody else. It would do the following beyond its folder:")
        for action in actions:
            print(one_line(f"  {action}"), file=sys.stderr)
        return confirmed("Allow this? A yes is remembered for this file.")

    return Consent(document=document, state=state, ask=ask if at_terminal() else None, trusted=trusted)


def require_consent_to_config(args: Arguments, config: Config, state: State, registry: Registry) -> None:
    """Raise InputError unless the config file is the user's own, or the user consents to the file's actions beyond its folder."""
    document = config.document.path
    named = Path(os.path.normpath(document.absolute()))  # a link in the folder for settings is the user's own
    if named.is_relative_to(config_file().parent):
        return
    # not needed for the user's own config.toml
    from paragone_workbench.consent.actions import config_actions

    terminal_consent(document, state, trusted=args.trust).require(config_actions(config, registry))
