"""`paragone config`: prints the path of config.toml, checks it, or creates a sample."""

from __future__ import annotations

from dataclasses import dataclass

from paragone_cli.command_line.arguments import PrintArguments, command, word
from paragone_cli.command_line.formats import problems_json
from paragone_cli.command_line.output import note, put_json, put_line, warn
from paragone_tui import screen_settings
from paragone_workbench.config import templates
from paragone_workbench.config.permissions import permission_warning
from paragone_workbench.config.read import init, load_with_problems
from paragone_workbench.config.state import State
from paragone_workbench.engines.registry import Registry
from paragone_workbench.paths import config_file, state_file


@dataclass(frozen=True, kw_only=True)
class ConfigArguments(PrintArguments):
    """The action of `paragone config`."""

    action: str = word(
        "ACTION",
        "path: print the path of config.toml; check: list the problems in it; init: create a documented sample",
        choices=("path", "check", "init"),
    )


@command(ConfigArguments)
def config(args: ConfigArguments) -> int:
    """Print the path of the config file, or its problems, or create a sample file."""
    if args.action == "check":
        return _check(args)
    path = init(args.config) if args.action == "init" else args.config or config_file()
    if args.json:
        put_json({"file": str(path), "exists": path.exists()})
    else:
        put_line(str(path))
    return 0


def _check(args: ConfigArguments) -> int:
    path = args.config or config_file()
    state = State(state_file())
    if state.warning:
        warn(state.warning)
    registry = Registry(note)
    settings, found = load_with_problems(args.config, state, registry.get)
    all_found = (*found, *screen_settings.problems(settings), *templates.problems(settings))
    problems = sorted(all_found, key=lambda problem: problem.line)
    exposed = permission_warning(settings.document, registry.find)
    if exposed:
        warn(exposed)
    if args.json:
        put_json(problems_json(path, problems, exposed))
    elif problems:
        for problem in problems:
            put_line(str(problem))
    elif path.exists():
        put_line(f"{path}: no problems found.")
    else:
        put_line(
            f"{path} does not exist; the defaults are in force. `paragone config init` creates a sample."
        )
    return 2 if problems else 0
