"""The whole soak: its threads, and the checks at its end."""

from __future__ import annotations

import resource
import threading
import time
from collections.abc import Callable, Iterator
from random import Random

import psutil

from bench.soak.faults import Faults
from bench.soak.journal import Journal
from bench.soak.key_times import KeyTimes
from bench.soak.outcome import Outcome
from bench.soak.person import Person
from bench.soak.plan import Plan
from bench.soak.saved import Answers, Saved, wrong_in_history
from bench.soak.server_process import ServerProcess
from bench.soak.suites import PROMPTS, Suites


def soak(plan: Plan) -> Outcome:
    """Run the soak, and return what came of it."""
    plan.home.mkdir(parents=True)
    journal = Journal(plan.folder / "journal.jsonl")
    keys = KeyTimes(journal.began)
    until = journal.began + plan.minutes * 60
    people = [Person(plan, lanes, journal, keys) for lanes in plan.lanes]
    suites = Suites(plan, journal)

    def programs() -> list[psutil.Process]:
        running = (*(person.process for person in people), suites.process)
        return [process for process in running if process is not None]

    with ServerProcess(plan.folder, plan.rate) as server:
        plan.write_config(server.url)
        random = Random(f"{plan.seed} faults")
        faults = Faults(random, journal, server, plan.history, programs)
        interrupted = threading.Event()
        threads = [
            *(_thread(journal, person.live, until, interrupted, faults.store_is_free) for person in people),
            _thread(journal, suites.run, until, interrupted),
            _thread(journal, faults.cause, until, plan.fault_pause_s),
        ]
        try:
            for thread in threads:
                thread.join()
        finally:
            interrupted.set()
            faults.end()
            for thread in threads:
                thread.join()
    minutes = (time.monotonic() - journal.began) / 60
    return _outcome(plan, minutes, journal, keys, people, suites, server)


def _outcome(
    plan: Plan,
    minutes: float,
    journal: Journal,
    keys: KeyTimes,
    people: list[Person],
    suites: Suites,
    server: ServerProcess,
) -> Outcome:
    saved = Saved.read(plan.history)
    answers = Answers(server.sent(), saved.runs, plan.rate)
    prompts = [prompt for person in people for prompt in person.prompts]
    runs = PROMPTS * len(suites.engines)
    memory = [life for person in people for life in person.memory]
    for wrong in _wrong(saved, answers, prompts, dict.fromkeys(suites.finished, runs), keys):
        journal.found(wrong)
    for life in memory:
        if not life.is_flat:
            journal.found(f"{life.name}: the memory grows by {life.growth:.1f} MiB an hour")
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return Outcome(
        plan=plan,
        minutes=minutes,
        done=journal.done,
        wrong=journal.wrong,
        keys=keys,
        memory=memory,
        answers=answers,
        prompts=len(prompts),
        suites=len(suites.finished),
        runs=len(saved.runs),
        cpu_s=sum(it.ru_utime + it.ru_stime for it in usage),
    )


def _wrong(
    saved: Saved, answers: Answers, prompts: list[str], suites: dict[str, int], keys: KeyTimes
) -> Iterator[str]:
    yield from wrong_in_history(saved, prompts, suites)
    yield from answers.wrong(keys.slow_s)
    for key in keys.late:
        yield (
            f"a key was answered after {key.answer_s * 1000:.0f} ms, {key.after_s / 60:.1f} min after the start "
            f"(echo {key.echo_s * 1000:.0f} ms, waiting for the CPU {key.waited_s * 1000:.0f} ms, "
            f"computing {key.cpu_s * 1000:.0f} ms)"
        )


def _thread(journal: Journal, act: Callable[..., None], *arguments: object) -> threading.Thread:
    """Call a function in a thread. What it raises is a finding: the soak goes on without it."""

    def run() -> None:
        try:
            act(*arguments)
        except Exception as error:  # noqa: BLE001 (the edge of the thread)
            journal.found(f"the soak itself failed: {type(error).__name__}: {error}")

    thread = threading.Thread(target=run)
    thread.start()
    return thread
