"""The terminal's view of a blind vote: no byte of it names an engine."""

from tests.workbench.test_ballots import experiment

from paragone_workbench.paths import config_file
from paragone_workbench.store import Store

CONFIG = """
[engines.zebra-1]
backend = "rogue"
model = "steady"
rate = 200
max_tokens = 60

[engines.okapi-2]
backend = "rogue"
model = "wide"
rate = 200
max_tokens = 30
"""
TELLING = ("zebra", "okapi", "steady", "rogue", "tok/s", "TTFT", "context")


def test_no_output_during_a_blind_vote_names_an_engine(start):
    config_file().parent.mkdir(parents=True, exist_ok=True)
    config_file().write_text(CONFIG)
    program = start("zebra-1", "okapi-2")
    program.until(lambda text: text.count("ready") == 2, "both engines load")
    program.type("\x1bu")
    program.sees("without names")
    program.type("ihello\r")
    # The first one may be replaced before it is painted.
    begun = ("The answers appear once", "Which answer is better?")
    program.until(lambda text: any(remark in text for remark in begun), "the vote begins")
    before = len(program.terminal.output)
    title = program.terminal.title
    program.sees("Which answer is better?")
    program.type("\x10")
    program.sees("Equally good")
    program.type("\x1b")
    program.until(lambda text: "Equally good" not in text, "the palette is closed")
    program.sees("word59")
    # It may begin within a character.
    written = bytes(program.terminal.output[before:]).decode(errors="replace")
    assert not [word for word in TELLING if word in written or word in program.terminal.text]
    assert program.terminal.title == title
    assert not [word for word in TELLING if word in title]
    program.type("a")
    program.sees("Saved: A is better.", "zebra-1", "okapi-2")
    program.type("\r")
    program.sees("tok/s")
    assert program.leave() == 0


def test_votes_are_saved_even_right_before_the_user_quits(start):
    store = Store.open()
    number = experiment(store, [("red", "blue"), ("green", "yellow"), ("one", "two")])
    store.close()
    program = start("vote", "cast", f"e{number}", columns=80, rows=24)
    program.sees("0/3")
    program.type("a")
    program.sees("1/3")
    written = bytes(program.terminal.output).decode(errors="replace")
    assert not [name for name in ("ruby", "Ruby", "opal") if name in written]
    assert program.ends(lambda: program.type("b\x11")) == 0
    store = Store.open()
    assert len(store.votes.all(number)) == 2, program.written
    store.close()
