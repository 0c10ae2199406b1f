"""`paragone ratings`, over votes in the user's history."""

from contextlib import closing

import pytest
from tests.cli.conftest import data, paragone, said

from paragone.wire import to_json
from paragone_workbench.compare.votes import Style, Vote, VotedAnswer, votes_from
from paragone_workbench.store.experiment_records import Experiment, SavedVote
from paragone_workbench.store.store import Store


def candidate(engine, tokens=10):
    return VotedAnswer(engine=engine, backend="b", model="m", run="e1/1", style=Style(tokens=tokens, bold=1))


def vote(choice, *, blind=True, engines=("small", "large\x1b[2J")):
    candidates = tuple(candidate(it, 10 + place) for place, it in enumerate(engines))
    return Vote(candidates=candidates, choice=choice, blind=blind, created=1.5)


def save(store, vote, **of):
    candidates = tuple(map(to_json, vote.candidates))
    saved = SavedVote(
        candidates=candidates, choice=str(vote.choice), blind=vote.blind, created=vote.created, **of
    )
    store.votes.add(saved)


@pytest.fixture
def store(home):
    with closing(Store.open()) as store:
        yield store


def experiment(store):
    return store.experiments.create(
        Experiment(
            name="suite",
            fingerprint="f",
            schedule="swap",
            repetitions=1,
            engines=(),
            machine={},
            prompts=0,
            created=0,
        ),
        (),
    )


def test_votes_are_read_as_they_were_saved(store):
    votes = (vote(0), vote(1, blind=False), vote("tie"), vote("bad"))
    for it in votes:
        save(store, it, prompt_index=3)
    assert votes_from(store.votes.all()) == votes


@pytest.mark.parametrize("candidates", [({},), (), ("x", "y")])
def test_a_damaged_vote_is_named(store, candidates, run_here):
    number = store.votes.add(SavedVote(candidates=candidates, choice="0", blind=True, created=0))
    done = run_here("ratings")
    assert done.returncode == 1
    assert f"Vote {number} of the history cannot be understood" in said(done)


def test_ratings_are_printed(store):
    for choice in (0, 0, 0, 1, "tie", "bad"):
        save(store, vote(choice))
    done = paragone("ratings")
    assert done.returncode == 0, said(done)
    out = done.stdout.decode()
    assert out.startswith("6 votes: 16.7% ties, 16.7% both bad\n")
    assert "\x1b" not in out
    assert ", which may be chance (95% interval" in out
    assert "\nlist items  +0 " in paragone("ratings", "--style").stdout.decode()


@pytest.mark.parametrize("options", [(), ("--style",), ("--all",)])
def test_the_json_has_the_documented_shape(store, options, run_here):
    for choice in (0, 1, "tie"):
        save(store, vote(choice))
    save(store, vote(0, blind=False))
    found = data("ratings", run_here("ratings", "--json", *options))
    assert found["votes"] == (4 if options == ("--all",) else 3)
    assert (found["style"] is not None) == (options == ("--style",))
    assert [it["engine"] for it in found["engines"]]


def test_the_votes_of_an_experiment(store, run_here):
    number = experiment(store)
    save(store, vote(0), experiment_id=number)
    save(store, vote(1))
    assert data("ratings", run_here("ratings", "--json", "--experiment", f"e{number}"))["votes"] == 1


def test_no_votes(home, run_here):
    done = run_here("ratings", "--json")
    assert (done.returncode, done.stdout) == (1, b"")
    assert "There are no votes to rate engines by." in said(done)


def test_no_blind_votes(store, run_here):
    save(store, vote(0, blind=False))
    done = run_here("ratings")
    assert done.returncode == 1
    assert "was blind" in said(done)
    assert "--all" in said(done)


def test_votes_between_engines_of_the_same_name(store, run_here):
    save(store, vote(0, engines=("small", "small")))
    done = run_here("ratings")
    assert done.returncode == 1
    assert "all engines had the same name" in said(done)


@pytest.mark.parametrize("name", ["e9", "3", "e", "r3", "e³"])
def test_an_experiment_that_does_not_exist(home, name, run_here):
    done = run_here("ratings", "--experiment", name)
    assert done.returncode == 2
    assert name in said(done)
