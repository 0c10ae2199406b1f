"""`paragone config`: prints the path of config.toml, checks it, or creates a sample."""

from __future__ import annotations

from paragone import Json
from paragone_cli.arguments import Arguments
from paragone_cli.output import one_line, put, put_json, warn
from paragone_tui import screen_settings
from paragone_workbench.config.permissions import permission_warning
from paragone_workbench.config.read import init, load_with_problems
from paragone_workbench.config.settings import Problem
from paragone_workbench.config.state import State
from paragone_workbench.engines.registry import Registry
from paragone_workbench.paths import config_file, state_file

__all__ = ["config", "problem_json"]


def config(args: Arguments) -> int:
    """Run the command. Returns the exit code."""
    match args.action:
        case "path":
            return _path(args)
        case "check":
            return _check(args)
    return _init(args)


def _path(args: Arguments) -> int:
    path = args.config or config_file()
    if args.json:
        put_json({"file": str(path), "exists": path.exists()})
    else:
        put(one_line(str(path)))
    return 0


def _check(args: Arguments) -> int:
    path = args.config or config_file()
    state = State(state_file())
    if state.warning:
        warn(state.warning)
    registry = Registry()
    settings, found = load_with_problems(args.config, state, registry.find)
    problems = sorted((*found, *screen_settings.problems(settings)), key=lambda problem: problem.line)
    exposed = permission_warning(settings.document, registry.find)
    if exposed:
        warn(exposed)
    if args.json:
        listed = [problem_json(problem) for problem in problems]
        warnings: list[Json] = [exposed] if exposed else []
        put_json({"file": str(path), "exists": path.exists(), "problems": listed, "warnings": warnings})
    elif problems:
        for problem in problems:
            put(one_line(str(problem)))
    elif path.exists():
        put(one_line(f"{path}: no problems found."))
    else:
        put(
            one_line(
                f"{path} does not exist; the defaults are in force. `paragone config init` creates a sample."
            )
        )
    return 2 if problems else 0


def _init(args: Arguments) -> int:
    path = init(args.config)
    if args.json:
        put_json({"file": str(path), "exists": True})
    else:
        put(one_line(str(path)))
    return 0


def problem_json(problem: Problem) -> dict[str, Json]:
    """Return the JSON of a problem in a config file."""
    return {
        "file": str(problem.file),
        "line": problem.line,
        "key": problem.key,
        "sentence": problem.sentence,
        "hint": problem.hint,
    }
