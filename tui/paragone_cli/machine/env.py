"""`paragone env`: creates, lists, checks and removes virtual environments of backends."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from paragone import InputError
from paragone.network.guard import GUARD, ONLINE_HINT
from paragone.wording import size_text
from paragone_cli.command_line.arguments import PrintArguments, command, option, refuse_untaken, switch, word
from paragone_cli.command_line.event_loop import run
from paragone_cli.command_line.output import note, one_line, put, put_json, put_table, warn
from paragone_cli.command_line.question import confirmed, require_answer
from paragone_cli.command_line.status_line import StatusLine
from paragone_workbench.engines.environments.installation import check, create, remove
from paragone_workbench.engines.environments.installed import InstalledEnvironment, list_installed
from paragone_workbench.engines.environments.planning import EnvironmentPlan, plan
from paragone_workbench.engines.environments.process import InstallStep
from paragone_workbench.engines.registry import Registry


@dataclass(frozen=True, kw_only=True)
class EnvArguments(PrintArguments):
    """The action of `paragone env`, and the backend of the environment."""

    action: str = word(
        "ACTION",
        "create: install a backend's library in an environment of its own, after showing its size; "
        "list: list the environments; check: import the library in an environment; remove: delete an environment",
        choices=("create", "list", "check", "remove"),
    )
    backend: str | None = word("BACKEND", "the backend of the environment", nargs="?")
    cuda: str | None = option(
        "--cuda VERSION",
        "for this major version of CUDA; default: the newest that the driver supports",
        actions=("create",),
    )
    python: str | None = option("--python PATH", "with this interpreter", actions=("create",))
    find_links: str | None = option(
        "--find-links FOLDER", "from the wheels in this folder, without a network", actions=("create",)
    )
    yes: bool = switch("--yes", "without confirmation", actions=("create",))


@command(EnvArguments)
def env(args: EnvArguments) -> int:
    """List, create, check or remove environments. The user is asked before an environment is created."""
    registry = Registry(note)
    refuse_untaken(args, "env", args.action, json=("list",))
    if args.action == "list":
        return _list(registry, as_json=args.json)
    if args.backend is None:
        raise InputError("No backend was named.", hint=f"Write: paragone env {args.action} BACKEND")
    if args.action == "remove":
        freed = remove(args.backend)  # the backend need not be installed
        put(f"{one_line(args.backend)}: removed, {size_text(freed)} freed")
        return 0
    backend = registry.get(args.backend)
    if args.action == "check":
        run(_follow(check(backend)))
        put(f"{backend.name}: the environment works")
        return 0
    if GUARD.is_offline and not args.find_links:
        raise InputError(
            "paragone is offline, and an environment is made of packages from the network.",
            hint=f"{ONLINE_HINT} Or name a folder of wheels with --find-links.",
        )
    planned = run(plan(backend, cuda=args.cuda, python=args.python, find_links=args.find_links))
    _print_plan(planned)
    if not args.yes:
        require_answer()
        if not confirmed("Create it?"):
            note("Nothing was created.")
            return 1
    run(_follow(create(planned)))
    put(f"{backend.name}: created; its engines run in it unless they set another `python`")
    return 0


def _list(registry: Registry, *, as_json: bool) -> int:
    found = list_installed(registry.all())
    if as_json:
        listed = [
            {
                "backend": environment.name,
                "folder": str(environment.folder),
                "whole": environment.complete,
                "outdated": environment.outdated,
                "cuda": environment.cuda or None,
                "size": environment.size,
            }
            for environment in found
        ]
        put_json({"environments": listed})
    elif found:
        put_table(
            [
                (
                    environment.name,
                    size_text(environment.size),
                    f"CUDA {environment.cuda}" if environment.cuda else "",
                    _state(environment),
                    str(environment.folder),
                )
                for environment in found
            ]
        )
    else:
        note("There are no environments; `paragone env create BACKEND` creates one.")
    return 0


def _state(environment: InstalledEnvironment) -> str:
    if environment.outdated:
        return "outdated"
    return "complete" if environment.complete else "incomplete"


def _print_plan(planned: EnvironmentPlan) -> None:
    wheels = f"from {planned.find_links}" if planned.find_links else f"about {size_text(planned.download)}"
    note(f"Environment for {planned.backend.title}, CUDA {planned.build.cuda}, with {planned.python}:")
    rows = [
        f"  packages  {', '.join(planned.build.requirements)}",
        f"  download  {wheels}",
        f"  disk      about {size_text(planned.build.disk)}; {size_text(planned.free)} are free",
        f"  folder    {planned.folder}{', replacing the existing one' if planned.replaces else ''}",
    ]
    for row in rows:
        print(one_line(row), file=sys.stderr)
    for warning in planned.warnings:
        warn(warning)


async def _follow(steps: AsyncGenerator[InstallStep, None]) -> None:
    """Run the steps and show their progress. SIGINT, SIGTERM and SIGHUP cancel the steps."""
    stage = ""
    received = _cancel_on_signals()
    with StatusLine() as status:
        try:
            async with contextlib.aclosing(steps):
                async for step in steps:
                    if step.stage != stage and not status.on:
                        note(f"{step.stage} …")
                    if step.stage != stage or status.due:
                        stage = step.stage
                        status.show(f"{stage} {step.seconds:.0f} s: {step.line}")
        except asyncio.CancelledError:
            status.end()
            note("Cancelled; the incomplete environment was deleted.")
            if received:
                raise SystemExit(128 + received[0]) from None
            raise


def _cancel_on_signals() -> list[signal.Signals]:
    """Cancel the current task on SIGHUP and SIGTERM. Returns a list to which a received signal is appended."""
    received: list[signal.Signals] = []
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None  # the caller is a coroutine

    def end(number: signal.Signals) -> None:
        received.append(number)
        task.cancel()

    for number in (signal.SIGHUP, signal.SIGTERM):
        if signal.getsignal(number) is signal.SIG_DFL:  # nohup ignores SIGHUP
            loop.add_signal_handler(number, end, number)
    return received
