"""Votes on the answers of a conversation."""

from __future__ import annotations

from paragone_workbench.compare.votes import Choice
from paragone_workbench.experiments.voting.ballots import Ballot
from paragone_workbench.lanes.session import Session
from paragone_workbench.store import History

__all__ = ["save_vote"]


async def save_vote(
    history: History, session: Session, ballot: Ballot, choice: Choice, *, blind: bool
) -> str:
    """Save a vote on answers of a session's conversation, and return its id. Raises StoreError."""
    await session.saved()  # the vote refers to the prompt in the history
    # on the history's thread: the style of a long answer takes a while
    return await history.call(lambda store: store.votes.add(ballot.vote(choice, blind=blind)))
