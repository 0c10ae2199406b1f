"""`paragone ratings`: rates engines by the votes on their answers."""

from __future__ import annotations

from dataclasses import dataclass

from paragone_cli.command_line.arguments import PrintArguments, command, option, switch
from paragone_cli.command_line.context import CommandContext
from paragone_cli.command_line.output import put_json
from paragone_cli.command_line.saved import experiment_id, opened_store
from paragone_workbench.store.experiment_records import Vote


@dataclass(frozen=True, kw_only=True)
class RatingsArguments(PrintArguments):
    """The votes to use, and how to rate engines by them."""

    experiment: str | None = option(
        "--experiment ID", "only votes on the answers of this experiment, such as e3"
    )
    all: bool = switch("--all", "also count votes that were not blind")
    without_named: bool = switch(
        "--without-named", "leave out votes in which an answer names its engine or model"
    )


@command(RatingsArguments)
def ratings(args: RatingsArguments) -> int:
    """Print the ratings."""
    # loads SciPy
    from paragone_cli.experiments.ratings.ratings_text import nothing_to_rate, put_ratings
    from paragone_workbench.compare.ratings.rate import rate

    CommandContext(args)
    found = rate(_votes(args.experiment), include_unblind=args.all, include_named=not args.without_named)
    if not found.votes:
        raise nothing_to_rate(found, args.experiment)
    if args.json:
        put_json(found.to_json())
    else:
        put_ratings(found)
    return 0


def _votes(experiment: str | None) -> tuple[Vote, ...]:
    """Return the votes of an experiment, or of all experiments. Raises InputError if the experiment does not exist."""
    with opened_store() as store:
        if experiment is None:
            return store.votes.all()
        return store.votes.all(store.experiments.get(experiment_id(experiment)).number)
