"""`paragone vote`: votes blind on the answers of an experiment, and rates engines by the votes."""

from paragone import ParagoneError
from paragone_cli.command_line import command_arguments, output, saved
from paragone_cli.command_line.context import CommandContext, require_terminal
from paragone_workbench.compare.ratings import Ratings, rate
from paragone_workbench.experiments.voting import ExperimentBallots
from paragone_workbench.store.votes import Vote


def nothing_to_rate(found: Ratings, experiment: str | None) -> ParagoneError:
    if found.named and not found.includes_named:
        return ParagoneError(
            "There is nothing to rate: in every vote, an answer names its engine or model.",
            hint="`paragone vote ratings` without `--without-named` counts these votes.",
        )
    if found.unblind:
        return ParagoneError(
            f"None of the {found.unblind:,} votes was blind, so there is nothing to rate.",
            hint="`paragone vote ratings --all` counts votes that were not blind.",
        )
    if found.one_engine:
        return ParagoneError(
            "There is nothing to rate: in every vote, all engines had the same name.",
            hint="Ratings know engines by their names. Give one of them another name in config.toml.",
        )
    on = f" on the answers of {experiment}" if experiment is not None else ""
    return ParagoneError(
        f"There are no votes{on} to rate engines by.",
        hint="Vote on the answers of an experiment first, with `paragone vote cast`; see docs/ratings.md.",
    )


def ratings(args: command_arguments.RatingsArguments) -> int:
    CommandContext(args)
    found = rate(_votes(args.experiment), include_unblind=args.all, include_named=not args.without_named)
    if not found.votes:
        raise nothing_to_rate(found, args.experiment)
    if args.json:
        output.put_json(found.to_json())
    else:
        output.put_section(found.section())
    return 0


def _votes(experiment: str | None) -> tuple[Vote, ...]:
    """Return the votes of an experiment, or of all experiments. Raises InputError if the experiment does not exist."""
    with saved.opened_store() as store:
        if experiment is None:
            return store.votes.all()
        return store.votes.all(store.experiments.get(saved.experiment_id(experiment)).number)


def vote(args: command_arguments.VoteArguments) -> int:
    context = CommandContext(args, warns=False)
    number = saved.experiment_id(args.experiment)
    nothing = _nothing_to_vote_on(number)
    if nothing:
        output.put(nothing)
        return 0
    require_terminal("Voting needs a terminal.")
    from paragone_tui.screens.vote import VoteApp

    app = VoteApp(config=context.config, state=context.state, experiment_id=number)
    return app.run_until_quit()


def _nothing_to_vote_on(number: int) -> str:
    """Return why there is nothing to vote on; empty if there are ballots. Raises InputError if there is no experiment."""
    with saved.opened_store() as store:
        ballots = ExperimentBallots(store, number)
        if len(ballots.experiment.engines) < 2:
            return f"e{number} has one engine only: there is nothing to compare."
        if not ballots.total:
            return f"e{number} has no prompt that two engines have answered."
        if ballots.voted == ballots.total:
            return f"All {ballots.total:,} ballots of e{number} have been voted on."
        return ""
