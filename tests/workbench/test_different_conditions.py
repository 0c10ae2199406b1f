"""What differs between the experiments of a comparison, with real runs."""

from dataclasses import replace

import pytest
from tests.workbench.experiment_writer import run_experiment

from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments.comparison_rows import different_conditions


@pytest.fixture
def different(history, rogue):
    """Run the engines of several experiments on prompts, and return what differs between the experiments."""

    async def run(*experiments, machines=()):
        ids = []
        for options in experiments:
            engines = [rogue(name=f"rogue{n}", **{"max_tokens": 4, **own}) for n, own in enumerate(options)]
            ids.append(await run_experiment(history, engines, ["Name a colour."]))

        def compare(store):
            found = [store.experiments.get(it) for it in ids]
            for number, machine in enumerate(machines):
                found[number] = replace(found[number], machine=machine)
            return different_conditions(store, found, Registry().find)

        return await history.call(compare)

    return run


async def test_settings_that_differ_between_experiments_are_named(different):
    assert await different([{"max_tokens": 6}, {}]) == (), "both are of one experiment"
    second, first = await different([{}], [{"max_tokens": 6, "context": 512}, {}])
    assert first == "max_tokens is 4 in rogue0 (e2) and rogue1 (e3) and 6 in rogue0 (e3)."
    assert second.startswith("Context: 4096 in rogue0 (e2) and rogue1 (e3) and 512 in rogue0 (e3).")


async def test_another_machine_is_named(different):
    """The machines stand in for two that did the same runs."""
    one = {"cpu": "Xeon", "cores": 2, "gpus": [], "memory": 1, "os": "Linux 6"}
    other = {"cpu": "Xeon", "cores": 8, "gpus": [{"name": "H100"}], "memory": 2, "os": "Linux 7"}
    assert await different([{}], [{}], machines=(one, other)) == (
        "The machine's cores: 2 in e1 and 8 in e2. Speeds are not comparable, and rounding can differ.",
        "The machine's gpus: none in e1 and H100 in e2. Speeds are not comparable, and rounding can differ.",
    )
