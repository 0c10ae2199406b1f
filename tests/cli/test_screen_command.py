"""The arguments that the command line passes to the screen; the screen itself is not opened."""

import json
import os

from tests import program_forks

from .conftest import PATIENCE, PROGRAM, Terminal

WITHOUT_SCREEN = """
import json
import paragone_tui.app

class App:
    def __init__(self, *, config, state, registry, definitions, mode, system, given, preset, demo=False):
        engines = definitions and [[it.name, it.model, dict(it.options)] for it in definitions]
        print("GIVEN" + json.dumps({"engines": engines, "mode": mode, "system": system, "demo": demo, "given": given}) + "END")

    def run_until_quit(self):
        return 7

paragone_tui.app.ParagoneApp = App
"""


def given(terminal: Terminal, *argv: str) -> dict:
    """What the screen is started with."""
    end = terminal.theirs
    with program_forks.start(PROGRAM, argv, end, end, end, first=WITHOUT_SCREEN) as process:
        written = terminal.read(process).decode()
        assert process.wait(PATIENCE) == 7, written
    return json.loads(written.rpartition("GIVEN")[2].partition("END")[0])


def test_named_engines_become_lanes(terminal, settings):
    settings("[engines.ask]\nbackend = 'rogue'\nmodel = 'steady'\nrate = 5\n")
    found = given(terminal, "--", "ask", "rogue:wide")
    assert found["engines"] == [["ask", "steady", {"rate": 5}], ["wide", "wide", {}]]
    assert (found["mode"], found["system"], found["demo"]) == ("parallel", "", False)


def test_without_engines_the_settings_determine_the_lanes(terminal, settings):
    settings("[lanes]\nstart = ['rogue:steady']\nmode = 'sequential'\n[chat]\nsystem = 'Be brief.'\n")
    found = given(terminal)
    assert found == {"engines": None, "mode": "sequential", "system": "Be brief.", "demo": False, "given": []}
    assert given(terminal, "--system", "")["system"] == ""
    found = given(terminal, "--set", "rate=2")
    assert (found["engines"], found["given"]) == ([["steady", "steady", {"rate": 2.0}]], ["rate=2"])


def test_a_missing_backend_is_shown_in_its_lane(terminal):
    assert given(terminal, "nowhere:model")["engines"] == [["model", "model", {}]]


def test_the_demo_opens_two_models(terminal):
    found = given(terminal, "demo", "--system", "Rhyme.")
    assert found == {"engines": None, "mode": "parallel", "system": "Rhyme.", "demo": True, "given": []}


def test_the_demo_accepts_settings(terminal, whole_smollm2, home):
    found = given(terminal, "demo", "--set", "n_ctx=512")
    assert [engine[2] for engine in found["engines"]] == [{"n_ctx": 512}] * 2
    assert os.path.samefile(found["engines"][0][1], whole_smollm2)
    assert found["demo"] is True
