"""Two processes vote on one experiment and take votes back, and one of them is killed."""

import json
import random
import signal
import subprocess
import sys
from collections import Counter

from tests.workbench.test_ballots import experiment

from paragone_workbench.experiments.voting import ExperimentBallots
from paragone_workbench.store import Store

PROMPTS = 6
PAIRS = 3
"""Pairs of three engines."""

VOTER = """
import json, random, sys
from paragone_workbench.experiments.voting import ExperimentBallots
from paragone_workbench.store import Store

def say(*words):
    print(json.dumps(words), flush=True)

chance = random.Random(int(sys.argv[2]))
store = Store.open()
ballots = ExperimentBallots(store, int(sys.argv[1]))
shown = ballots.take()
for _ in range(60):
    if chance.random() < 0.4 and ballots._cast:
        vote = ballots._cast[-1][0]
        say("takes back", vote)
        shown = ballots.undo(shown)
        say("took back", vote)
    elif shown is not None:
        if ballots.vote(shown, chance.choice([0, 1, "tie", "bad"])):
            say("voted", ballots._cast[-1][0])
        shown = ballots.take()
    else:
        shown = ballots.take()
store.close()
"""


def test_a_kill_loses_no_vote_and_counts_none_twice(home):
    store = Store.open()
    number = experiment(store, [(f"a{at}", f"b{at}", f"c{at}") for at in range(PROMPTS)], engines=3)
    voters = [
        subprocess.Popen(
            [sys.executable, "-c", VOTER, str(number), str(seed)], stdout=subprocess.PIPE, text=True
        )
        for seed in range(2)
    ]
    with voters[0] as killed, voters[1] as other:
        assert killed.stdout is not None
        assert other.stdout is not None
        first = [killed.stdout.readline() for _ in range(random.Random(7).randrange(5, 15))]
        killed.send_signal(signal.SIGKILL)
        lines = ([*first, *killed.stdout], other.stdout)  # a kill may cut the last line
        said = [[json.loads(line) for line in its if line.endswith("\n")] for its in lines]
    assert other.returncode == 0

    votes = store.votes.all(number)
    ballots = Counter((vote.prompt_index, vote.engines) for vote in votes)
    assert set(ballots.values()) <= {1}, "each ballot counts once"
    saved = {vote.id for vote in votes}
    for words in said:
        last = {vote: what for what, vote in words}
        assert saved >= {vote for vote, what in last.items() if what == "voted"}
        assert saved.isdisjoint(vote for vote, what in last.items() if what == "took back")
    left = ExperimentBallots(store, number)
    again = 0
    while left.take() is not None:
        again += 1
    assert again + len(votes) == PROMPTS * PAIRS, "each other ballot comes again"
    store.close()
