"""The JSON of a comparison has exactly the documented form."""

import json

from paragone_workbench.compare.divergence import comparison_json
from paragone_workbench.compare.parity import parity_of_runs
from paragone_workbench.runs.run import RunSpec
from paragone_workbench.workbench import Workbench


def usage(prompt, cached, completion, thinking, pieces):
    names = ("prompt_tokens", "cached_tokens", "completion_tokens", "thinking_tokens")
    counts = dict(zip(names, (prompt, cached, completion, thinking), strict=True))
    return {**counts, "pieces": pieces, "drafted_tokens": None, "accepted_tokens": None}


async def compared(*definitions):
    """Return the JSON of one prompt to these engines."""
    async with Workbench() as workbench:
        engines = [workbench.add(definition) for definition in definitions]
        await workbench.open_all()
        executions = [workbench.run(engine, RunSpec.of_prompt("how are you")) for engine in engines]
        for execution in executions:
            await execution.ended()
        runs = [execution.run for execution in executions]
        parity = parity_of_runs(runs, workbench.registry.find)
    return json.loads(
        json.dumps(comparison_json("how are you", (), [run.result for run in runs], parity), allow_nan=False)
    )


def positive(value: object) -> bool:
    return isinstance(value, float) and value > 0


async def test_the_keys_are_exactly_these(rogue):
    found = await compared(rogue("cautious", name="mine", max_tokens=20, rate=200))
    assert list(found) == ["prompt", "images", "lanes", "parity", "parity_unknown"]
    assert (found["parity"], found["parity_unknown"]) == ([], {})  # one lane is compared with nothing
    assert (found["prompt"], found["images"]) == ("how are you", [])
    (lane,) = found["lanes"]
    timings = lane.pop("timings")
    assert lane == {
        "engine": "mine",
        "backend": "rogue",
        "model": "cautious",
        "text": "".join(f"word{number} " for number in range(20)),
        "thinking": "",
        "finish": "length",
        "error": None,
        "warnings": [{"code": "test", "sentence": "This engine fails on cue."}],
        "seed": None,
        "sampling": {"max_tokens": 20, "rate": 200.0, "prefill_s": 0.0, "at": 5},
        "usage": usage(4, 0, 20, 0, 20),
    }
    itl = timings.pop("itl_ms")
    assert timings.pop("shared") is False
    assert timings.pop("thinking_s") is None
    assert set(timings) == {"load_s", "ttft_s", "ttfo_s", "tpot_ms", "prefill_tps", "decode_tps"}
    assert all(positive(value) for value in timings.values()), timings
    assert set(itl) == {"p50", "p95", "p99"}
    assert all(positive(value) for value in itl.values()), itl


async def test_failed_lanes_have_an_error(rogue):
    found = await compared(
        rogue("killed", rate=400), rogue("nonsense"), rogue("raises", at=0), rogue(max_tokens=0)
    )
    killed, nonsense, raises, silent = found["lanes"]
    assert killed["text"] == "word0 word1 word2 word3 word4 "
    assert killed["finish"] is None
    assert killed["error"].startswith("The engine's process was ended by SIGKILL: ")
    assert "The engine's output is in /" in killed["error"]
    assert killed["usage"] == usage(4, 0, 5, 0, 5)
    assert positive(killed["timings"]["ttft_s"])
    nowhere = {"p50": None, "p95": None, "p99": None}
    assert (nonsense["text"], nonsense["finish"]) == ("", None)
    assert nonsense["error"].startswith("There is no model 'nonsense'. There are: steady, ")
    assert {*nonsense["usage"].values(), *map(str, nonsense["timings"].values())} == {
        None,
        "None",
        str(nowhere),
    }
    assert raises["error"] == "The engine failed: RuntimeError: the kernel image is unhappy."
    assert raises["usage"] == usage(4, 0, 0, 0, 0)
    assert (silent["text"], silent["finish"], silent["error"]) == ("", "length", None)
    assert (silent["timings"]["ttft_s"], silent["timings"]["itl_ms"]) == (None, nowhere)
    for other in found["lanes"][1:]:
        assert list(other) == list(killed)
        assert list(other["usage"]) == list(killed["usage"])
