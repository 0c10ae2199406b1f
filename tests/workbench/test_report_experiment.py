import dataclasses
import tracemalloc

import pytest
from tests.workbench.conftest import Paper
from tests.workbench.conversation_writer import LARGE, SMOL
from tests.workbench.report_subjects import add_experiment, ended

from paragone import Json
from paragone_workbench.experiments.identity import measured_identity
from paragone_workbench.reporting import experiment as experiments
from paragone_workbench.reporting.file import report_pieces
from paragone_workbench.store.experiments import RunKey
from paragone_workbench.store.votes import Measurement, Vote, VotedAnswer


def find(name):
    return Paper() if name == "paper" else None


def report(store, experiment):
    return experiments.experiment_report(store, experiment, find)


def section(found, title):
    return next((it for it in found.sections if it.title == title), None)


def texts(chart):
    """The rows of a chart: the name and the texts of the cells."""
    return [(line.name, *(cell.text for cell in line.cells)) for line in chart.lines]


def measurements(store, experiment):
    return [
        it
        for it in report(store, experiment).sections
        if it.title in ("Bench", "Fidelity", "Concurrent users", "Greedy answers")
    ]


CHECK: dict[str, Json] = {"index": 0, "type": "contains"}
FAILED: Json = {**CHECK, "passed": False, "reason": "The answer does not contain 'red'."}
PASSED: Json = {**CHECK, "passed": True, "reason": "The answer contains 'red'.", "score": 0.5}


def test_prompts_come_with_their_answers_side_by_side(store):
    found = report(store, add_experiment(store, {0: ("It is red.", "It is blue."), 3: ("Yes.", "Yes.")}))
    first, second = found.prompts()
    assert (first.number, second.number, second.title) == (0, 3, "#3")
    assert first.messages[0].text == "Prompt at 0"
    ((one, other),) = first.rounds
    assert (one.engine, other.engine) == ("smol", "large")
    assert [text for text, differs in other.segments if differs] == ["blue"]
    assert other.compared == "75% of the words are the same as those of smol."
    assert second.rounds[0][1].compared == "The same text as smol."
    assert list(found.prompts()) == [first, second]  # they can be read again
    assert found.summary == "2 engines · 2 prompts · 1 repetition"


def test_each_tag_that_some_prompts_have_has_a_pass_rate(store):
    tags = {0: ("json", "all"), 2: ("json", "all"), 5: ("all",)}
    answers = dict.fromkeys(tags, ("a", "b"))
    checks = {0: FAILED, 2: PASSED, 5: PASSED}
    found = report(store, add_experiment(store, answers, assertions=checks, tags=tags))
    (table,) = section(found, "Pass rates").tables
    assert (table.title, table.columns) == ("By tag", ("smol", "large"))
    (line,) = table.lines
    assert (line.name, line.note) == ("json", "2 prompts")
    # the other engine has no assertions
    assert [(it.text, it.detail) for it in line.cells] == [("", ""), ("50.0%", "9.5 to 90.5")]


def test_pass_rates_are_computed_from_assertions(store):
    found = report(
        store, add_experiment(store, {0: ("a", "b"), 1: ("c", "d")}, assertions={0: FAILED, 1: PASSED})
    )
    rate, score = section(found, "Results").tables[:2]
    assert (rate.title, texts(rate)) == ("Pass rate", [("large", "50.0%", "9.5 to 90.5", "2 prompts")])
    assert (score.title, texts(score)) == ("Score of contains", [("large", "0.500", "1 prompt")])
    (left, _), (right, _) = rate.lines[0].mark.ends
    assert (left, rate.lines[0].mark.x, right) == pytest.approx((9.5, 50, 90.5), abs=0.1)
    assert (score.lines[0].mark.x, score.lines[0].mark.ends) == (50, None)
    first, second = found.prompts()
    assert [it.rounds[0][1].verdict for it in (first, second)] == ["failed", "passed"]
    (check,) = first.rounds[0][1].checks
    assert (check.type, check.verdict) == ("contains", "failed")
    assert check.reason == "The answer does not contain 'red'."


def test_the_prompts_with_most_failures_are_shown_first(store, monkeypatch):
    monkeypatch.setattr(experiments, "PROMPTS_SHOWN", 3)
    answers = {0: ("a b", "a b"), 1: ("a b", "a c"), 2: ("a b", "c d"), 3: ("a", "a"), 4: ("a", "a")}
    found = report(store, add_experiment(store, answers, assertions={4: FAILED}))
    assert [prompt.number for prompt in found.prompts()] == [4, 2, 1]
    assert found.left_out.startswith("Prompts with failures come first, ")
    assert "2 of 5 prompts are not shown." in found.left_out


@pytest.mark.slow
def test_a_big_experiment_gives_a_small_page_with_bounded_memory(store, monkeypatch):
    monkeypatch.setattr(experiments, "PROMPTS_SHOWN", 3)
    long = "word " * 1_500

    def added(prompts):
        return add_experiment(store, dict.fromkeys(range(prompts), (long, "x")), name=f"{prompts}.csv")

    def size_of(experiment):
        return sum(map(len, report_pieces(report(store, experiment), "html", 0.0)))

    def peak(prompts):
        experiment = added(prompts)
        tracemalloc.start()
        size = size_of(experiment)
        memory = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size, memory

    size_of(added(1))  # what a first report loads stays
    (small, little), (large, much) = peak(6), peak(12)
    assert large < 1.1 * small
    assert much < little + 3 * len(long)


def test_failures_and_missing_runs_are_reported(store):
    experiment = add_experiment(store, {0: ("a", "b"), 1: ("c", "d")})
    key = RunKey(prompt_index=1, engine_index=1, repetition=0)
    store.experiments.save(
        experiment.number, key, ended("", LARGE, state="failed", error="It broke.", metrics=None)
    )
    grown = dataclasses.replace(store.experiments.get(experiment.number), prompts=3)
    found = report(store, grown)
    assert [(it.text, it.stands_out) for it in section(found, "Results").remarks] == [
        ("The experiment is not complete. Missing: 2 runs.", True),
        (
            "large: 1 of 2 runs failed. Failed runs do not count in any figure. The first one: It broke.",
            False,
        ),
    ]
    worst, _ = found.prompts()
    assert worst.rounds[0][1].remarks[0].text == "Failed: It broke."
    assert found.verdict.doubts["Not measured"][:2] == ("2 of 6 runs of the suite.", "1 run failed.")


def test_the_machine_is_described(store):
    experiment = add_experiment(store, {0: ("a", "b")})
    gpus: list[Json] = [{"name": "H100", "memory": 2**36, "driver": "570"}, {"name": "H100"}]
    machine: dict[str, Json] = {"cpu": "Xeon", "memory": 24 * 2**30, "gpus": gpus, "python": "3.11"}
    found = report(store, dataclasses.replace(experiment, machine=machine))
    assert list(found.facts.items())[3:] == [
        ("Processor", "Xeon"), ("Memory", "25.8 GB"), ("GPUs", "H100, H100"),
    ]  # fmt: skip
    assert len(report(store, dataclasses.replace(experiment, machine={"gpus": None})).facts) == 3


# Secrets


def test_secrets_passwords_and_the_home_folder_are_removed(store, home):
    engine = dataclasses.replace(
        SMOL, model=f"{home}/models/m.gguf", options={"n_ctx": 8, "api": "https://me:s3cret@host/v1"}
    )
    experiment = add_experiment(store, {0: ("a", "b")})
    store._database.run("DELETE FROM cell")
    failed = ended("", engine, state="failed", error=f"{home}/models/m.gguf is missing.")
    store.experiments.save(experiment.number, RunKey(prompt_index=0, engine_index=0, repetition=0), failed)

    def written(engine):
        found = report(store, dataclasses.replace(experiment, engines=(engine, LARGE)))
        return "".join(report_pieces(found, "html", 0.0))

    found = written(engine)
    assert "~/models/m.gguf" in found
    assert "https://host/v1" in found
    assert "s3cret" not in found
    assert str(home) not in found
    gone = dataclasses.replace(SMOL, backend="gone", options={"token": "s3cret"})
    assert "s3cret" not in written(gone), "options of a backend that is not installed may be secret"


# Votes and measurements


def vote(experiment, winner, blind=True):
    answers = [VotedAnswer(engine=it, backend="paper", model="m", run="e1/1") for it in ("smol", "large")]
    of = {"experiment_id": experiment.number, "prompt_index": 0}
    return Vote(candidates=tuple(answers), choice=winner, blind=blind, created=1.0, **of)


def test_a_report_shows_ratings_from_votes(store):
    experiment = add_experiment(store, {0: ("a", "b")})
    assert section(report(store, experiment), "Ratings") is None
    for winner in (0, 0, 0, "tie"):
        store.votes.add(vote(experiment, winner))
    ratings = section(report(store, experiment), "Ratings")
    (chart,) = ratings.tables
    first, second = chart.lines
    assert (first.name, second.name) == ("smol", "large")
    assert float(first.cells[0].text) > 1000 > float(second.cells[0].text)
    assert first.cells[2].text == "3 won, 0 lost, 1 tied, 0 both bad"
    for mark in (first.mark, second.mark):
        (left, _), (right, _) = mark.ends
        assert mark.kind == "dot"
        assert 0 <= left < mark.x < right <= 100


def fidelity(*engines, created, kld):
    figures: dict[str, Json] = {"windows": 5, "mean_kld_se": 0.01, "top1_agreement": 0.9, "top1_se": 0.05}
    figures |= {"mean_kld": kld, "bits_per_byte": 1.1}
    data: dict[str, Json] = {
        "text": "book.txt",
        "tokens_scored": 1275,
        "noise": {"windows": 1, "mean_kld": 0.001, "mean_kld_se": None},
        "candidates": [{"engine": it.name, **figures} for it in engines[1:]],
    }
    identities = tuple(measured_identity(it, Paper()) for it in engines)
    return Measurement(kind="fidelity", engines=engines, data=data, created=created, identities=identities)


def test_the_newest_fidelity_of_the_same_engines_is_shown(store):
    experiment = add_experiment(store, {0: ("a", "b")})
    renamed = dataclasses.replace(SMOL, name="other", options={**SMOL.options, "temperature": 0.1})
    reloaded = dataclasses.replace(SMOL, options={"n_ctx": 9})
    store.measurements.add(fidelity(LARGE, renamed, created=1.0, kld=0.5))
    store.measurements.add(fidelity(LARGE, renamed, created=2.0, kld=0.25))
    store.measurements.add(fidelity(LARGE, reloaded, created=3.0, kld=0.1))
    (found,) = measurements(store, experiment)
    figures, kld = found.tables
    rows = {line.name: [cell.text for cell in line.cells] for line in figures.lines}
    assert figures.columns[1:] == ("noise floor", "smol")
    assert rows["mean KLD"] == ["", "0.001", "0.250 ± 0.010"]
    assert (rows["same top token"][2], rows["bits per byte"][2]) == ("90.0 ± 5.0 %", "1.1")
    # Student's t: 2.776 standard errors to each side for 5 windows
    assert texts(kld) == [("smol", "0.25", "0.222 to 0.278"), ("noise floor", "0.001", "")]
    assert found.remarks[0].text.endswith("against large (paper:/m/large), over book.txt.")


def bench(*engines, created, tests=({},), **more):
    """A saved bench. Each test has the same figures, and those that are given."""
    means = {"prefill_tps": (420.04, 8.02), "decode_tps": (30.5, 0.0), "ttft_s": (1.25, 0.5)}
    figures = {name: {"mean": mean, "stdev": stdev} for name, (mean, stdev) in means.items()}
    same = {"prompt_tokens": 512, "depth": 0, "tokens": 64, "repetitions": 3, **figures}
    data = [{"engine": it.name, "tests": [{**same, **test} for test in tests]} for it in engines]
    return Measurement(
        kind="bench",
        engines=engines,
        data={"repeat": 3, "partial": False, "engines": data, **more},
        created=created,
        identities=tuple(measured_identity(it, Paper()) for it in engines),
    )


def test_the_newest_bench_of_the_same_engines_is_shown(store):
    experiment = add_experiment(store, {0: ("a", "b")})
    renamed = dataclasses.replace(SMOL, name="other", options={**SMOL.options, "temperature": 0.1})
    reloaded = dataclasses.replace(SMOL, options={"n_ctx": 9})
    deep = {"prompt_tokens": 2048, "depth": 4096, "ttft_s": None}
    store.measurements.add(bench(SMOL, LARGE, created=1.0, tests=({"decode_tps": {"mean": 1, "stdev": 0}},)))
    store.measurements.add(bench(renamed, LARGE, created=2.0, tests=({}, deep)))
    store.measurements.add(bench(reloaded, created=3.0))
    (found,) = measurements(store, experiment)
    assert found.title == "Bench"
    speeds, latencies = found.tables
    assert texts(speeds) == [
        ("smol", "512", "0", "420.0 ± 8.0", "30.50", "3"),
        ("large", "512", "0", "420.0 ± 8.0", "30.50", "3"),
        ("smol", "2,048", "4,096", "420.0 ± 8.0", "30.50", "3"),
        ("large", "2,048", "4,096", "420.0 ± 8.0", "30.50", "3"),
    ]
    assert [it.cells[2].text for it in latencies.lines] == ["1.250 ± 0.500"] * 2 + ["unknown"] * 2
    assert found.about == "Mean ± standard deviation of 3 runs, 64 tokens generated in each"
    assert found.remarks[0].text.endswith(" by paragone bench.")
