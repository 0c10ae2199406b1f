"""What differs between the experiments of a comparison, with real runs of SmolLM2."""

import pytest
from tests.workbench.experiment_writer import run_experiment

from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments.comparison.conditions import different_conditions

pytestmark = pytest.mark.model

OPTIONS = {"temperature": 0, "max_tokens": 4, "n_ctx": 256, "n_threads": 1}


@pytest.fixture
def different(history, smollm2):
    """Run the engines of several experiments on prompts, and return what differs between the experiments."""

    async def run(*experiments, prompts=("Name a colour.",)):
        ids = []
        for options in experiments:
            engines = [
                EngineDefinition(
                    name=f"smol{number}", backend="llama_cpp", model=str(smollm2), options={**OPTIONS, **own}
                )
                for number, own in enumerate(options)
            ]
            ids.append(await run_experiment(history, engines, prompts))
        return await history.call(
            lambda store: different_conditions(
                store, [store.experiments.get(it) for it in ids], Registry().find
            )
        )

    return run


async def test_settings_that_differ_are_named_with_the_engines(different):
    first, second = await different([{}], [{"max_tokens": 6, "n_ctx": 512}])
    assert first == "max_tokens is 4 in smol0 (e1) and 6 in smol0 (e2)."
    assert second.startswith("Context (n_ctx): 256 in smol0 (e1) and 512 in smol0 (e2).")


async def test_the_same_settings_and_those_of_one_experiment_are_not_named(different):
    assert await different([{}], [{}]) == ()
    assert await different([{"max_tokens": 6}, {}]) == ()


async def test_what_differs_in_each_experiment_alike_is_not_named(different):
    assert await different([{"max_tokens": 6}, {}], [{"max_tokens": 6}, {}]) == ()
