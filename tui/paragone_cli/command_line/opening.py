"""Opens the screen, for the commands that need a terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from paragone import InputError
from paragone_cli.command_line.context import CommandContext
from paragone_workbench.engines.definitions import EngineDefinition

__all__ = ["open_screen", "require_terminal"]


def open_screen(
    context: CommandContext,
    system: str | None,
    definitions: Sequence[EngineDefinition] | None,
    *,
    demo: bool = False,
) -> int:
    """Open the screen with these engines, or those of the settings. Returns the exit code. Raises InputError."""
    require_terminal("The screen needs a terminal.", hint="`paragone ask` and `paragone compare` do not.")
    from paragone_tui.app import ParagoneApp

    app = ParagoneApp(
        config=context.config,
        state=context.state,
        registry=context.registry,
        definitions=definitions,
        mode=context.config.lanes.mode,
        system=context.system(system),
        demo=demo,
    )
    return app.run_until_quit()


def require_terminal(sentence: str, hint: str = "") -> None:
    """Raise InputError with this sentence if a standard stream is not a terminal."""
    if not all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):
        raise InputError(sentence, hint=hint)
