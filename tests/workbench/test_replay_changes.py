"""How the differences between a recorded run and its repetition are shown."""

from dataclasses import replace

from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.experiments.recorded_runs import changes_of_run
from paragone_workbench.runs.result import RunResult
from paragone_workbench.runs.run import Run

ENGINE = EngineDefinition(name="e", backend="rogue", model="steady")


def with_digest(digest: str) -> RunResult:
    return replace(Run.of(ENGINE).result, manifest={"request": {"messages_sha256": digest}})


def test_changed_messages_are_shown_by_their_own_digests():
    before, now = with_digest("29d6" * 16), with_digest("24dd" * 16)
    (change,) = changes_of_run(before, now)
    assert (change.before, change.now) == ("SHA-256 29d629d6…", "SHA-256 24dd24dd…")
    assert not list(changes_of_run(before, before))
