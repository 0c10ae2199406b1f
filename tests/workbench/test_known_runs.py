"""What was asked before is not asked again, with the scripted backend, which is a test double."""

import contextlib

from tests.workbench.history_file import open_store
from tests.workbench.suites import asked, contains, engine, judged, suite

from paragone_workbench.store import Store

A, B = engine("a"), engine("b")


async def test_only_new_prompts_are_asked(suites):
    await suites.run(suite("x", "y"), A)
    first = {run.result.id for run in await suites.saved()}
    assert asked(await suites.run(suite("new", "x", "y"), A)) == ["a: new"]
    assert suites.runner.taken == 2
    assert asked(await suites.run(suite("x", "y"), A, B)) == ["b: x", "b: y"]
    assert len(asked(await suites.run(suite("x", "y"), A, B, repetitions=2))) == 4
    runs = await suites.saved()
    assert len(runs) == 8
    assert first <= {run.result.id for run in runs}
    assert [progress.done for progress in suites.runner.progress] == [4, 4]


async def test_other_assertions_check_the_known_answer(suites):
    await suites.run(suite("x", assertions=[contains("X")]), A)
    assert asked(await suites.run(suite("x", assertions=[contains("Z")]), A)) == []
    assert [run.passed for run in await suites.saved()] == [False]
    assert [progress.verdicts[False] for progress in suites.runner.progress] == [1]


async def test_verdicts_of_the_same_judge_are_reused_and_a_new_judge_is_asked(suites):
    made = suite("x", assertions=[judged()])
    await suites.run(made, A, judges=[engine("judge")])
    (before,) = await suites.saved()
    longer = suite("x", "y", assertions=[judged()])
    assert asked(await suites.run(longer, A, judges=[engine("judge")])) == ["a: y", "judge: y Y"]
    assert (await suites.saved())[0].checks == before.checks
    events = await suites.run(suite("x", assertions=[judged("other")]), A, judges=[engine("judge", "other")])
    assert asked(events) == ["judge: x X"]
    assert [check.judges for run in await suites.saved() for check in run.checks] == [
        "other = scripted:judge"
    ]


async def test_a_fresh_experiment_is_continued_without_older_answers(suites):
    await suites.run(suite("x", "y"), A)
    assert len(asked(await suites.run(suite("x", "y"), A, fresh=True, chosen=frozenset({0})))) == 1
    assert asked(await suites.run(suite("x", "y"), A)) == ["a: y"]
    assert suites.resumed


async def test_an_answer_shared_by_two_experiments_survives_the_deletion_of_one(suites):
    await suites.run(suite("zebra"), A)
    first = suites.experiment.number
    await suites.run(suite("zebra", "y"), A)
    second = suites.experiment.number

    def of(store: Store) -> tuple[list[str], int]:
        hits = [hit.id.partition("/")[0] for hit in store.search("zebra")]
        ((runs,),) = store._database.rows("SELECT count(*) FROM run")
        return hits, runs

    call = suites.history.call
    assert await call(of) == ([f"e{first}"], 2)
    await call(lambda store: store.experiments.delete(first))
    assert await call(of) == ([f"e{second}"], 2)
    assert [run.result.text for run in await suites.saved()] == ["ZEBRA", "Y"]
    await call(lambda store: store.experiments.delete(second))
    assert await call(of) == ([], 0)


async def test_repetitions_without_separate_seeds_are_different_runs(suites):
    sampled = engine("a", seed=3)
    await suites.run(suite("x"), sampled, repetitions=2)
    assert len(asked(await suites.run(suite("x"), sampled, repetitions=3))) == 1
    assert len({run.result.id for run in await suites.saved()}) == 3


async def test_a_run_deleted_by_another_instance_is_asked_again(suites, monkeypatch):
    await suites.run(suite("x"), A)
    first = suites.experiment.number
    runner = await suites.begin(suite("x", "y"), A)
    call = suites.history.call

    def deleting(wanted, **limits):
        def answer(store: Store):
            found = wanted(store)
            with contextlib.closing(open_store()) as other:
                other.experiments.delete(first)
            return found

        return call(answer if "known" in wanted.__code__.co_names else wanted, **limits)

    monkeypatch.setattr(suites.history, "call", deleting)
    await runner.run()
    await runner.close()
    assert [run.result.text for run in await suites.saved()] == ["X", "Y"]
    assert runner.progress[0].done == 2


async def test_a_damaged_run_is_asked_again(suites):
    await suites.run(suite("x"), A)
    await suites.history.call(lambda store: store._database.run("UPDATE run SET result = '{'"))
    made = suite("x", assertions=[contains("X")])
    assert asked(await suites.run(made, A)) == ["a: x"]
