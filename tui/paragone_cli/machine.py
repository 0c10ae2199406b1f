"""`paragone config`, `env` and `doctor`: this machine, and how the program is set up."""

import argparse
import contextlib
import dataclasses
import signal
import sys
from collections.abc import Iterator

from paragone import EngineError, InputError, Json, Probe, network, texts, wire
from paragone_cli.command_line import context, event_loop, formats, output
from paragone_cli.command_line.arguments import Arguments
from paragone_cli.command_line.next_command import show_next
from paragone_tui import keys as screen_settings
from paragone_workbench.config.read import init, load_with_problems
from paragone_workbench.config.settings import permission_warning, template_problems
from paragone_workbench.config.state import State
from paragone_workbench.doctor import Diagnosis, diagnose
from paragone_workbench.doctor import probe as probe_backend
from paragone_workbench.engines import environments
from paragone_workbench.engines.registry import Registry
from paragone_workbench.models import ConfiguredEndpoint
from paragone_workbench.paths import config_file, state_file

_ENGINES = "paragone engines 2>/dev/null | cut -d ' ' -f 1"
"""A command for the shell that prints the names of the engines in config.toml."""


def completion(args: Arguments, parser: argparse.ArgumentParser) -> int:
    """Print the script. `parser` has the whole command line."""
    import shtab  # only this command needs shtab

    completed = {"FILE": shtab.FILE, "FOLDER": shtab.DIRECTORY, "PATH": shtab.FILE}
    completed |= dict.fromkeys(("ENGINE", "REFERENCE", "CANDIDATE"), shtab.cmd(_ENGINES))
    for argument in _arguments_of(parser):
        if isinstance(argument.metavar, str) and argument.metavar in completed:
            argument.complete = completed[argument.metavar]  # type: ignore[attr-defined]
    output.put(shtab.complete(parser, shell=args.shell))
    return 0


def _arguments_of(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for argument in parser._actions:
        yield argument
        if isinstance(argument, argparse._SubParsersAction):
            for subparser in argument.choices.values():
                yield from _arguments_of(subparser)


def config_path(args: Arguments, *, create: bool = False) -> int:
    path = init(args.config) if create else args.config or config_file()
    if args.json:
        output.put_json({"file": str(path), "exists": path.exists()})
    else:
        output.put_line(str(path))
        show_next(args, "config init" if create else "config path")
    return 0


def config_check(args: Arguments) -> int:
    path = args.config or config_file()
    state = State(state_file())
    if state.warning:
        output.warn(state.warning)
    registry = Registry()
    settings, found = load_with_problems(args.config, state, registry.get)
    all_found = (*found, *screen_settings.problems(settings), *template_problems(settings))
    problems = sorted(all_found, key=lambda problem: problem.line)
    exposed = permission_warning(settings.document, registry.find)
    if exposed:
        output.warn(exposed)
    if args.json:
        output.put_json(formats.problems_json(path, problems, exposed))
    elif problems:
        for problem in problems:
            output.put_line(str(problem))
    elif path.exists():
        output.put_line(f"{path}: no problems found.")
    else:
        output.put_line(
            f"{path} does not exist; the defaults are active. `paragone config init` creates a sample."
        )
    if problems:
        return 2
    show_next(args, "config check")
    return 0


NAMED = 20
"""Maximum number of models to list per endpoint; `paragone engines models` lists all models."""


def doctor(args: Arguments) -> int:
    if args.one_backend is not None:
        return _check_backend(args.one_backend, as_json=args.json)
    state = State(state_file())
    if state.warning:
        output.warn(state.warning)
    registry = Registry()
    if args.config is not None:
        context.require_consent_to_config(args, load_with_problems(args.config, state)[0], state, registry)
    diagnosis = event_loop.run(_diagnosed(args, state, registry))
    if args.json:
        output.put_json(_json(diagnosis))
    show_next(args, "doctor")
    return 0


async def _diagnosed(args: Arguments, state: State, registry: Registry) -> Diagnosis:
    """Return the whole diagnosis. Unless JSON is wanted, print each part when it is known."""
    known: Diagnosis | None = None
    async for diagnosis in diagnose(args.config, state, registry):
        if not args.json:
            for line in _lines(diagnosis) if known is None else _late_lines(known, diagnosis):
                output.put_line(line)
            output.flush()
        known = diagnosis
    assert known is not None
    return known


def _check_backend(name: str, *, as_json: bool) -> int:
    """Print in one line that a backend works, or why it does not work and what to do. Returns the exit code."""
    if as_json:
        raise InputError("`paragone doctor --json` describes all backends.", hint=f"Leave out {name}.")
    backend = Registry().get(name)
    found = event_loop.run(probe_backend(backend))
    if found.usable:
        output.put_line(f"✓ {name}: {backend.title or name} works")
        return 0
    raise EngineError(found.reason or f"{backend.title or name} cannot be used.", hint=found.remedy)


def _json(diagnosis: Diagnosis) -> dict[str, Json]:
    return {
        "version": diagnosis.version,
        "machine": dataclasses.asdict(diagnosis.machine),
        "backends": [
            {"backend": name, "title": title, **wire.to_json(probe, complete=True)}
            for name, (title, probe) in diagnosis.backends.items()
        ],
        "endpoints": [_endpoint_json(endpoint) for endpoint in diagnosis.endpoints],
        "not_asked": list(diagnosis.not_asked),
        "broken_plugins": [dataclasses.asdict(problem) for problem in diagnosis.broken_plugins],
        "config": formats.problems_json(diagnosis.config, diagnosis.problems, diagnosis.permission_warning),
    }


def _endpoint_json(endpoint: ConfiguredEndpoint) -> dict[str, Json]:
    report = endpoint.report
    return {
        "backend": endpoint.backend,
        "address": report.address,
        "engines": list(endpoint.engines),
        **wire.to_json(report.probe, complete=True),
        "models": [model.model for model in report.models],
        "problems": [
            {"engine": name, "usable": False, "reason": probe.reason, "remedy": probe.remedy}
            for name, probe in endpoint.problems.items()
        ]
        if report.probe.usable
        else [],
    }


def _lines(diagnosis: Diagnosis) -> Iterator[str]:
    machine = diagnosis.machine
    yield f"paragone {diagnosis.version}, {machine.python} ({machine.executable})"
    yield from ("", "Machine", f"  {machine.platform}", f"  {machine.cores} cores, {machine.threads} threads")
    yield f"  memory {_memory(machine.memory, machine.memory_free)}"
    for gpu in machine.gpus:
        yield f"  GPU {gpu.name}: {_memory(gpu.memory, gpu.memory_free)}, driver {gpu.driver}"
    if not machine.gpus:
        yield f"  no GPU: {machine.gpu_problem or 'nvidia-smi lists none.'}"
    if machine.confinement.holds:
        yield f"  ✓ local engines have no network ({machine.confinement.layer}; tested)"
    else:
        yield f"  ✗ local engines can use the network: {machine.confinement.reason}"
    if machine.offline is not None and machine.offline.holds:
        yield f"  ✓ offline, nothing is contacted ({machine.offline.layer}; tested)"
    elif machine.offline is not None:
        yield f"  ✗ offline, but nothing enforces it: {machine.offline.reason}"
    yield from ("", "Backends")
    if not diagnosis.backends:
        yield "  none: no plugin with a backend is installed, or none has answered yet"
    for name, (title, probe) in diagnosis.backends.items():
        yield from _probe_lines(f"{name}: {title}", probe)
    yield from _endpoint_lines(diagnosis)
    if diagnosis.broken_plugins:
        yield from ("", "Plugins that cannot be used")
    for broken in diagnosis.broken_plugins:
        yield f"  ✗ {broken.plugin} of {broken.package or 'an unknown package'}: {broken.reason}"
    yield from ("", "Settings")
    yield from (f"  ✗ {problem}" for problem in diagnosis.problems)
    if not diagnosis.problems and diagnosis.config.exists():
        yield f"  ✓ {diagnosis.config}"
    elif not diagnosis.problems:
        yield f"  {diagnosis.config} does not exist; the defaults are active"
    if diagnosis.permission_warning:
        yield f"  ! {diagnosis.permission_warning}"


def _late_lines(known: Diagnosis, diagnosis: Diagnosis) -> Iterator[str]:
    late = {name: found for name, found in diagnosis.backends.items() if name not in known.backends}
    if late:
        yield from ("", "Backends that took longer")
    for name, (title, probe) in late.items():
        yield from _probe_lines(f"{name}: {title}", probe)
    if not (known.endpoints or known.not_asked):
        yield from _endpoint_lines(diagnosis)


def _endpoint_lines(diagnosis: Diagnosis) -> Iterator[str]:
    if diagnosis.endpoints or diagnosis.not_asked:
        yield from ("", "Endpoints")
    for endpoint in diagnosis.endpoints:
        report = endpoint.report
        address = f" at {report.address}" if report.address else ""
        yield from _probe_lines(
            f"{endpoint.backend}{address}, for {', '.join(endpoint.engines)}", report.probe
        )
        if names := [model.name for model in report.models]:
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            yield f"      models: {', '.join(names[:NAMED])}{more}"
        for name, problem in endpoint.problems.items() if report.probe.usable else ():
            yield f"      ✗ {name}: {problem.reason} {problem.remedy}"
    if diagnosis.not_asked:
        yield f"  {formats.not_asked_text(diagnosis.not_asked)}"


def _probe_lines(name: str, probe: Probe) -> Iterator[str]:
    yield f"  {'✓' if probe.usable else '✗'} {name}"
    yield from (f"      {text}" for text in (probe.reason, probe.remedy) if text)
    yield from (f"      {key}: {value}" for key, value in probe.facts.items())


def _memory(size: int | None, free: int | None) -> str:
    parts = [texts.size_text(size) or "of unknown size"]
    if free is not None:
        parts.append(f"{texts.size_text(free)} free")
    return ", ".join(parts)


def env_remove(args: Arguments) -> int:
    freed = environments.remove(args.backend)  # the backend need not be installed
    output.put(f"{output.one_line(args.backend)}: removed, {texts.size_text(freed)} freed")
    return 0


def env_check(args: Arguments) -> int:
    backend = Registry().get(args.backend)
    with _cancelling():
        environments.check(backend)
    output.put(f"{backend.name}: the environment works")
    show_next(args, "env check", backend=backend.name)
    return 0


def env_create(args: Arguments) -> int:
    """Create an environment, once the user has agreed. Returns the exit code."""
    backend = Registry().get(args.backend)
    if network.GUARD.is_offline and not args.find_links:
        raise InputError(
            "paragone is offline, and an environment is made of packages from the network.",
            hint=f"{network.ONLINE_HINT} Or name a folder of wheels with --find-links.",
        )
    plan = environments.plan(backend, cuda=args.cuda, python=args.python, find_links=args.find_links)
    build, size = plan.build, texts.size_text
    replaces = ", replacing the existing one" if plan.folder.exists() else ""
    output.note(f"Environment for {backend.title}, CUDA {build.cuda}, with Python {plan.python}:")
    for row in (
        f"  packages  {', '.join(environments.packages(build))}",
        f"  download  {f'from {plan.find_links}' if plan.find_links else f'about {size(build.download)}'}",
        f"  disk      about {size(build.disk)}; {size(plan.free)} are free",
        f"  folder    {plan.folder}{replaces}",
    ):
        print(output.one_line(row), file=sys.stderr)
    if plan.warning:
        output.warn(plan.warning)
    if not args.yes:
        output.require_answer()
        if not output.confirmed("Create it?"):
            output.note("Nothing was created.")
            return 1
    with _cancelling():
        environments.create(plan)
    output.put(f"{backend.name}: created; its engines run in it unless they set another `python`")
    show_next(args, "env create", backend=backend.name)
    return 0


@contextlib.contextmanager
def _cancelling() -> Iterator[None]:
    """Let SIGINT, SIGTERM and SIGHUP end the block, which ends its programs and deletes what is unfinished."""

    def cancel(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    # nohup ignores SIGHUP
    numbers = [
        it for it in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM) if signal.getsignal(it) != signal.SIG_IGN
    ]
    before = {number: signal.signal(number, cancel) for number in numbers}
    try:
        yield
    except SystemExit:
        output.note("Cancelled; nothing unfinished is left.")
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def env_list(args: Arguments) -> int:
    listed: list[Json] = []
    rows = []
    for it in environments.list_installed(Registry().all()):
        listed.append(
            {
                "backend": it.name,
                "folder": str(it.folder),
                "whole": it.complete,
                "outdated": it.outdated,
                "cuda": it.cuda or None,
                "size": it.size,
            }
        )
        state = "outdated" if it.outdated else "complete" if it.complete else "incomplete"
        cuda = f"CUDA {it.cuda}" if it.cuda else ""
        rows.append((it.name, texts.size_text(it.size), cuda, state, str(it.folder)))
    nothing = "There are no environments; `paragone env create BACKEND` creates one."
    output.put_list({"environments": listed}, rows, nothing, as_json=args.json)
    return 0
