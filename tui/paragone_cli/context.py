"""What a command starts from: the settings in force, the backends, and the engines that were named."""

from __future__ import annotations

from collections.abc import Iterable

from paragone_cli.arguments import Arguments
from paragone_cli.output import warn
from paragone_workbench.config.permissions import permission_warning
from paragone_workbench.config.read import load
from paragone_workbench.config.state import State
from paragone_workbench.engines.definitions import EngineDefinition, apply_settings, check_engine, resolve_all
from paragone_workbench.engines.registry import Registry
from paragone_workbench.paths import state_file

__all__ = ["CommandContext"]


class CommandContext:
    """The settings, read. Raises InputError where they cannot be used."""

    def __init__(self, args: Arguments) -> None:
        self.state = State(state_file())
        self.config = load(args.config, self.state)
        self.registry = Registry()

    def warn(self) -> None:
        """Print what the user should know before anything is done.

        That is what was wrong with what the program had saved, which was set aside and is not found
        again, and that others can read a config file which they should not.
        """
        for sentence in (self.state.warning, permission_warning(self.config.document, self.registry.find)):
            if sentence:
                warn(sentence)

    def system(self, args: Arguments) -> str:
        """Return the system prompt in force."""
        return self.config.chat.system if args.system is None else args.system

    def engines(self, names: Iterable[str], settings: list[str]) -> tuple[EngineDefinition, ...]:
        """Return the engines that were named, with `--set` over their options. Raises InputError."""
        return tuple(self.with_settings(it, settings) for it in resolve_all(names, self.config.engines))

    def with_settings(self, definition: EngineDefinition, settings: list[str]) -> EngineDefinition:
        """Return the engine with `--set` over its options. Raises InputError."""
        if not settings:
            return definition  # its backend may as well be missing: the screen shows that
        return apply_settings(definition, self.registry.get(definition.backend), settings)

    def checked(self, names: Iterable[str], settings: list[str]) -> tuple[EngineDefinition, ...]:
        """Return the engines that were named, their backends and options checked. Raises InputError."""
        chosen = self.engines(names, settings)
        for definition in chosen:
            check_engine(definition, self.registry.get(definition.backend))
        return chosen
