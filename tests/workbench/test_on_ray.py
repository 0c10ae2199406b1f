"""Suites on a cluster, without Ray: the queue, the places, the check of the nodes, and processes that are lost.

`tests/on_ray` has the same with a real cluster.
"""

import asyncio
import dataclasses
from importlib.metadata import version

import pytest
import scripted_backend
from tests.workbench.suites import Suites, asked, engine, suite

from paragone import DeviceMemory, EngineCrashed, InputError, MemoryEstimate
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments.assertions import load_assertions
from paragone_workbench.experiments.ray_cluster import (
    EngineActor,
    Node,
    NodeReport,
    Place,
    cluster_address,
    places_on,
)
from paragone_workbench.experiments.ray_engine import check_nodes
from paragone_workbench.experiments.runner import SuiteRunner
from paragone_workbench.experiments.suite import AssertionSpec, SuiteRequest, find_or_create
from paragone_workbench.store.errors import StoreError

GIB = 1 << 30
NODES = [Node(id=f"n{number}", name=f"node {number}", cpus=4, gpus=0, memory=64 * GIB) for number in (1, 2)]


def memory(device, gib, total=None):
    return DeviceMemory(device=device, weights=gib * GIB, kv_cache=0, compute=0, total=total and total * GIB)


@pytest.mark.parametrize(
    ("node", "devices", "engines", "expected"),
    [
        ({"cpus": 8}, [memory("CPU", 5)], 2, (1, 4, 0)),
        ({"cpus": 8}, [memory("CPU", 100)], 1, (0, 0, 0)),
        ({"cpus": 8, "gpus": 2}, [memory("CUDA0", 20, 80)], 1, (8, 1, 0.25)),
        ({"cpus": 8, "gpus": 4}, [memory("CUDA0", 70, 80), memory("CUDA1", 70, 80)], 1, (2, 1, 2)),
    ],
)
def test_an_engine_gets_as_many_places_on_a_node_as_fit(node, devices, engines, expected):
    found = places_on(
        dataclasses.replace(NODES[0], **node),
        engine("one"),
        MemoryEstimate(context=1024, devices=tuple(devices)),
        engines=engines,
    )
    assert (len(found), *((found[0].cpus, found[0].gpus) if found else (0, 0))) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"files": {"/m": None}}, "The node b lacks the file /m."),
        ({"files": {"/m": (7, "x")}}, "The file /m has 7 bytes on the node b, and 5 elsewhere."),
        (
            {"files": {"/m": (5, "y")}},
            "The file /m has other content on the node b than elsewhere, but the same",
        ),
    ],
)
def test_missing_files_and_versions_of_a_node_are_reported(changes, expected):
    ours = NodeReport(installed=version("paragone"), files={"/m": (5, "x")})
    with pytest.raises(InputError, match="Nothing was run") as failed:
        check_nodes({"a": ours, "b": dataclasses.replace(ours, **changes)}, {"/m": None})
    assert expected in failed.value.message


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("ray://gpu-box:10001", "Write --on gpu-box:6379 instead"),
        ("ray://[", "Write --on HOST:6379 instead"),
        ("host:99999", "Write --on ray for the cluster that this machine belongs to"),
        ("http://host:6379", "Write --on ray"),
    ],
)
def test_invalid_cluster_addresses_are_refused(text, hint):
    with pytest.raises(InputError) as refused:
        cluster_address(text)
    assert refused.value.hint.startswith(hint)


class ProcessHere:
    """A test double of `NodeProcess`: its engine runs in this process, and is lost after `dies_after` runs."""

    def __init__(self, cluster, place, dies_after):
        self.place, self.is_open, self.tokens_per_second, self.requests = place, False, None, set()
        self.actor = EngineActor()
        self.killed = False
        self._cluster = cluster
        self._dies_after = dies_after

    async def begin(self):
        why = await self.actor.begin(self.place.definition, 1, offline=False)
        if self._cluster.begins_together is not None:
            await self._cluster.begins_together.wait()
        return why

    async def execute(self, spec, prompt):
        reply = await self.actor.execute(spec, prompt)
        if self._dies_after is not None:
            self._dies_after -= 1
            if self._dies_after < 0:
                raise EngineCrashed("It was killed.")
        return reply

    async def end(self):
        await self.actor.end()

    def kill(self):
        self.killed = True


class ClusterHere:
    """A test double of `Cluster`: its processes run here. `lives` says after how many runs each is lost.

    The first `together` processes have opened their engines before one of them executes a run.
    """

    def __init__(self, *lives, alive=NODES, together=0):
        self.lives = [*lives]
        self.alive = alive
        self.begins_together = asyncio.Barrier(together) if together else None
        self.processes = []
        self.left = False

    def has(self, node):
        return node in self.alive

    def start(self, place):
        if self.begins_together and len(self.processes) == self.begins_together.parties:
            self.begins_together = None
        self.processes.append(ProcessHere(self, place, self.lives.pop(0) if self.lives else None))
        return self.processes[-1]

    async def leave(self):
        self.left = True


def placed(one):
    return [Place(node=node, definition=one, cpus=1) for node in NODES]


async def run_on(cluster, history, made, *engines, runner_kind=SuiteRunner, **more):
    request = SuiteRequest(suite=made, engines=engines, **more)
    registry = Registry()
    experiment, _ = await find_or_create(history, request, registry)
    cluster.engines = {index: placed(one) for index, one in enumerate(engines) if one.backend == "scripted"}
    cluster.judges = {name: placed(one) for name, one in request.judges.items()}
    remarks: list[str] = []
    runner = runner_kind(
        history, experiment, request, registry, load_assertions(), notify=remarks.append, cluster=cluster
    )
    before = len(scripted_backend.EVENTS)
    await asyncio.wait_for(runner.run(), 60)
    await runner.close()
    await asyncio.gather(
        *(process.end() for process in cluster.processes)
    )  # those that were lost live on here
    return runner, asked(scripted_backend.EVENTS[before:]), [*filter(None, remarks)]


PROMPTS = [f"prompt {number}" for number in range(12)]


@pytest.mark.thorough
@pytest.mark.parametrize("schedule", ["swap", "parallel"])
async def test_all_runs_are_executed_and_saved_once(history, schedule):
    cluster = ClusterHere()
    servers = dataclasses.replace(engine("far"), backend="scripted_server")
    runner, events, _ = await run_on(
        cluster, history, suite(*PROMPTS), engine("one"), engine("two"), servers, schedule=schedule
    )
    assert not runner.failure
    assert not runner.given_up
    assert [progress.done for progress in runner.progress] == [12, 12, 12]
    assert sorted(events) == sorted(
        f"{name}: {prompt}" for name in ("one", "two", "far") for prompt in PROMPTS
    )
    assert cluster.left
    assert all(process.killed for process in cluster.processes)


@pytest.mark.parametrize(
    ("alive", "lost", "processes"),
    [(NODES, "A process of one on the node node 1", 3), (NODES[1:], "The node node 1", 2)],
)
async def test_the_runs_of_a_lost_process_or_node_are_executed_elsewhere(history, alive, lost, processes):
    cluster = ClusterHere(1, alive=alive, together=2)
    runner, events, remarks = await run_on(cluster, history, suite(*PROMPTS), engine("one"))
    assert (runner.failure, runner.given_up, runner.progress[0].done) == (None, (), 12)
    assert set(events) == {f"one: {prompt}" for prompt in PROMPTS}
    saved = await history.call(lambda store: list(store.experiments.runs(runner.experiment.number)))
    assert {run.result.manifest["node"] for run in saved} <= {node.name for node in NODES}
    (message,) = remarks
    assert message.startswith(f"{lost} was lost: It was killed.")
    assert "executed again" in message
    assert len(cluster.processes) == processes


async def test_an_engine_whose_processes_are_always_lost_is_given_up(history):
    runner, *_ = await run_on(ClusterHere(*[0] * 20), history, suite(*PROMPTS), engine("one"))
    (error,) = runner.given_up
    assert "were lost 3 times in a row, the last one on the node node" in error.message


async def test_an_engine_that_cannot_be_opened_is_given_up(history):
    runner, *_ = await run_on(ClusterHere(), history, suite("one"), engine("gone"))
    (error,) = runner.given_up
    assert error.message.startswith("On the node node")
    assert "The model gone is gone." in error.message
    assert error.hint == "Put it back."


class FailingRunner(SuiteRunner):
    """A test double of the history: it cannot be written after the first runs."""

    async def save(self, *executed):
        if any(progress.now for progress in self.progress):
            raise StoreError("The disk is full.")
        await super().save(*executed)


async def test_a_history_that_fails_ends_the_work_at_all_places(history):
    runner, *_ = await run_on(
        ClusterHere(), history, suite(*PROMPTS), engine("one"), runner_kind=FailingRunner
    )
    assert runner.failure.message == "The disk is full."


JUDGED = suite(
    *PROMPTS, assertions=[AssertionSpec(type="judge", options={"engine": "judge", "criterion": "good"})]
)


async def verdicts(history, runner):
    saved = await history.call(lambda store: list(store.experiments.runs(runner.experiment.number)))
    return [(check.passed, check.reason, check.judges) for run in saved for check in run.checks]


async def test_a_lost_process_of_a_judge_loses_no_verdict(history):
    cluster = ClusterHere(None, None, 3, together=2)  # the third process is the judge's first
    judge = engine("judge", password="hunter2")
    runner, events, remarks = await run_on(cluster, history, JUDGED, engine("one"), judges={"judge": judge})
    assert (runner.failure, runner.given_up) == (None, ())
    assert len({event for event in events if event.startswith("judge: ")}) == 12
    (message,) = remarks
    assert message.startswith("A process of judge on the node node 1 was lost: It was killed.")
    assert len(cluster.processes) == 5
    assert all(process.killed for process in cluster.processes)
    there = await verdicts(history, runner)
    assert [passed for passed, *_ in there] == [True] * 12
    suites = Suites(history)
    await suites.run(JUDGED, engine("one"), judges=[judge], fresh=True)
    assert await verdicts(history, suites.runner) == there
