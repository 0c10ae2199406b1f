"""Results that other programs have computed. `harness_results` has lines that lm-evaluation-harness 0.4.13 and Inspect
0.3.285 wrote, without the fields that are not read."""

import json
from pathlib import Path

import pytest
from scipy.stats import binomtest

from paragone import InputError
from paragone_workbench.choosing.decision import choice_of, evidence_for
from paragone_workbench.experiments.comparison import compare_suite
from paragone_workbench.experiments.comparison_rows import collect_experiments
from paragone_workbench.experiments.suite import saved_prompts
from paragone_workbench.files.result_import import ResultImport, has_results
from paragone_workbench.files.suite_import import SuiteImport

WRITTEN = Path(__file__).with_name("harness_results")
CHOICES, SUMS = sorted(WRITTEN.glob("samples_*.jsonl"))


class Importing(SuiteImport):
    def __init__(self):
        self.messages: list[str] = []
        super().__init__(self.messages.append)


@pytest.fixture
def imported(store):
    """Import files; returns the experiment, its answers with their verdicts, and the import."""

    def of(*paths, metric=None):
        importing = Importing()
        number, _ = ResultImport(paths, importing, metric, lambda done: None).save(store)
        experiment = store.experiments.get(number)
        found: dict[str, list[tuple[str, bool | None]]] = {}
        for run in store.experiments.runs(number):
            found.setdefault(run.result.definition.name, []).append((run.result.text, run.passed))
        return experiment, found, importing

    return of


def samples(tmp_path, model, passed):
    """Write the first sample of `CHOICES` for each verdict, as a file of the harness."""
    sample = json.loads(CHOICES.read_text().splitlines()[0])
    path = tmp_path / model / "samples_facts_2026-12-03T14-15-27.068603.jsonl"
    path.parent.mkdir()
    lines = ({**sample, "doc_id": number, "acc": float(it)} for number, it in enumerate(passed))
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_samples_of_likelihoods_are_answered_by_the_likeliest_choice(imported, store):
    experiment, found, importing = imported(CHOICES)
    assert (experiment.name, experiment.left) == ("tiny_choices", 0)
    assert found == {"harness_results": [("Paris", True), ("Rome", True), ("Pascal", False)]}
    prompts = [*saved_prompts(store, experiment.number)]
    assert [(it.text, it.expected) for it in prompts] == [
        ("The capital of France is", "Paris"),
        ("The capital of Italy is", "Rome"),
        ("Water freezes at zero degrees", "Celsius"),
    ]
    assert not importing.messages


def test_one_metric_decides_and_other_filters_are_counted(imported):
    _, strict, importing = imported(SUMS)
    assert importing.skipped == {"results by exact_match,flexible-extract": 2}
    _, flexible, _ = imported(SUMS, metric="exact_match,flexible-extract")
    assert strict.keys() == flexible.keys()
    with pytest.raises(InputError, match=r"no result by f1.*Found: results by exact_match,strict-match"):
        imported(SUMS, metric="f1")


def test_mcnemar_of_two_imported_models_is_that_of_scipy(imported, store, tmp_path):
    one = [True] * 30 + [False] * 30
    other = [True] * 18 + [False] * 12 + [True] * 3 + [False] * 27
    experiment, _, _ = imported(samples(tmp_path, "org__a", one), samples(tmp_path, "b", other))
    assert [it.name for it in experiment.engines] == ["a", "b"]
    assert experiment.prompts == 60
    (pair,) = compare_suite(collect_experiments(store, [experiment])).comparisons
    assert (pair.paired.more_a, pair.paired.more_b) == (12, 3)
    assert pair.paired.p == pytest.approx(binomtest(3, 15).pvalue, rel=1e-12)
    assert pair.shown
    evidence = evidence_for(
        choice_of(store, experiment), experiment, collect_experiments(store, [experiment])
    )
    assert [(it.a, it.b, it.verdict) for it in evidence.not_worse] == [("a", "b", "open")]


def test_only_samples_of_all_models_are_compared(imported, tmp_path):
    a, b = samples(tmp_path, "a", [True] * 4), samples(tmp_path, "b", [False] * 2)
    experiment, _, importing = imported(a, b)
    assert (experiment.prompts, experiment.left) == (2, 0)
    assert importing.skipped == {"samples without a result of each model": 2}
    again, _, _ = imported(a, b)
    assert again.number == experiment.number, "the same files are the same experiment"
    with pytest.raises(InputError, match=r"No sample has a result of each model: a, harness_results\."):
        imported(a, SUMS)


def test_bad_lines_are_named_and_skipped(imported, tmp_path):
    path = samples(tmp_path, "a", [True] * 5)
    lines = path.read_text().splitlines()
    lines[1], lines[2] = lines[1][:50], lines[2].replace('"acc": 1.0, "acc_norm": 1.0', '"acc": -7.5')
    path.write_text("\n".join([*lines, lines[0], '{"other": 1}']))
    _, found, importing = imported(path)
    assert len(found["a"]) == 3
    assert [it.partition(": ")[0].partition(":")[2] for it in importing.messages] == ["2", "3", "6", "7"]
    assert "There is no score from 0 to 1 (metrics: acc, acc_norm)." in importing.messages[1]
    assert "a has a result for this sample already." in importing.messages[2]


def test_logs_of_inspect_have_epochs_scores_and_cut_answers(imported, store):
    experiment, found, _ = imported(WRITTEN / "inspect_first.json", WRITTEN / "inspect_second.json")
    assert (experiment.name, experiment.prompts, experiment.repetitions) == ("facts", 4, 2)
    assert [passed for _, passed in found["mockllm/first"]] == [
        True,
        False,
        False,
        False,
        False,
        False,
        False,
        True,
    ]
    assert found["mockllm/second"][:2] == [("Lyon.", False), ("blue", False)]
    experiment, _, _ = imported(WRITTEN / "inspect_choices.json")
    first, second = store.experiments.runs(experiment.number)
    assert (first.result.is_cut, second.result.is_cut) == (False, True)
    prompt = next(saved_prompts(store, experiment.number))
    assert prompt.text == "Which is a fruit?\n\nA) apple\nB) stone\n\nAnswer with one letter: A, B."


def test_partial_scores_are_compared_beside_passes(imported, store, tmp_path):
    log = json.loads((WRITTEN / "inspect_first.json").read_text())
    log["samples"][0]["scores"]["includes"]["value"] = "P"
    log["samples"][1]["error"] = {"message": "The server is gone."}
    (tmp_path / "log.json").write_text(json.dumps(log, indent=2))
    experiment, _, _ = imported(tmp_path / "log.json")
    runs = [*store.experiments.runs(experiment.number)]
    assert [run.scores for run in runs[:2]] == [{"includes": 0.5}, {"includes": 0.0}]
    assert [(run.result.state, run.result.error) for run in runs if run.result.error] == [
        ("failed", "The server is gone.")
    ]


def promptfoo_result(provider, **more):
    """A result in the form of promptfoo's `EvaluateResult`."""
    return {
        "prompt": {"raw": "Say hi.", "label": "Say hi."},
        "vars": {},
        "provider": {"id": provider, "label": ""},
        "response": {"output": "hi"},
        "success": True,
        "score": 1,
        "namedScores": {},
        "failureReason": 0,
        "gradingResult": {"pass": True, "score": 1, "reason": "All assertions passed"},
        **more,
    }


def test_results_of_promptfoo_have_their_providers_and_repetitions(imported, tmp_path):
    gone = promptfoo_result("openai:b", success=False, failureReason=2, error="API error", response=None)
    results = [
        promptfoo_result("openai:a"),
        promptfoo_result("openai:a", success=False),
        promptfoo_result("openai:b"),
    ]
    path = tmp_path / "output.json"
    path.write_text(
        json.dumps({"config": {"description": "Greetings"}, "results": {"results": [*results, gone]}})
    )
    experiment, found, _ = imported(path)
    assert (experiment.name, experiment.repetitions, experiment.failed) == ("Greetings", 2, 1)
    assert found == {"openai:a": [("hi", True), ("hi", False)], "openai:b": [("hi", True), ("", None)]}


def test_speeds_are_refused_with_the_command_that_measures_them(tmp_path):
    (tmp_path / "bench.json").write_text(
        json.dumps([{"build_commit": "b1", "n_prompt": 512, "avg_ts": 51.0}])
    )
    with pytest.raises(InputError, match=r"has speeds of llama-bench.*paragone bench"):
        has_results(tmp_path / "bench.json")
