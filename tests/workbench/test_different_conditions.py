"""What differs between the experiments of a comparison, with real runs of SmolLM2."""

from dataclasses import replace

import pytest
from tests.workbench.experiment_writer import run_experiment, run_prompts, save_experiment

from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments.comparison_rows import different_conditions

OPTIONS = {"temperature": 0, "max_tokens": 4, "n_ctx": 256, "n_threads": 1}


@pytest.mark.model
async def test_different_settings_and_machines_of_two_experiments_are_reported(history, smollm2):
    """The machines stand in for two that did the same runs."""
    smol, other = (
        EngineDefinition(name=name, backend="llama_cpp", model=str(smollm2), options={**OPTIONS, **own})
        for name, own in (("smol", {}), ("other", {"max_tokens": 6, "n_ctx": 512}))
    )
    results = await run_prompts([smol, other], ["Name a colour."])
    for _ in range(2):
        await save_experiment(history, [smol, other], ["Name a colour."], results)
    await run_experiment(history, [replace(other, name="smol")], ["Name a colour."])

    async def different(*numbers, machines=()):
        def compare(store):
            found = [store.experiments.get(it) for it in numbers]
            for number, machine in enumerate(machines):
                found[number] = replace(found[number], machine=machine)
            return different_conditions(store, found, Registry().find)

        return await history.call(compare)

    assert await different(1, 2) == (), "not those of one experiment"
    first, second = await different(1, 3)
    assert first == "max_tokens is 4 in smol (e1) and 6 in other (e1) and smol (e3)."
    assert second.startswith("Context (n_ctx): 256 in smol (e1) and 512 in other (e1) and smol (e3).")
    here = {"cpu": "Xeon", "cores": 2, "gpus": [], "memory": 1, "os": "Linux 6"}
    there = {"cpu": "Xeon", "cores": 8, "gpus": [{"name": "H100"}], "memory": 2, "os": "Linux 7"}
    assert await different(1, 2, machines=(here, there)) == (
        "The machine's cores: 2 in e1 and 8 in e2. Speeds are not comparable, and rounding can differ.",
        "The machine's gpus: none in e1 and H100 in e2. Speeds are not comparable, and rounding can differ.",
    )
