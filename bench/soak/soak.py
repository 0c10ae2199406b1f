"""The whole soak: its processes and threads, and the checks at its end."""

from __future__ import annotations

import multiprocessing
import resource
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.sharedctypes import Synchronized

import psutil

from bench.soak.faults import Faults
from bench.soak.journal import Journal
from bench.soak.key_times import slow_s
from bench.soak.outcome import Outcome
from bench.soak.plan import Plan, Shared
from bench.soak.program_runs import ProgramResults, ProgramRuns
from bench.soak.saved import Answers, Saved, wrong_in_history
from bench.soak.served import Served
from bench.soak.server_process import ServerProcess
from bench.soak.suites import PROMPTS, Suites


def soak(plan: Plan) -> Outcome:
    """Run the soak, and return its outcome."""
    plan.home.mkdir(parents=True)
    # New interpreters, because a forked process could inherit a lock that another thread holds.
    context = multiprocessing.get_context("spawn")
    began = time.monotonic()
    shared = Shared(plan, began, context.Event(), context.Lock())
    journal = Journal(plan.folder, began)
    suites, served = Suites(shared, journal), Served(shared, journal)
    running = [context.Value("i", 0) for _ in plan.lanes]

    def programs() -> list[psutil.Process]:
        ids = [program.value for program in running if program.value]
        lanes = [psutil.Process(process) for process in ids if psutil.pid_exists(process)]
        return lanes + suites.processes + served.processes

    with ServerProcess(plan.folder, plan.rate) as server:
        plan.write_config(server.url)
        pipes, processes = [], []
        for lanes, program in zip(plan.lanes, running, strict=True):
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=_live, args=(shared, lanes, program, theirs))
            process.start()
            theirs.close()
            pipes.append(ours)
            processes.append(process)
        threads = [
            _thread(journal, suites.run),
            _thread(journal, served.run),
            _thread(journal, Faults(shared, journal, server, programs).cause),
        ]
        try:
            results = [_result(pipe) for pipe in pipes]
        except KeyboardInterrupt:
            shared.interrupted.set()
            results = [_result(pipe) for pipe in pipes]
        for process in processes:
            process.join()
        for thread in threads:
            thread.join()
    return _outcome(plan, (time.monotonic() - began) / 60, journal, results, suites, server)


def _live(shared: Shared, lanes: int, program: Synchronized[int], result: Connection) -> None:
    """Run programs in this process, so that other parts of the soak do not delay the measurement of keys."""
    # Ctrl+C reaches this process too, but the event `interrupted` ends it.
    signal.signal(signal.SIGINT, lambda *_: None)
    result.send(ProgramRuns(shared, lanes, program).run())


def _result(pipe: Connection) -> ProgramResults:
    try:
        result = pipe.recv()
    except EOFError:
        return ProgramResults(wrong=["the soak itself failed: see the traceback"])
    assert isinstance(result, ProgramResults)
    return result


def _outcome(
    plan: Plan,
    minutes: float,
    journal: Journal,
    results: list[ProgramResults],
    suites: Suites,
    server: ServerProcess,
) -> Outcome:
    for result in results:
        journal.done.update(result.done)
        journal.wrong += result.wrong
    saved = Saved.read(plan.history)
    answers = Answers(server.sent(), saved.runs, plan.rate)
    keys = [key for result in results for key in result.keys]
    prompts = [prompt for result in results for prompt in result.prompts]
    memory = [life for result in results for life in result.memory]
    runs = PROMPTS * len(suites.engines)
    for wrong in (
        *wrong_in_history(saved, prompts, dict.fromkeys(suites.finished, runs)),
        *answers.wrong(lambda moment: slow_s(keys, moment)),
    ):
        journal.found(wrong)
    for late in (key for key in keys if key.is_late):
        journal.found(
            f"a key was answered after {late.answer_s * 1000:.0f} ms "
            f"(echo {late.echo_s * 1000:.0f} ms, waiting for the CPU {late.waited_s * 1000:.0f} ms, "
            f"computing {late.cpu_s * 1000:.0f} ms)"
        )
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
        cpu_s=sum(used.ru_utime + used.ru_stime for used in usage),
    )


def _thread(journal: Journal, act: Callable[[], None]) -> threading.Thread:
    """Call a function in a thread. If the function fails, record this as a broken promise; the soak continues."""

    def run() -> None:
        try:
            act()
        except Exception as error:  # noqa: BLE001 (the edge of the thread)
            journal.found(f"the soak itself failed: {type(error).__name__}: {error}")

    thread = threading.Thread(target=run)
    thread.start()
    return thread
