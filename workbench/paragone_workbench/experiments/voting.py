"""Blind votes: ballots of answers without the engines' names, from experiments and from new answers."""

from __future__ import annotations

import random
import re
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING

from paragone_workbench.conversation.tree import Prompt
from paragone_workbench.engines.definitions import engine_for_model
from paragone_workbench.experiments.suite import saved_prompt
from paragone_workbench.runs.run import Run
from paragone_workbench.store import Store
from paragone_workbench.store.votes import Vote, VoteChoice, VotedAnswer

if TYPE_CHECKING:
    from paragone_workbench.lanes.session import Session
    from paragone_workbench.store import History


LETTERS = "ABCDEF"
"""The names of answers on a ballot, from left to right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ballot:
    """A prompt with the answers that are voted on, as they are shown. `asked` is the prompt in a conversation."""

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
        """Return a vote without the failed answers. `choice` is the index of an answer in `answers`, or `tie` or `bad`."""
        candidates = self.candidates
        if isinstance(choice, int):
            choice = candidates.index(self.answers[choice])
        return Vote(
            candidates=tuple(
                VotedAnswer(
                    engine=run.result.definition.name,
                    backend=run.result.definition.backend,
                    model=run.result.definition.model,
                    run=run.id,
                    names_itself=names_itself(run, self.prompt),
                )
                for run in candidates
            ),
            choice=choice,
            blind=blind,
            created=time.time(),
            experiment_id=self.experiment_id,
            prompt_index=self.prompt_index,
            prompt_id=None if self.asked is None else self.asked.id,
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
    vote = ballot.vote(choice, blind=blind)
    await history.call(lambda store: store.votes.add(vote))
    return vote.id


_BEYOND = 2**31
"""An index that is larger than the index of any prompt."""


@dataclass(slots=True)
class _Pair:
    """Two engines, by their names, with the indices of the prompts that are still to be voted on."""

    engines: frozenset[str]
    votes: int = 0
    prompts: list[int] = field(default_factory=list)


class ExperimentBallots:
    """The ballots of an experiment without a blind vote, in random order. All methods block, and may raise StoreError."""

    def __init__(self, store: Store, experiment_id: int, chance: random.Random | None = None) -> None:
        """Read the votes and answers of the experiment. Raises InputError if the experiment does not exist."""
        self.experiment = store.experiments.get(experiment_id)
        self.identical = 0
        """Number of ballots that were left out because both answers were the same text."""
        self._store = store
        self._chance = chance or random.SystemRandom()
        self._cast: list[tuple[str, Ballot]] = []
        """The ids and ballots of the votes that this object has saved, oldest first."""
        self._names = [engine.name for engine in self.experiment.engines]
        pairs = map(frozenset, combinations(self._names, 2))
        self._pairs = {engines: _Pair(engines) for engines in pairs}
        self._find_ballots()
        self.total = self.voted + sum(len(pair.prompts) for pair in self._pairs.values())
        """Number of ballots, without ballots whose answers turned out to be identical."""

    @property
    def voted(self) -> int:
        """Number of ballots that were voted on blind, now and earlier."""
        return sum(pair.votes for pair in self._pairs.values())

    def _find_ballots(self) -> None:
        votes = self._store.votes.all(self.experiment.number, skips_damaged=True)
        voted = {(vote.engines, vote.prompt_index) for vote in votes if vote.blind}
        answered: defaultdict[int, set[str]] = defaultdict(set)
        for key, state in self._store.experiments.states(self.experiment.number, 0, _BEYOND).items():
            if state == "done":
                answered[key.prompt_index].add(self._names[key.engine_index])
        for pair in self._pairs.values():
            both = [prompt for prompt, engines in answered.items() if pair.engines <= engines]
            pair.prompts = [prompt for prompt in both if (pair.engines, prompt) not in voted]
            pair.votes = len(both) - len(pair.prompts)
            self._chance.shuffle(pair.prompts)

    def take(self) -> Ballot | None:
        """Return the next ballot, or None if none is left.

        Identical answers, and votes of other programs meanwhile, are left out. Raises InputError after a deletion.
        """
        self._store.experiments.get(self.experiment.number)
        while left := [pair for pair in self._pairs.values() if pair.prompts]:
            fewest = min(pair.votes for pair in left)
            pair = self._chance.choice([pair for pair in left if pair.votes == fewest])
            prompt = pair.prompts[-1]
            is_voted = pair.engines in self._store.votes.engines_voted(self.experiment.number, prompt)
            ballot = None if is_voted else self._ballot(pair, prompt)
            pair.prompts.pop()  # not earlier: after an error of the store, the same ballot comes again
            if ballot is None:
                pair.votes += 1
                continue
            first, second = (run.text.strip() for run in ballot.answers)
            if first != second:
                return ballot
            self.identical += 1
            self.total -= 1
        return None

    def vote(self, ballot: Ballot, choice: VoteChoice, *, blind: bool = True) -> bool:
        """Save a vote on a ballot. Returns False if another program has voted on the ballot meanwhile: that vote counts."""
        vote = ballot.vote(choice, blind=blind)
        is_first = self._store.votes.add(vote, only_first=True)
        self._pair_of(ballot).votes += 1
        if is_first:
            self._cast.append((vote.id, ballot))
        return is_first

    def undo(self, current: Ballot | None) -> Ballot | None:
        """Delete the last vote of this object, and return its ballot, if any. `current`, the ballot that is shown, comes again later."""
        if not self._cast:
            return None
        vote_id, ballot = self._cast[-1]
        self._store.votes.delete(vote_id)
        self._cast.pop()
        self._pair_of(ballot).votes -= 1
        if current is not None and current.prompt_index is not None:
            self._pair_of(current).prompts.append(current.prompt_index)
        return ballot

    def _pair_of(self, ballot: Ballot) -> _Pair:
        return self._pairs[frozenset(run.result.definition.name for run in ballot.answers)]

    def _ballot(self, pair: _Pair, prompt_index: int) -> Ballot:
        prompt = saved_prompt(self._store, self.experiment.number, prompt_index)
        done: dict[str, list[Run]] = {name: [] for name in self._names if name in pair.engines}
        for run in self._store.experiments.runs_of_prompt(self.experiment.number, prompt_index):
            if run.result.state == "done" and (name := run.result.definition.name) in done:
                done[name].append(Run(run.result))
        answers = shuffled(map(self._chance.choice, done.values()), self._chance)  # a run of any repetition
        turns = [f"{message.role}: {message.text}" for message in prompt.messages]
        return Ballot(
            prompt="\n\n".join(turns) if len(turns) > 1 else prompt.messages[0].text,
            answers=answers,
            experiment_id=self.experiment.number,
            prompt_index=prompt_index,
        )
