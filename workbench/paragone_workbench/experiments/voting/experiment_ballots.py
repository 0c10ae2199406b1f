"""The ballots of an experiment: saved answers of two engines to the same prompt."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations

from paragone import Message
from paragone_workbench.experiments.suites.saved_prompts import saved_prompt
from paragone_workbench.experiments.voting.ballots import Ballot, shuffled
from paragone_workbench.runs.run import Run
from paragone_workbench.store import Store
from paragone_workbench.store.experiment_records import VoteChoice

_BEYOND = 2**31
"""An index that is larger than the index of any prompt."""


@dataclass(slots=True)
class _Pair:
    """Two engines, by their indices, with the indices of the prompts that are still to be voted on."""

    engines: tuple[int, int]
    votes: int = 0
    prompts: list[int] = field(default_factory=list)


class ExperimentBallots:
    """The ballots of an experiment that have not been voted on blind yet, in random order.

    With more than two engines, the pair of engines with the fewest votes comes next. All methods block,
    and may raise StoreError.
    """

    def __init__(self, store: Store, experiment_id: int, chance: random.Random | None = None) -> None:
        """Read the votes and answers of the experiment. Raises InputError if the experiment does not exist."""
        self.experiment = store.experiments.get(experiment_id)
        self.identical = 0
        """Number of ballots that were left out because both answers were the same text."""
        self.voted = 0
        """Number of ballots that were voted on blind, now and earlier."""
        self._store = store
        self._chance = chance or random.SystemRandom()
        self._cast: list[tuple[str, Ballot, _Pair]] = []
        """The ids, ballots and pairs of the votes that this object has saved, oldest first."""
        self._pairs = [_Pair(pair) for pair in combinations(range(len(self.experiment.engines)), 2)]
        self._find_ballots()
        self.total = self.voted + sum(len(pair.prompts) for pair in self._pairs)
        """Number of ballots, without ballots whose answers turned out to be identical."""

    def _find_ballots(self) -> None:
        votes = self._store.votes.all(self.experiment.number, skips_damaged=True)
        voted = {(vote.engines, vote.prompt_index) for vote in votes if vote.blind}
        answered: defaultdict[int, set[int]] = defaultdict(set)
        for key, state in self._store.experiments.states(self.experiment.number, 0, _BEYOND).items():
            if state == "done":
                answered[key.prompt_index].add(key.engine_index)
        for pair in self._pairs:
            both = self._engines(pair)
            for prompt, engines in answered.items():
                if not engines.issuperset(pair.engines):
                    continue
                if (both, prompt) in voted:
                    pair.votes += 1
                else:
                    pair.prompts.append(prompt)
            self._chance.shuffle(pair.prompts)
            self.voted += pair.votes

    def take(self) -> Ballot | None:
        """Return the next ballot, or None if none is left.

        Ballots with identical answers, and ballots with a vote from another program meanwhile, are left out. Raises
        InputError if the experiment was deleted.
        """
        self._store.experiments.get(self.experiment.number)
        while left := [pair for pair in self._pairs if pair.prompts]:
            fewest = min(pair.votes for pair in left)
            pair = self._chance.choice([pair for pair in left if pair.votes == fewest])
            prompt = pair.prompts[-1]
            is_voted = self._engines(pair) in self._store.votes.engines_voted(self.experiment.number, prompt)
            ballot = None if is_voted else self._ballot(pair, prompt)
            pair.prompts.pop()  # not earlier: after an error of the store, the same ballot comes again
            if ballot is None:
                self._count(pair)
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
        is_first = self._store.votes.add_first(vote)
        pair = self._pair_of(ballot)
        if is_first:
            self._cast.append((vote.id, ballot, pair))
        self._count(pair)
        return is_first

    def _count(self, pair: _Pair) -> None:
        pair.votes += 1
        self.voted += 1

    def _engines(self, pair: _Pair) -> frozenset[str]:
        return frozenset(self.experiment.engines[engine].name for engine in pair.engines)

    def undo(self, current: Ballot | None) -> Ballot | None:
        """Delete the last vote that this object has saved, and return the ballot of that vote; None without a vote.

        `current` is the ballot that the screen shows, which comes again later.
        """
        if not self._cast:
            return None
        vote_id, ballot, pair = self._cast[-1]
        self._store.votes.delete(vote_id)
        self._cast.pop()
        pair.votes -= 1
        self.voted -= 1
        if current is not None and current.prompt_index is not None:
            self._pair_of(current).prompts.append(current.prompt_index)
        return ballot

    def _pair_of(self, ballot: Ballot) -> _Pair:
        names = [engine.name for engine in self.experiment.engines]
        engines = sorted(names.index(run.result.definition.name) for run in ballot.answers)
        return next(pair for pair in self._pairs if list(pair.engines) == engines)

    def _ballot(self, pair: _Pair, prompt_index: int) -> Ballot:
        prompt = saved_prompt(self._store, self.experiment.number, prompt_index)
        done: dict[int, list[Run]] = {engine: [] for engine in pair.engines}
        for run in self._store.experiments.runs_of_prompt(self.experiment.number, prompt_index):
            if run.key.engine_index in done and run.result.state == "done":
                done[run.key.engine_index].append(Run(run.result))
        answers = shuffled(map(self._chance.choice, done.values()), self._chance)  # a run of any repetition
        return Ballot(
            prompt=_text_of(prompt.messages),
            answers=answers,
            experiment_id=self.experiment.number,
            prompt_index=prompt_index,
        )


def _text_of(messages: Sequence[Message]) -> str:
    """Return messages as text: a single message unchanged, several messages with roles."""
    if len(messages) == 1:
        return messages[0].text
    return "\n\n".join(f"{message.role}: {message.text}" for message in messages)
