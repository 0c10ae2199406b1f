"""Ballots: answers to one prompt, without the names of engines, and the vote on these answers."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from paragone_workbench.conversation.tree import Prompt
from paragone_workbench.engines.definitions import engine_for_model
from paragone_workbench.runs.run import Run
from paragone_workbench.store.experiment_records import Vote, VoteChoice, VotedAnswer
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
    def candidates(self) -> tuple[Run, ...]:
        """The answers that can be voted on: the answers of runs that did not fail."""
        return tuple(run for run in self.answers if run.state != "failed")

    @property
    def is_rated(self) -> bool:
        """Whether a vote counts in ratings: whether the candidates have different names, by which ratings identify engines."""
        return len({run.result.definition.name for run in self.candidates}) > 1

    def vote(self, choice: VoteChoice, *, blind: bool) -> Vote:
        """Return a vote. `choice` is the index of an answer in `answers`, or `tie` or `bad`.

        Failed answers are left out.
        """
        candidates = self.candidates
        if isinstance(choice, int):
            choice = candidates.index(self.answers[choice])
        return Vote(
            candidates=tuple(self._candidate(run) for run in candidates),
            choice=choice,
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
            names_itself=names_itself(run, self.prompt),
        )


_WORD = re.compile(r"[^\W\d_]{3,}")
_ORDINARY = frozenset((
    "assistant", "awq", "base", "bit", "bpw", "chat", "code", "coder", "default", "distill", "engine", "exl", "fast",
    "gguf", "gptq", "instruct", "int", "large", "latest", "local", "math", "medium", "mini", "model", "preview",
    "quick", "reasoning", "server", "slow", "small", "test", "text", "thinking", "tiny", "turbo", "vision",
))  # fmt: skip
"""Words in the names of engines and models that do not identify the model."""


def names_itself(run: Run, prompt: str) -> bool:
    """Return whether an answer contains the name of its engine, or of its model's family.

    The family are the words of the model's name, such as `SmolLM` of `SmolLM2-135M-Instruct`. Ordinary words, words of
    one or two letters, and names that the prompt contains do not count.
    """
    definition, loaded = run.result.definition, run.result.loaded
    names = {definition.name, *_WORD.findall(engine_for_model(definition.backend, definition.model).name)}
    if loaded is not None:
        names.update(_WORD.findall(loaded.name))
    telling = (name for name in names if len(name) > 2 and name.lower() not in _ORDINARY)
    return any(_contains(run.text, name) and not _contains(prompt, name) for name in telling)


def _contains(text: str, name: str) -> bool:
    """Return whether a text contains a name as a word, which a version may follow, in capital or small letters."""
    return re.search(f"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z])", text, re.IGNORECASE) is not None


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
    return await retrying(history, lambda store: store.votes.add(ballot.vote(choice, blind=blind)))
