"""`paragone vote`: opens the screen for blind votes over the answers of an experiment."""

from __future__ import annotations

from dataclasses import dataclass

from paragone_cli.command_line.arguments import Arguments, command, word
from paragone_cli.command_line.context import CommandContext, require_terminal
from paragone_cli.command_line.output import put
from paragone_cli.command_line.saved import one_experiment, opened_store
from paragone_workbench.experiments.voting.experiment_ballots import ExperimentBallots


@dataclass(frozen=True, kw_only=True)
class VoteArguments(Arguments):
    """The experiment whose answers are voted on."""

    experiment: str | None = word(
        "EXPERIMENT",
        "the id of an experiment, such as e3; without an id, the newest experiments are listed",
        nargs="?",
    )


@command(VoteArguments)
def vote(args: VoteArguments) -> int:
    """Open the screen for votes on an experiment."""
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
    with opened_store() as store:
        ballots = ExperimentBallots(store, number)
        if len(ballots.experiment.engines) < 2:
            return f"e{number} has one engine only: there is nothing to compare."
        if not ballots.total:
            return f"e{number} has no prompt that two engines have answered."
        if ballots.voted == ballots.total:
            return f"All {ballots.total:,} ballots of e{number} have been voted on."
        return ""
