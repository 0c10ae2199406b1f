"""`paragone`, `paragone demo` and `paragone vote`: open the screen. This module imports little, because `--help` loads it."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from paragone import InputError
from paragone_cli.command_line.arguments import ENGINE, Arguments, RunArguments, command, switch, word
from paragone_cli.command_line.output import put
from paragone_cli.commands import COMMANDS


@dataclass(frozen=True, kw_only=True)
class ScreenArguments(RunArguments):
    engines: Sequence[str] = word("ENGINE", f"an engine to open in a lane: {ENGINE}", nargs="*")
    version: bool = switch("--version", "show the version and exit")


@command(ScreenArguments)
def lanes_screen(args: ScreenArguments) -> int:
    if args.version:
        from importlib.metadata import version

        put(f"paragone {version('paragone')}")
        return 0
    from paragone_cli.command_line.context import CommandContext

    context = CommandContext(args, warns=False)
    names = args.engines
    if not names and (args.settings or args.preset is not None):
        names = context.config.lanes.start
        if not names:
            option = "--set" if args.settings else "--preset"
            raise InputError(f"{option} needs an engine.", hint=f"Write: paragone ENGINE {option} …")
    try:
        definitions = context.engines(names, args.settings, args.preset) if names else None
    except InputError as error:
        near = difflib.get_close_matches(args.engines[0], COMMANDS, n=1) if args.engines else []
        if near:
            error.hint = f"Did you mean `paragone {near[0]}`? {error.hint}".rstrip()
        raise
    return context.open_screen(args, definitions)


@command(RunArguments)
def demo(args: RunArguments) -> int:
    from paragone_cli.command_line.context import CommandContext
    from paragone_cli.command_line.event_loop import run

    context = CommandContext(args, warns=False)
    definitions = None  # the screen creates the models and shows the progress
    if args.settings or args.preset is not None:
        from paragone_workbench.models import demo_engines

        models = run(demo_engines(context.registry))
        definitions = [context.with_settings(model, args.settings, args.preset) for model in models]
    return context.open_screen(args, definitions, demo=True)


@dataclass(frozen=True, kw_only=True)
class VoteArguments(Arguments):
    experiment: str | None = word(
        "EXPERIMENT",
        "the id of an experiment, such as e3; without an id, the newest experiments are listed",
        nargs="?",
    )


@command(VoteArguments)
def vote(args: VoteArguments) -> int:
    from paragone_cli.command_line.context import CommandContext, require_terminal
    from paragone_cli.command_line.saved import one_experiment

    context = CommandContext(args, warns=False)
    number = one_experiment([] if args.experiment is None else [args.experiment], "paragone vote")
    nothing = _nothing_to_vote_on(number)
    if nothing:
        put(nothing)
        return 0
    require_terminal("Voting needs a terminal.")
    from paragone_tui.vote_app import VoteApp

    app = VoteApp(config=context.config, state=context.state, experiment_id=number)
    return app.run_until_quit()


def _nothing_to_vote_on(number: int) -> str:
    """Return why there is nothing to vote on; empty if there are ballots. Raises InputError if there is no experiment."""
    from paragone_cli.command_line.saved import opened_store
    from paragone_workbench.experiments.voting import ExperimentBallots

    with opened_store() as store:
        ballots = ExperimentBallots(store, number)
        if len(ballots.experiment.engines) < 2:
            return f"e{number} has one engine only: there is nothing to compare."
        if not ballots.total:
            return f"e{number} has no prompt that two engines have answered."
        if ballots.voted == ballots.total:
            return f"All {ballots.total:,} ballots of e{number} have been voted on."
        return ""
