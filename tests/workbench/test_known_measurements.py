"""Which measurements in the history are of the engines in question: one rule for decisions and for reports."""

import dataclasses
import os

import pytest
from tests.workbench.conftest import Paper
from tests.workbench.conversation_writer import LARGE, SMOL
from tests.workbench.report_subjects import ENGINES, add_experiment, ended
from tests.workbench.test_report_experiment import bench, fidelity

from paragone import Capabilities, LoadedModel, RunRequest, WeightsFile
from paragone_workbench.experiments.identity import measured_identity
from paragone_workbench.experiments.known_measurements import Known, known_of, known_speeds
from paragone_workbench.reporting.experiment import experiment_report
from paragone_workbench.reporting.file import report_pieces
from paragone_workbench.reporting.verdict import cautions_of
from paragone_workbench.runs.result import manifest
from paragone_workbench.store import RunKey
from paragone_workbench.store.experiments import SavedChoice
from paragone_workbench.store.votes import Measurement
from paragone_workbench.text import local_date


class Local(Paper):
    """A test double of a backend that opens files on this machine, of which only the options are used."""

    capabilities = Capabilities(local=True)


@pytest.fixture
def models(tmp_path):
    """The two engines, with files for their models."""
    engines = []
    for engine in ENGINES:
        path = tmp_path / f"{engine.name}.gguf"
        path.write_bytes(b"weights")
        engines.append(dataclasses.replace(engine, model=str(path)))
    return engines


def of(measurement: Measurement, engines) -> Measurement:
    """The measurement, of these engines as they are now."""
    identities = tuple(measured_identity(it, Local()) for it in engines)
    return dataclasses.replace(measurement, engines=tuple(engines), identities=identities)


def asked(store, engines):
    """An experiment whose runs say which files they loaded."""
    experiment = dataclasses.replace(add_experiment(store, {0: ("a", "b")}), engines=tuple(engines))
    for index, engine in enumerate(engines):
        weights = (WeightsFile.of(engine.model),)
        loaded = LoadedModel(name=engine.name, size=weights[0].size, weights=weights)
        made = manifest(engine, None, loaded, RunRequest(messages=()))
        key = RunKey(prompt_index=0, engine_index=index, repetition=0)
        store.experiments.save(experiment.number, key, ended("a", engine, manifest=made))
    return experiment


def reported(store, experiment):
    """The speeds in the first table, and the sections of measurements."""
    found = experiment_report(store, experiment, lambda name: Local())
    column = found.overview.columns.index("speed")
    speeds = [line.cells[column].text for line in found.overview.lines]
    return speeds, [it.title for it in found.sections if it.title in ("Bench", "Fidelity")]


def test_reports_and_choose_ignore_the_bench_of_another_file(store, models):
    old = of(bench(*models, created=1.0), models)
    store.measurements.add(old)
    for engine in models:
        with open(engine.model, "ab") as file:
            file.write(b"other weights")
    experiment = asked(store, models)
    now = {it.name: measured_identity(it, Local()) for it in models}
    assert known_speeds([old], now) == {}
    assert reported(store, experiment) == (["40.0/s", "40.0/s"], [])  # those of the answers
    store.measurements.add(of(bench(*models, created=2.0), models))
    assert reported(store, experiment) == (["30.5/s", "30.5/s"], ["Bench"])


def test_a_report_shows_the_bench_of_the_files_that_answered(store, models, tmp_path, monkeypatch):
    """Later, the files are replaced or deleted, and the report is written in another folder."""
    monkeypatch.chdir(tmp_path)
    relative = [dataclasses.replace(it, model=os.path.basename(it.model)) for it in models]
    experiment = dataclasses.replace(asked(store, models), engines=tuple(relative))
    store.measurements.add(of(bench(*relative, created=1.0), relative))
    os.unlink(models[0].model)
    with open(models[1].model, "ab") as file:
        file.write(b"other weights")
    store.measurements.add(of(bench(models[1], created=2.0, tests=({"decode_tps": None},)), models[1:]))
    monkeypatch.chdir("/")
    assert reported(store, experiment) == (["30.5/s", "30.5/s"], ["Bench"])


def level(users, prompt, rate):
    return {"users": users, "prompt_tokens": prompt, "tokens": 64, "tokens_per_s": rate}


def test_throughputs_are_compared_only_for_the_same_prompts():
    measurement = bench(SMOL, LARGE, created=1.0)
    users = {
        "smol": [level(4, 64, 9.0), level(16, 64, 8.0), level(1, 64, 5.0)],
        "large": [level(4, 64, 7.0), level(16, 999, 6.0), level(4, 999, None)],
    }
    data = {**measurement.data, "engines": [{"engine": it, "users": users[it]} for it in users]}
    identities = dict(zip(users, measurement.identities, strict=True))

    def throughputs():
        bench = dataclasses.replace(measurement, data=data)
        known = known_of({"bench": [bench], "fidelity": []}, identities, "smol", 1)
        return known.users, {name: it["tokens_per_s"] for name, it in known.throughputs.items()}

    assert throughputs() == (4, {"smol": 9.0, "large": 7.0})
    users["large"].append({**level(16, 128, 5.0), "tokens": 32})
    assert throughputs() == (16, {"large": 5.0}), "`choose` measures this one"


# What is marked on the first page


def first_page(store):
    experiment = add_experiment(store, {0: ("a", "b")})
    store.experiments.save_choice(experiment.number, SavedChoice(reference="large", margin=0.03))
    found = experiment_report(store, experiment, lambda name: Paper())
    cells = {
        line.name: dict(zip(found.overview.columns, line.cells, strict=True)) for line in found.overview.lines
    }
    return found, cells


def test_speeds_measured_at_different_times_are_marked_with_dates(store):
    store.measurements.add(bench(SMOL, LARGE, created=1.0))
    found, cells = first_page(store)
    assert (found.verdict.doubts.get("Read with care", ()), cells["smol"]["speed"].detail) == ((), "")
    store.measurements.add(bench(SMOL, created=86_400.0 * 365))
    found, cells = first_page(store)
    (caution,) = found.verdict.doubts["Read with care"]
    assert caution.startswith("The speeds were measured at different times, which the table names")
    details = [cells[name]["speed"].detail for name in ("smol", "large")]
    assert [detail[:4] for detail in details] == [local_date(86_400.0 * 365, "%Y"), local_date(1.0, "%Y")]
    for suffix in ("html", "md"):
        written = "".join(report_pieces(found, suffix, 0.0))
        assert "Read with care" in written
        assert caution.partition(":")[0] in written
        assert details[0] in written


def test_a_fidelity_over_fewer_windows_is_marked(store):
    measured = fidelity(LARGE, SMOL, created=1.0, kld=0.3)
    store.measurements.add(measured)
    found, cells = first_page(store)
    assert (found.verdict.doubts.get("Read with care", ()), cells["smol"]["KLD"].detail) == (
        (),
        "large, ± 0.010",
    )
    ended_early = dataclasses.replace(measured, data={**measured.data, "partial": True}, id="2")
    store.measurements.add(ended_early)
    found, cells = first_page(store)
    assert found.verdict.doubts["Read with care"] == (
        "The fidelity of smol was measured over only some windows of the text: compare the uncertainties too.",
    )
    assert cells["smol"]["KLD"].detail == "large, ± 0.010, 5 windows"


@pytest.mark.parametrize(
    ("layers", "said"),
    [("12 of 31", True), ("31 of 31", False), ("?", False)],
)
def test_a_model_that_is_divided_between_gpu_and_cpu_is_marked(layers, said):
    """No GPU is needed: the engine reports the division."""
    model = LoadedModel(name="m", facts={"layers on a GPU": layers})
    models = {"smol": model, "large": LoadedModel(name="n")}
    sentences = cautions_of(Known(), models, benched=True)[0]
    assert [it.partition(":")[0] for it in sentences] == (
        ["smol has 12 of its 31 layers on a GPU, the others on the CPU"] if said else []
    )
