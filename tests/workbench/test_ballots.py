import random
from collections import Counter

import pytest
from tests.workbench.conversation_writer import result_of
from tests.workbench.history_file import open_store
from tests.workbench.report_subjects import add_experiment

from paragone import LoadedModel
from paragone.wire import to_json
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.experiments.voting import Ballot, ExperimentBallots
from paragone_workbench.runs.run import Run
from paragone_workbench.store.votes import VotedAnswer

ENGINES = tuple(
    EngineDefinition(name=name, backend="b", model=f"{name}.gguf") for name in ("ruby", "opal", "jade")
)


def ended(engine, text, state="done", **fields):
    error = "It broke." if state == "failed" else ""
    return result_of(engine, text, state=state, error=error, **fields)


def experiment(store, texts, *, engines=2, failed=()):
    """Save an experiment; `texts` has the answers of each prompt, one of each engine."""
    return add_experiment(store, dict(enumerate(texts)), engines=ENGINES[:engines], failed=failed).number


def test_a_vote_keeps_the_candidates_in_the_order_in_which_they_were_shown():
    runs = [ended(ENGINES[1], "Blue."), ended(ENGINES[0], "", "failed"), ended(ENGINES[2], "Red.")]
    vote = Ballot(prompt="Why?", answers=tuple(map(Run, runs))).vote(2, blind=True)
    assert vote.choice == 1, "the failed answer is skipped"
    assert vote.candidates == (
        VotedAnswer(engine="opal", backend="b", model="opal.gguf", run=runs[0].id),
        VotedAnswer(engine="jade", backend="b", model="jade.gguf", run=runs[2].id),
    )


BOX = EngineDefinition(name="box-7", backend="b", model="/models/SmolLM2-135M-Instruct.Q4_1.gguf")
NATIVE = EngineDefinition(name="a", backend="b", model="Сайга-8B")


@pytest.mark.parametrize(
    ("engine", "answer", "is_marked"),
    [
        (BOX, "I am **SMOLLM2**, trained by Hugging Face.", True),
        (NATIVE, "Я сайга.", True),
        (BOX, "I was made by Okapi 3B.", True),
        (BOX, "A smollmish box gives an instruct(ive) answer, with 135M parameters, in Q4.", False),
        (BOX, "Zebras are striped.", False),
    ],
)
def test_a_vote_is_marked_if_an_answer_names_its_engine_or_model(engine, answer, is_marked):
    loaded = to_json(LoadedModel(name="Okapi 3B", context=64))
    runs = Run(ended(engine, answer, manifest={"loaded": loaded})), Run(ended(ENGINES[1], "It is BOX-7."))
    assert Ballot(prompt="Is it a zebra?", answers=runs).vote("tie", blind=True).is_named == is_marked


def test_all_prompts_of_an_experiment_come_once_in_random_order(store):
    new = experiment(store, [(f"a{number}", f"b{number}") for number in range(20)])
    ballots = ExperimentBallots(store, new, random.Random(1))
    seen = []
    first: Counter[str] = Counter()
    while ballot := ballots.take():
        seen.append(ballot.prompt_index)
        first[ballot.answers[0].result.definition.name] += 1
        ballots.vote(ballot, 0)
    assert sorted(seen) == list(range(20))
    assert seen != sorted(seen)
    assert min(first.values()) >= 4
    assert (ballots.voted, ballots.total) == (20, 20)
    votes = store.votes.all(new)
    assert [vote.prompt_index for vote in votes] == seen
    saved = {run.result.id for run in store.experiments.runs(new)}
    assert all(vote.blind and vote.candidates[0].run in saved for vote in votes)
    assert ExperimentBallots(store, new).take() is None, "none is offered twice"


def test_identical_and_failed_answers_are_skipped(store):
    texts = [("same", "same\n"), ("a", "b"), ("a", "b")]
    ballots = ExperimentBallots(store, experiment(store, texts, failed={(2, 1)}))
    assert ballots.total == 2
    ballot = ballots.take()
    assert ballot.prompt == "Prompt at 1"
    ballots.vote(ballot, "tie")
    assert ballots.take() is None
    assert (ballots.identical, ballots.voted, ballots.total) == (1, 1, 1)


def test_the_pair_of_engines_with_the_fewest_votes_comes_next(store):
    new = experiment(store, [(f"a{number}", f"b{number}", f"c{number}") for number in range(4)], engines=3)
    ballots = ExperimentBallots(store, new, random.Random(2))
    pairs: Counter[frozenset[str]] = Counter()
    for _ in range(6):
        ballot = ballots.take()
        pairs[frozenset(run.result.definition.name for run in ballot.answers)] += 1
        ballots.vote(ballot, "bad")
    assert sorted(pairs.values()) == [2, 2, 2]
    assert ballots.total == 12


def test_two_simultaneous_votes_on_a_ballot_count_once(store):
    number = experiment(store, [("red", "blue")])
    other_store = open_store()
    try:
        here, there = ExperimentBallots(store, number), ExperimentBallots(other_store, number)
        mine, theirs = here.take(), there.take()
        assert here.vote(mine, 0)
        assert not there.vote(theirs, 1)
        assert [ballots.voted for ballots in (here, there)] == [1, 1]
        assert [vote.choice for vote in store.votes.all(number)] == [0]
        assert there.undo(None) is None, "the other program's vote is not taken back"
        assert here.undo(None) is mine
    finally:
        other_store.close()
