"""`paragone vote`, without its screen."""

from __future__ import annotations

import pytest
from tests.workbench.test_ballots import experiment

from paragone_cli.main import main
from paragone_workbench.experiments.voting import ExperimentBallots
from paragone_workbench.store import Store
from paragone_workbench.store.experiment_records import VoteChoice


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


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["3"], "'3' is not the id of an experiment."),
        (["e3"], "There is no experiment e3."),
        ([], "The newest are: e1 ("),
    ],
)
def test_an_experiment_that_does_not_exist_is_a_usage_error(words, sentence, capsys):
    saved([("a", "b")])
    assert main(["vote", "cast", *words]) == 2
    printed = capsys.readouterr().err
    assert sentence in printed
    assert "The newest are: e1 (" in printed


def test_voting_needs_a_terminal(capsys):
    saved([("a", "b")])
    assert main(["vote", "cast", "e1"]) == 2
    assert "Voting needs a terminal." in capsys.readouterr().err


def test_that_all_ballots_were_voted_on_is_said(capsys):
    saved([("a", "b"), ("c", "d")], 0, "tie")
    assert main(["vote", "cast", "e1"]) == 0
    assert capsys.readouterr().out == "All 2 ballots of e1 have been voted on.\n"


def test_that_no_two_engines_have_answered_is_said(capsys):
    saved([("a", "b")], failed=frozenset({(0, 1)}))
    assert main(["vote", "cast", "e1"]) == 0
    assert capsys.readouterr().out == "e1 has no prompt that two engines have answered.\n"
