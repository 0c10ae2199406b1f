"""Votes to and from the history."""

from __future__ import annotations

from collections.abc import Iterable

from paragone import ParagoneError
from paragone.wire import from_json, to_json
from paragone_workbench.compare.votes import Choice, Vote, VotedAnswer
from paragone_workbench.store.experiment_records import SavedVote

__all__ = ["saved_vote", "votes_from"]


def saved_vote(
    vote: Vote,
    *,
    experiment_id: int | None = None,
    prompt_index: int | None = None,
    prompt_id: str | None = None,
) -> SavedVote:
    """Return a vote as the history saves it: on a prompt of an experiment, or of a conversation."""
    return SavedVote(
        candidates=tuple(map(to_json, vote.candidates)),
        choice=str(vote.choice),
        blind=vote.blind,
        created=vote.created,
        experiment_id=experiment_id,
        prompt_index=prompt_index,
        prompt_id=prompt_id,
    )


def votes_from(saved: Iterable[SavedVote]) -> tuple[Vote, ...]:
    """Return votes of the history. Raises ParagoneError if one cannot be understood."""
    return tuple(map(_vote, saved))


def _vote(saved: SavedVote) -> Vote:
    try:
        return Vote(
            candidates=tuple(from_json(VotedAnswer, candidate) for candidate in saved.candidates),
            choice=_choice(saved.choice),
            blind=saved.blind,
            created=saved.created,
        )
    except (TypeError, ValueError) as error:
        raise ParagoneError(f"Vote {saved.id} of the history cannot be understood: {error}.") from error


def _choice(text: str) -> Choice:
    match text:
        case "tie" | "bad":
            return text
        case _:
            return int(text)
