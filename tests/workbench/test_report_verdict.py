"""The first page of a report: the verdict, a row for each engine, and the plots."""

import dataclasses
import re

import pytest
from tests.workbench.conversation_writer import LARGE, SMOL
from tests.workbench.report_subjects import add_experiment
from tests.workbench.test_report_experiment import FAILED, PASSED, bench, fidelity, measurements, report
from tests.workbench.test_report_page import HOSTILE, check_harmless

from paragone import Json
from paragone_workbench.choosing.figures import EngineFigures
from paragone_workbench.reporting.charts import plots_of
from paragone_workbench.reporting.file import report_pieces
from paragone_workbench.store import RunKey
from paragone_workbench.store.experiments import EstimatedMemory, SavedChoice

PROMPTS = range(20)


def both_checked(store, passing, **fields):
    """Return an experiment of both engines over 20 prompts: `large` passes all, `smol` passes `passing`."""
    experiment = add_experiment(
        store, dict.fromkeys(PROMPTS, ("a", "b")), assertions=dict.fromkeys(PROMPTS, PASSED), **fields
    )
    for run in list(store.experiments.runs(experiment.number)):
        if run.key.engine_index == 0:
            checks: list[Json] = [PASSED if run.key.prompt_index < passing else FAILED]
            store.experiments.save_judgement(run.number, run.result.id, checks)
    return store.experiments.get(experiment.number)


def lines(found):
    return {
        line.name: dict(zip(found.overview.columns, line.cells, strict=True)) for line in found.overview.lines
    }


def test_the_report_begins_with_the_decision(store):
    experiment = both_checked(store, 5)
    found = report(store, experiment)
    assert found.verdict.headline == "Deploy smol."  # as large as the other one, and the first
    asked = SavedChoice(reference="large", margin=0.05)
    store.experiments.save_choice(experiment.number, asked)
    found = report(store, experiment)
    assert found.verdict.headline == "Deploy large."
    for suffix, beginning, table in (
        ("html", "<h1>Deploy large.</h1>", "<table>"),
        ("md", "# Deploy large.", "\n| "),
    ):
        written = "".join(report_pieces(found, suffix, 0.0))
        places = [written.index(text) for text in (beginning, table, *found.verdict.doubts["Not measured"])]
        assert places == sorted(places), "the table is on the first page, before what is unknown"
        assert "100.0%" in written


def test_an_engine_that_has_collapsed_is_not_chosen(store):
    experiment = both_checked(store, 20)
    store.experiments.save_choice(experiment.number, SavedChoice(reference="large", margin=0.9))
    store.measurements.add(bench(SMOL, created=1.0, tests=({"decode_tps": {"mean": 90, "stdev": 0}},)))
    store.measurements.add(bench(LARGE, created=1.0))
    assert report(store, experiment).verdict.headline == "Deploy smol."
    renamed = dataclasses.replace(SMOL, name="other")
    measured = fidelity(LARGE, renamed, created=1.0, kld=0.01)
    counts: dict[str, Json] = {"prompts": 12, "lost": 9, "sound": 12}
    greedy: dict[str, Json] = {"candidate": "other", "reference": "big", "collapsed": True, **counts}
    free: dict[str, Json] = {"free_running": {"candidates": [greedy]}}
    store.measurements.add(dataclasses.replace(measured, data={**measured.data, **free}))
    verdict = report(store, experiment).verdict
    assert verdict.headline == "Deploy large."
    assert verdict.doubts["Not chosen, and why"] == (
        "smol has collapsed: its answers to 9 of the 12 prompts that large answers well are loops or empty.",
    )


def test_without_assertions_no_engine_is_chosen(store):
    found = report(store, add_experiment(store, {0: ("a", "b")}))
    assert found.verdict.headline == "Nothing is decided."
    assert found.plots == ()
    assert "pass rate" not in found.overview.columns
    other = add_experiment(store, {0: ("a", "b")}, name="x")
    store._database.run("DELETE FROM cell WHERE engine_index = 1")
    alone = report(store, dataclasses.replace(other, engines=(SMOL,)))
    assert alone.verdict.headline == "The answers of smol were not checked."


def test_each_engine_has_a_row_with_its_known_figures(store):
    experiment = both_checked(store, 5)
    store.measurements.add(bench(SMOL, LARGE, created=1.0))
    store.measurements.add(fidelity(LARGE, SMOL, created=2.0, kld=0.25))
    memory = tuple(
        EstimatedMemory(engine=name, size=size, context=512)
        for name, size in (("smol", 10**8), ("large", 10**9))
    )
    store.experiments.save_choice(
        experiment.number, SavedChoice(reference="large", margin=0.03, memory=memory)
    )
    found = report(store, experiment)
    assert found.overview.columns == ("size", "memory", "pass rate", "KLD", "speed", "TTFT")
    row = lines(found)["smol"]
    assert [it.text for it in row.values()][:4] == ["97 MB", "100 MB", "25.0%", "0.250"]
    assert (row["speed"].text, row["TTFT"].text) == ("30.5/s", "1.25 ± 0.50 s")
    assert (row["memory"].detail, row["pass rate"].detail) == ("at 512", "11.2 to 46.9")
    assert row["KLD"].detail == "large, ± 0.010"
    assert lines(found)["large"]["KLD"].text == "0"
    assert (
        "are measured by paragone bench with a prompt of 512 tokens; ± is the standard deviation."
        in found.overview.note
    )
    (chosen,) = (line for line in found.overview.lines if line.stands_out)
    assert (chosen.name, chosen.note) == ("large", "reference")
    assert [it.title for it in found.plots] == ["Pass rate over memory", "Pass rate over decoding speed"]


def level(users, rate, **more):
    ttft = {"mean": 0.4, "p50": 0.35, "p95": 0.6, "p99": 0.7}
    each = rate and {"mean": rate / users, "stdev": 0.5}
    figures = {"tokens_per_s": rate, "user_tps": each, "ttft_s": ttft}
    return {"users": users, "prompt_tokens": 512, "tokens": 64, **figures, **more}


def with_users(measurement, levels):
    """Return a bench whose engines have these levels of throughput, one list for each."""
    engines = zip(measurement.data["engines"], levels, strict=True)
    data = {**measurement.data, "engines": [{**engine, "users": users} for engine, users in engines]}
    return dataclasses.replace(measurement, data=data)


def test_throughput_with_concurrent_users_is_shown(store):
    experiment = both_checked(store, 3)
    smol = [level(1, 30.0), level(4, 90.0, notes=["Answers ended early."])]
    large = [level(1, 20.0), level(4, 50.0), level(16, 60.0), level(64, None, skipped="16 slots.")]
    store.measurements.add(with_users(bench(SMOL, LARGE, created=1.0, tests=()), [smol, large]))
    store.measurements.add(bench(SMOL, LARGE, created=2.0))
    found = report(store, experiment)
    assert [row["4 users"].text for row in lines(found).values()] == ["90.0/s", "50.0/s"]
    assert "With 4 concurrent users, the speed is the sum over the users." in found.overview.note
    assert {row["speed"].text for row in lines(found).values()} == {"30.5/s"}  # a later bench has no users
    store.measurements.add(with_users(bench(SMOL, LARGE, created=3.0), [smol, large]))
    section_ = measurements(store, experiment)[-1]
    (table,) = section_.tables
    assert [(it.name, it.cells[1].text, it.cells[2].text) for it in table.lines] == [
        ("smol", "1", "30.00"), ("large", "1", "20.00"), ("smol", "4", "90.00"), ("large", "4", "50.00"),
        ("large", "16", "60.00"),
    ]  # fmt: skip
    assert [it.text for it in table.lines[0].cells[3:5]] == ["30.00 ± 0.50", "0.350/0.600/0.700"]
    texts = [it.text for found in measurements(store, experiment) for it in found.remarks]
    assert {"smol, prompt 512, users 4: Answers ended early.", "large: 16 slots."} <= set(texts)


def test_findings_of_a_fidelity_measurement_are_reported(store):
    """The report has the remarks of the command, except remarks on other engines."""
    experiment = both_checked(store, 3)
    other = dataclasses.replace(SMOL, name="other", model="/m/other")
    measured = fidelity(LARGE, SMOL, other, created=1.0, kld=0.01)
    depth = {
        "grows": True,
        "parts": [
            {"first": 257, "last": 320, "mean_kld": 0.01},
            {"first": 511, "last": 511, "mean_kld": 0.05},
        ],
    }
    candidates = [
        {**candidate, "by_depth": depth, "warning": f"{candidate['engine']} differs nowhere."}
        for candidate in measured.data["candidates"]
    ]
    answers: Json = {
        "candidates": [
            {"candidate": name, "sentence": f"{name} loops.", "collapsed": True} for name in ("smol", "other")
        ]
    }
    pairs: Json = [{"a": "smol", "b": "other", "sentence": "Open.", "shown": False}]
    data = {**measured.data, "candidates": candidates, "free_running": answers, "pairs": pairs}
    store.measurements.add(dataclasses.replace(measured, data=data))
    found, greedy = measurements(store, experiment)
    *said, scale = [(it.text, it.stands_out) for it in found.remarks[1:]]
    growth = (
        "the KLD grows with the depth in the context, from 0.01 after 257 to 320 tokens to 0.05 after 511."
    )
    assert said == [("smol differs nowhere.", True), (f"smol: {growth}", True)]
    assert "tiny below 0.01" in scale[0]
    assert [(it.text, it.stands_out) for it in greedy.remarks] == [("smol loops.", True)]


# What follows the first page


def open_text(page):
    """Return what a reader sees of a page without unfolding anything."""
    found, depth, in_summary = [], 0, False
    for token in re.split("(<[^>]+>)", re.sub("<style>.*?</style>|<svg.*?</svg>", "", page, flags=re.DOTALL)):
        if token.startswith("<details"):
            depth += " open" not in token
        elif token.startswith("</details"):
            depth = max(0, depth - 1)
        elif token.startswith(("<summary", "</summary")):
            in_summary = token.startswith("<summary")
        elif not token.startswith("<") and (not depth or (in_summary and depth == 1)):
            found.append(token)
    return " ".join(" ".join(found).split())


def test_deciding_sections_follow_the_first_page_and_others_are_folded(store):
    experiment = both_checked(store, 3, tags=dict.fromkeys(range(5), ("json",)))
    store.measurements.add(bench(SMOL, LARGE, created=1.0))
    found = report(store, experiment)
    assert [it.title for it in found.sections if not it.folded] == [
        "Differences between engines",
        "Pass rates",
    ]
    assert {it.title for it in found.sections if it.folded} >= {"Results", "Bench"}
    prompts = list(found.prompts())
    assert [it.folded for it in prompts] == [False] + [True] * 19
    assert [it.sound for it in prompts] == [False] * 17 + [True] * 3
    seen = open_text("".join(report_pieces(found, "html", 0.0)))
    assert "3 other prompts at which nothing failed" in seen
    assert "Prompt at 8" in seen
    assert "Prompt at 0" not in seen, "nothing failed there"
    assert "Wilson" not in seen
    assert "420.0 ± 8.0" not in seen
    places = [seen.index(title) for title in ("Differences between", "Pass rates", "Answers", "Details")]
    assert places == sorted(places)
    written = "".join(report_pieces(found, "md", 0.0))
    assert written.index("## Answers") < written.index("## Results") < written.index("## How it was run")


# Plots


def engine(name, size, rate):
    return EngineFigures(engine=name, size=size, decode_tps=1e9 / size, pass_rate=rate, prompts=60)


def test_a_plot_marks_the_pareto_front_and_the_chosen_engine():
    figures = [engine("big", 4e9, 0.7), engine("bad", 3e9, 0.4), engine("small", 2e9, 0.6)]
    by_size, by_speed = plots_of(figures, "small")
    assert by_size.title == "Pass rate over size of the weights"
    assert [axis.title for axis in by_size.axes] == ["size of the weights (GB)", "pass rate (%)"]
    assert [(it.name, it.note, it.mark.kind, it.stands_out) for it in by_size.lines] == [
        ("big", "Pareto front", "dot", False),
        ("bad", "", "ring", False),
        ("small", "Pareto front", "dot", True),
    ]
    assert [it.name for it in by_speed.lines if it.note] == ["big", "small"]
    for line in by_size.lines:
        (x, low), (_, high) = line.mark.ends
        assert x == line.mark.x
        assert low > line.mark.y > high
    assert 2 <= len(by_size.axes[0].ticks) <= 6
    assert [it.text for it in by_size.lines[0].cells] == ["4 GB", "70.0%"]
    assert "although" not in by_size.note
    above = [engine("big", 4e9, 0.6), engine("small", 2e9, 0.7)]
    assert "big is chosen although it is not on the front" in plots_of(above, "big")[0].note
    assert plots_of(figures[:1], None) == ()


# What strangers write


@pytest.mark.parametrize("text", [" ".join(HOSTILE[first:-1:3]) for first in range(3)])
def test_names_and_tags_are_escaped(store, text):
    engines = (dataclasses.replace(SMOL, name=f"smol{text}"), dataclasses.replace(LARGE, name=f"large{text}"))
    experiment = both_checked(
        store, 3, tags={0: (text,), 1: ("x", text)}, name=text.encode(errors="replace").decode()
    )
    for run in list(store.experiments.runs(experiment.number)):
        key = RunKey(*run.key)
        renamed = dataclasses.replace(run.result, definition=engines[key.engine_index])
        checks: list[Json] = [{"index": 0, "type": f"t{text}", "passed": True, "reason": text}, PASSED]
        store._database.run("DELETE FROM cell WHERE number = ?", run.number)
        store.experiments.save(experiment.number, key, renamed, checks)
    store.measurements.add(bench(*engines, created=1.0, tests=({},)))
    store.experiments.save_choice(experiment.number, SavedChoice(reference=engines[0].name, margin=0.03))
    found = report(store, dataclasses.replace(experiment, engines=engines))
    page = "".join(report_pieces(found, "html", 0.0))
    assert found.plots
    check_harmless(page)
