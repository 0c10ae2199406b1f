"""Blind votes: ballots of answers without the engines' names, from experiments and from new answers."""

from __future__ import annotations

import random
import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
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
    def engines(self) -> frozenset[str]:
        return frozenset(run.result.definition.name for run in self.candidates)

    @property
    def is_rated(self) -> bool:
        """Whether a vote counts in ratings: whether the candidates have different names, by which ratings identify engines."""
        return len(self.engines) > 1

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
                    names_its_engine=names_its_engine(run, self.prompt),
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


def names_its_engine(run: Run, prompt: str) -> bool:
    """Return whether an answer contains the name of its engine, or a word of its model's name, such as `SmolLM` of
    `SmolLM2-135M-Instruct`. Ordinary words, words of one or two letters, and names in the prompt do not count."""
    definition, loaded = run.result.definition, run.result.loaded
    names = {definition.name, *_WORD.findall(engine_for_model(definition.backend, definition.model).name)}
    if loaded is not None:
        names.update(_WORD.findall(loaded.name))
    telling = (name for name in names if len(name) > 2 and name.lower() not in _ORDINARY)
    return any(_contains(run.text, name) and not _contains(prompt, name) for name in telling)


def _contains(text: str, name: str) -> bool:
    """Return whether a text contains a name as a word, in any case and perhaps followed by a version."""
    return re.search(f"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z])", text, re.IGNORECASE) is not None


def shuffled(runs: Iterable[Run], chance: random.Random | None = None) -> tuple[Run, ...]:
    """Return runs in random order. `chance` is the random generator; the default is unpredictable."""
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


class ExperimentBallots:
    """The ballots of an experiment without a blind vote, in random order. All methods block, and may raise StoreError."""

    def __init__(self, store: Store, experiment_id: int, chance: random.Random | None = None) -> None:
        """Read the votes and answers of the experiment. Raises InputError if the experiment does not exist."""
        self.experiment = store.experiments.get(experiment_id)
        self.identical = 0
        """Number of ballots that were skipped because both answers had the same text."""
        self._store = store
        self._chance = chance or random.SystemRandom()
        self._cast: list[tuple[str, Ballot]] = []
        """The ids and ballots of the votes that this object has saved, oldest first."""
        self._votes: Counter[frozenset[str]] = Counter()
        """For each pair of engine names, the number of ballots with a blind vote, cast now or earlier."""
        self._left: dict[frozenset[str], list[int]] = {}
        """The prompts that are still to be voted on for each pair."""
        votes = store.votes.all(experiment_id, skips_damaged=True)
        voted = {(vote.engines, vote.prompt_index) for vote in votes if vote.blind}
        names = [engine.name for engine in self.experiment.engines]
        answered: defaultdict[int, set[str]] = defaultdict(set)
        for key, state in store.experiments.states(experiment_id, 0, _BEYOND).items():
            if state == "done":
                answered[key.prompt_index].add(names[key.engine_index])
        for pair in map(frozenset, combinations(names, 2)):
            both = [prompt for prompt, engines in answered.items() if pair <= engines]
            left = self._left[pair] = [prompt for prompt in both if (pair, prompt) not in voted]
            self._votes[pair] = len(both) - len(left)
            self._chance.shuffle(left)
        self.total = self.voted + sum(map(len, self._left.values()))
        """Number of ballots, without ballots whose answers turned out to be identical."""

    @property
    def voted(self) -> int:
        return self._votes.total()

    def take(self) -> Ballot | None:
        """Return the next ballot, or None. Ballots with identical answers, or with a vote by another program
        meanwhile, are skipped. Raises InputError if the experiment was deleted."""
        self._store.experiments.get(self.experiment.number)
        while left := [pair for pair, prompts in self._left.items() if prompts]:
            fewest = min(self._votes[pair] for pair in left)
            pair = self._chance.choice([pair for pair in left if self._votes[pair] == fewest])
            prompt = self._left[pair][-1]
            is_voted = pair in self._store.votes.engines_voted(self.experiment.number, prompt)
            ballot = None if is_voted else self._ballot(pair, prompt)
            self._left[pair].pop()  # only now: after an error of the store, the same ballot comes again
            if ballot is None:
                self._votes[pair] += 1
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
        self._votes[ballot.engines] += 1
        if is_first:
            self._cast.append((vote.id, ballot))
        return is_first

    def undo(self, current: Ballot | None) -> Ballot | None:
        """Delete the last vote of this object, and return its ballot, if any. `current`, the ballot that is shown, comes again
        later."""
        if not self._cast:
            return None
        vote_id, ballot = self._cast[-1]
        self._store.votes.delete(vote_id)
        self._cast.pop()
        self._votes[ballot.engines] -= 1
        if current is not None and current.prompt_index is not None:
            self._left[current.engines].append(current.prompt_index)
        return ballot

    def _ballot(self, pair: frozenset[str], prompt_index: int) -> Ballot:
        prompt = saved_prompt(self._store, self.experiment.number, prompt_index)
        done: dict[str, list[Run]] = {
            engine.name: [] for engine in self.experiment.engines if engine.name in pair
        }
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
