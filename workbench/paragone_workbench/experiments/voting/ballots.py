"""Ballots: answers to one prompt, without the names of engines, and the vote on these answers."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from paragone.wire import to_json
from paragone_workbench.compare.votes import VoteChoice, VotedAnswer, style_of
from paragone_workbench.conversation.tree import Prompt
from paragone_workbench.experiments.voting.masking import NameMask, names_of
from paragone_workbench.runs.run import Run
from paragone_workbench.store import SavedVote
from paragone_workbench.store.retry import retrying

if TYPE_CHECKING:
    from paragone_workbench.lanes.session import Session
    from paragone_workbench.store import History


LETTERS = "ABCDEF"
"""The names of answers on a ballot, from left to right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ballot:
    """A prompt with the answers that are voted on.

    Attributes:
        prompt: The text of the prompt.
        answers: The answers in the order in which they are shown.
        experiment_id: The number of the experiment, if the answers are runs of an experiment.
        prompt_index: The index of the prompt in the experiment.
        asked: The prompt in a conversation, if the answers belong to a conversation.
    """

    prompt: str
    answers: tuple[Run, ...]
    experiment_id: int | None = None
    prompt_index: int | None = None
    asked: Prompt | None = None

    @property
    def mask(self) -> NameMask:
        """The mask for the names of the engines and models in the answers. Some names are known only once a run has begun."""
        names = frozenset(
            name for run in self.answers for name in names_of(run.result.definition, run.result.loaded)
        )
        return NameMask(names, self.prompt)

    @property
    def candidates(self) -> tuple[Run, ...]:
        """The answers that can be voted on: the answers of runs that did not fail."""
        return tuple(run for run in self.answers if run.state != "failed")

    @property
    def is_rated(self) -> bool:
        """Whether a vote counts in ratings: whether the candidates have different names, by which ratings identify engines."""
        return len({run.result.definition.name for run in self.candidates}) > 1

    def vote(self, choice: VoteChoice, *, blind: bool) -> SavedVote:
        """Return a vote. `choice` is the index of an answer in `answers`, or `tie` or `bad`.

        Failed answers are left out.
        """
        candidates = self.candidates
        if isinstance(choice, int):
            choice = candidates.index(self.answers[choice])
        return SavedVote(
            candidates=tuple(to_json(self._candidate(run)) for run in candidates),
            choice=str(choice),
            blind=blind,
            created=time.time(),
            experiment_id=self.experiment_id,
            prompt_index=self.prompt_index,
            prompt_id=None if self.asked is None else self.asked.id,
        )

    def _candidate(self, run: Run) -> VotedAnswer:
        return VotedAnswer(
            engine=run.result.definition.name,
            backend=run.result.definition.backend,
            model=run.result.definition.model,
            run=run.id,
            style=style_of(run.text, _tokens_of(run)),
        )


def _tokens_of(run: Run) -> int:
    """Return the number of tokens of an answer without thinking, which is not shown on a ballot.

    Engines count answer and thinking together; the count is divided in proportion to the numbers of characters.
    """
    metrics = run.result.metrics
    tokens = metrics.completion_tokens if metrics is not None else 0
    if not run.thinking:
        return tokens
    return round(tokens * len(run.text) / (len(run.text) + len(run.thinking)))


def shuffled(runs: Iterable[Run], chance: random.Random | None = None) -> tuple[Run, ...]:
    """Return runs in random order: unpredictable, unless `chance` is a generator with a seed."""
    ordered = list(runs)
    (chance or random.SystemRandom()).shuffle(ordered)
    return tuple(ordered)


async def save_vote(
    history: History, session: Session, ballot: Ballot, choice: VoteChoice, *, blind: bool
) -> str:
    """Save a vote on answers of a session's conversation, and return the id of the vote. Raises StoreError."""
    await session.saved()  # the vote refers to the prompt in the history
    # on the history's thread: the style of a long answer takes a while
    return await retrying(history, lambda store: store.votes.add(ballot.vote(choice, blind=blind)))
