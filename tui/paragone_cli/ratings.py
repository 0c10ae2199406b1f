"""`paragone ratings`: rates engines by the votes on their answers."""

from __future__ import annotations

from paragone import ParagoneError
from paragone_cli.command_arguments import RatingsArguments
from paragone_cli.command_line.arguments import command
from paragone_cli.command_line.context import CommandContext
from paragone_cli.command_line.output import put_json, put_section
from paragone_cli.command_line.saved import experiment_id, opened_store
from paragone_workbench.compare.ratings import Ratings, rate
from paragone_workbench.store.experiment_records import Vote


def nothing_to_rate(found: Ratings, experiment: str | None) -> ParagoneError:
    if found.named and not found.includes_named:
        return ParagoneError(
            "There is nothing to rate: in every vote, an answer names its engine or model.",
            hint="`paragone ratings` without `--without-named` counts these votes.",
        )
    if found.unblind:
        return ParagoneError(
            f"None of the {found.unblind:,} votes was blind, so there is nothing to rate.",
            hint="`paragone ratings --all` counts votes that were not blind.",
        )
    if found.one_engine:
        return ParagoneError(
            "There is nothing to rate: in every vote, all engines had the same name.",
            hint="Ratings know engines by their names. Give one of them another name in config.toml.",
        )
    on = f" on the answers of {experiment}" if experiment is not None else ""
    return ParagoneError(
        f"There are no votes{on} to rate engines by.",
        hint="Vote on the answers of an experiment first, with `paragone vote`; see docs/ratings.md.",
    )


@command(RatingsArguments)
def ratings(args: RatingsArguments) -> int:
    CommandContext(args)
    found = rate(_votes(args.experiment), include_unblind=args.all, include_named=not args.without_named)
    if not found.votes:
        raise nothing_to_rate(found, args.experiment)
    if args.json:
        put_json(found.to_json())
    else:
        put_section(found.section())
    return 0


def _votes(experiment: str | None) -> tuple[Vote, ...]:
    """Return the votes of an experiment, or of all experiments. Raises InputError if the experiment does not exist."""
    with opened_store() as store:
        if experiment is None:
            return store.votes.all()
        return store.votes.all(store.experiments.get(experiment_id(experiment)).number)
