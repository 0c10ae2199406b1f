import dataclasses

from tests.workbench.conftest import Paper
from tests.workbench.conversation_writer import LARGE, SMOL, result_of

from paragone import LoadedModel, RunRequest, Token, WeightsFile
from paragone_workbench.ids import new_id
from paragone_workbench.runs.metrics import RunMetrics
from paragone_workbench.runs.result import manifest
from paragone_workbench.store.experiments import Experiment, RunKey
from paragone_workbench.store.votes import Vote, VotedAnswer

EXPERIMENT = Experiment(
    name="colours.jsonl",
    fingerprint="f1",
    schedule="swap",
    repetitions=2,
    engines=(SMOL, LARGE),
    machine={"cores": 2},
    prompts=3,
    created=7.0,
)
PROMPTS = [(0, {"text": "red"}), (2, {"text": "blue"}), (5, {"text": "\ud83d"})]


def key(prompt, engine, repetition=0):
    return RunKey(prompt_index=prompt, engine_index=engine, repetition=repetition)


def ended(text, *, engine=SMOL, state="done", **fields):
    known = manifest(engine, Paper(), LoadedModel(name="Smol"), RunRequest(messages=(), sampling={"seed": 3}))
    return result_of(engine, text, manifest=known, state=state, **fields)


def create(store, **fields):
    """Save the experiment anew and return its number."""
    return store.experiments.create(dataclasses.replace(EXPERIMENT, id=new_id(), **fields), PROMPTS)


def test_an_experiment_is_returned_as_it_was_created(store):
    new = create(store)
    saved = store.experiments.get(new)
    assert saved == dataclasses.replace(EXPERIMENT, id=saved.id, number=new)
    assert store.experiments.prompts(new, first=1, limit=1) == (PROMPTS[1],)
    assert store.experiments.prompts(new) == tuple(PROMPTS)


def test_a_run_is_returned_as_it_was_saved(store):
    new = create(store)
    run = ended(
        "Sky.",
        metrics=RunMetrics(ttft_s=0.5, completion_tokens=3),
        tokens=(Token(text="Sky", id=3, logprob=-0.5, time=1.5),),
        thinking="Hm.",
        started=1.0,
        ended=2.0,
    )
    run_id = store.experiments.save(new, key(2, 1, 1), run, [{"type": "equals", "passed": True}])
    saved = store.experiments.run(new, run_id)
    assert saved.key == key(2, 1, 1)
    assert saved.assertions == ({"type": "equals", "passed": True},)
    assert (saved.number, saved.result) == (run_id, run)
    assert store.experiments.save(new, key(2, 1, 1), run) == run_id, "saving it again changes nothing"
    assert [it.assertions for it in store.experiments.runs(new)] == [saved.assertions]


def test_runs_and_passed_prompts_are_counted(store):
    new = create(store)
    verdicts = [{"type": "equals", "passed": passed} for passed in (True, False, True, None)]
    store.experiments.save(new, key(0, 0), ended("x"), verdicts)
    store.experiments.save(new, key(0, 0, 1), ended("x"), verdicts[:2])
    store.experiments.save(new, key(2, 0), ended("x"), verdicts[:1])
    store.experiments.save(new, key(2, 1), ended("", state="failed", error="It broke."))
    assert store.experiments.counts(new) == {0: (3, 0, 1, 1, 1), 1: (1, 1, 0, 0, 0)}
    assert store.experiments.counts(new, [2, 5]) == {0: (1, 0, 1, 0, 0), 1: (1, 1, 0, 0, 0)}
    assert store.experiments.counts(new, finished=["done"]) == {0: (3, 0, 1, 1, 1)}
    assert store.experiments.counts(new, []) == {}


def test_the_last_run_with_a_description_of_its_model_is_found(store):
    new = create(store)
    store.experiments.save(new, key(0, 0), ended("first"))
    store.experiments.save(new, key(2, 0, 1), ended("last"))
    store.experiments.save(new, key(2, 0), ended("before"))
    not_opened = result_of(SMOL, state="failed", error="It did not open.")
    store.experiments.save(new, key(5, 0), not_opened)
    assert store.experiments.last_loaded(new, 0).result.text == "last"
    assert store.experiments.last_loaded(new, 1) is None


def test_the_shared_part_of_manifests_is_saved_once(store):
    new = create(store)
    for index in (0, 2, 5):
        store.experiments.save(new, key(index, 0), ended("x"))
    assert store._database.rows("SELECT count(*) FROM manifest") == [(1,)]


def test_judge_runs_and_replays_refer_to_the_original_run(store):
    new = create(store)
    run, judge, again = ended("Sky."), ended("Yes."), ended("Sea.")
    cell = store.experiments.save(new, key(0, 0), run)
    store.experiments.save_judgement(cell, run.id, [{"type": "judge", "passed": True}], [judge])
    store.save_run(again, purpose="replay", about_id=run.id)
    store.save_run(ended("Of a document."), purpose="replay", about_id="of another machine")
    purposes = "SELECT purpose, about_id, text FROM run ORDER BY number"
    assert store._database.rows(purposes) == [
        ("answer", None, "Sky."),
        ("judge", run.id, "Yes."),
        ("replay", run.id, "Sea."),
        ("replay", None, "Of a document."),
    ]
    assert [it.assertions for it in store.experiments.runs(new)] == [({"type": "judge", "passed": True},)]
    store.experiments.delete(new)
    assert store._database.rows(purposes) == [("replay", None, "Of a document.")]


def test_votes_are_kept_when_their_experiment_is_deleted(store):
    new = create(store)
    vote = Vote(
        candidates=tuple(VotedAnswer(engine=it, backend="b", model="m", run="r") for it in "ab"),
        choice=1,
        blind=True,
        created=3.0,
        experiment_id=new,
        prompt_index=2,
    )
    assert store.votes.add(vote)
    assert store.votes.all(new) == (vote,)
    store.experiments.delete(new)
    assert store.votes.all() == (dataclasses.replace(vote, experiment_id=None),)
    store.votes.delete(vote.id)
    assert store.votes.all() == ()


def test_a_digest_of_weights_is_valid_only_for_the_same_size_and_time(store):
    file = WeightsFile(path="/m.gguf", size=10, modified_ns=99)
    store.measurements.save_weights_digest(dataclasses.replace(file, sha256="abc"))
    assert store.measurements.weights_digest(file) == "abc"
    assert store.measurements.weights_digest(dataclasses.replace(file, size=11)) is None
    assert store.measurements.weights_digest(dataclasses.replace(file, modified_ns=98)) is None
