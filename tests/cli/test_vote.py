"""`paragone vote`, without its screen, over experiments and votes in the user's history."""

import sqlite3
from contextlib import closing

import pytest
from tests.cli.conftest import data, paragone, said
from tests.workbench.report_subjects import add_experiment
from tests.workbench.test_ballots import experiment

from paragone_workbench.experiments.voting import ExperimentBallots
from paragone_workbench.paths import history_file
from paragone_workbench.store.store import Store
from paragone_workbench.store.votes import Vote, VoteChoice, VotedAnswer


def vote(choice, *, blind=True, engines=("small", "large\x1b[2J"), named=False, **of):
    candidates = tuple(
        VotedAnswer(engine=it, backend="b", model="m", run="e1/1", names_its_engine=named) for it in engines
    )
    return Vote(candidates=candidates, choice=choice, blind=blind, created=1.5, **of)


@pytest.fixture
def store(home):
    with closing(Store.open()) as store:
        yield store


@pytest.mark.parametrize("candidates", ["[{}]", "[]", '["x", "y"]'])
def test_the_error_for_a_damaged_vote_has_its_id(store, candidates):
    damaged = vote(0)
    store.votes.add(damaged)
    with closing(sqlite3.connect(history_file(), isolation_level=None)) as database:
        database.execute("UPDATE vote SET candidates = ?", (candidates,))
    done = paragone("vote", "ratings")
    assert done.returncode == 1
    assert f"Vote {damaged.id} cannot be read" in said(done)


def test_ratings_are_printed(store):
    for choice in (0, 0, 0, 1, "tie", "bad"):
        store.votes.add(vote(choice))
    done = paragone("vote", "ratings")
    assert done.returncode == 0, said(done)
    out = done.stdout.decode()
    assert out.startswith("6 votes: 16.7% ties, 16.7% both bad\n")
    assert "\x1b" not in out
    assert ", which may be chance (95% interval" in out


@pytest.mark.parametrize("options", [(), ("--without-named",), ("--all",)])
def test_the_json_matches_the_documented_schema(store, options):
    for choice in (0, 1, "tie"):
        store.votes.add(vote(choice))
    store.votes.add(vote(0, blind=False))
    store.votes.add(vote(1, named=True))
    found = data("vote ratings", paragone("vote", "ratings", "--json", *options))
    assert found["votes"] == {(): 4, ("--without-named",): 3, ("--all",): 5}[options]
    assert (found["named"], found["includes_named"]) == (1, options != ("--without-named",))
    assert [it["engine"] for it in found["engines"]]


def test_votes_can_be_limited_to_an_experiment(store):
    number = add_experiment(store, {0: ("a", "b")}).number
    store.votes.add(vote(0, experiment_id=number))
    store.votes.add(vote(1))
    assert data("vote ratings", paragone("vote", "ratings", "--json", f"e{number}"))["votes"] == 1


@pytest.mark.parametrize(
    ("votes", "options", "why"),
    [
        ([], ("--json",), "There are no votes to rate engines by."),
        ([vote(0, blind=False)], (), "None of the 1 votes was blind"),
        ([vote(0, named=True)], ("--without-named",), "in every vote, an answer names its engine or model"),
        ([vote(0, engines=("small", "small"))], (), "all engines had the same name"),
    ],
    ids=["none", "not blind", "named", "same name"],
)
def test_ratings_without_usable_votes_explain_why(store, votes, options, why):
    for it in votes:
        store.votes.add(it)
    done = paragone("vote", "ratings", *options)
    assert (done.returncode, done.stdout) == (1, b"")
    assert why in said(done)


def test_an_unknown_experiment_is_refused(store):
    experiment(store, [("a", "b")])
    for name in ("e9", "3", "e³"):
        for subcommand in ("ratings", "cast"):
            done = paragone("vote", subcommand, name)
            assert done.returncode == 2
            assert name in said(done)
            assert "The newest are: e1 (" in said(done)
    assert "No experiment was named.\nThe newest are: e1 (" in said(paragone("vote", "cast"))


def saved(
    texts: list[tuple[str, ...]], *choices: VoteChoice, failed: frozenset[tuple[int, int]] = frozenset()
) -> None:
    """Save an experiment with these answers, and votes on its first ballots."""
    store = Store.open()
    ballots = ExperimentBallots(store, experiment(store, texts, failed=failed))
    for choice in choices:
        ballot = ballots.take()
        assert ballot is not None
        ballots.vote(ballot, choice)
    store.close()


def test_experiments_with_open_ballots_are_listed():
    saved([("a", "b")])
    done = paragone("vote", "cast", "e1")
    assert (done.returncode, "Voting needs a terminal." in said(done)) == (2, True)
    saved([("a", "b"), ("c", "d")], 0, "tie")
    done = paragone("vote", "cast", "e2")
    assert (done.returncode, done.stdout) == (0, b"All 2 ballots of e2 have been voted on.\n")
    saved([("a", "b")], failed=frozenset({(0, 1)}))
    done = paragone("vote", "cast", "e3")
    assert (done.returncode, done.stdout) == (0, b"e3 has no prompt that two engines have answered.\n")
