"""`paragone vote`: opens the screen for blind votes over the answers of an experiment."""

from __future__ import annotations

import sys
from contextlib import closing

from paragone import InputError
from paragone_cli.arguments import Arguments
from paragone_cli.context import CommandContext
from paragone_cli.experiment_ids import one_experiment
from paragone_cli.output import put, warn

__all__ = ["vote"]


def vote(args: Arguments) -> int:
    """Open the screen for votes on an experiment. Returns the exit code."""
    context = CommandContext(args)
    number = one_experiment([] if args.experiment is None else [args.experiment], "paragone vote")
    nothing = _nothing_to_vote_on(number)
    if nothing:
        put(nothing)
        return 0
    if not all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):
        raise InputError("Voting needs a terminal.")
    from paragone_tui.vote_app import run_vote_screen

    return run_vote_screen(
        config=context.config, state=context.state, registry=context.registry, experiment_id=number
    )


def _nothing_to_vote_on(number: int) -> str:
    """Return why there is nothing to vote on; empty if there is. Raises InputError if there is no experiment."""
    from paragone_workbench.experiments.voting.experiment_ballots import ExperimentBallots
    from paragone_workbench.store import Store

    with closing(Store.open()) as store:
        if store.warning:
            warn(store.warning)
        ballots = ExperimentBallots(store, number)
        if len(ballots.experiment.engines) < 2:
            return f"e{number} has one engine only: there is nothing to compare."
        if not ballots.total:
            return f"e{number} has no prompt that two engines have answered."
        if ballots.voted == ballots.total:
            return f"All {ballots.total:,} ballots of e{number} have been voted on."
        return ""
