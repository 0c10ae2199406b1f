"""`paragone doctor`: shows what this machine can run, and what is missing for the rest."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from paragone import EngineError, InputError, Json, Probe
from paragone.wire import to_json
from paragone.wording import size_text
from paragone_cli.command_line.arguments import PrintArguments, command, word
from paragone_cli.command_line.consent import require_consent_to_config
from paragone_cli.command_line.event_loop import run
from paragone_cli.command_line.formats import not_asked_text, problems_json
from paragone_cli.command_line.output import flush, note, put, put_json, put_line, warn
from paragone_workbench.config.read import load_with_problems
from paragone_workbench.config.state import State
from paragone_workbench.engines.registry import Registry
from paragone_workbench.inventory.doctor import Diagnosis, Machine, diagnose
from paragone_workbench.inventory.doctor import probe as probe_backend
from paragone_workbench.inventory.endpoints import ConfiguredEndpoint
from paragone_workbench.paths import state_file

NAMED = 20
"""Maximum number of models to list per endpoint; `paragone models` lists all models."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DoctorArguments(PrintArguments):
    """The backend to check, or none for a whole diagnosis."""

    backend: str | None = word("BACKEND", "check only this backend, and fail if it cannot be used", nargs="?")


@command(DoctorArguments)
def doctor(args: DoctorArguments) -> int:
    """Print what this machine can run."""
    if args.backend is not None:
        return _check_backend(args.backend, as_json=args.json)
    state = State(state_file())
    if state.warning:
        warn(state.warning)
    registry = Registry(note)
    if args.config is not None:
        require_consent_to_config(args, load_with_problems(args.config, state)[0], state, registry)
    diagnosis = run(_diagnosed(args, state, registry))
    if args.json:
        put_json(_json(diagnosis))
    return 0


async def _diagnosed(args: DoctorArguments, state: State, registry: Registry) -> Diagnosis:
    """Return the whole diagnosis. Unless JSON is wanted, print each part when it is known."""
    known: Diagnosis | None = None
    async for diagnosis in diagnose(args.config, state, registry):
        if not args.json:
            if known is None:
                _print(diagnosis)
            else:
                _print_late(known, diagnosis)
            flush()
        known = diagnosis
    assert known is not None
    return known


def _check_backend(name: str, *, as_json: bool) -> int:
    """Print in one line that a backend works, or why it does not work and what to do. Returns the exit code."""
    if as_json:
        raise InputError("`paragone doctor --json` describes all backends.", hint=f"Leave out {name}.")
    backend = Registry(note).get(name)
    found = run(probe_backend(backend, tell=note))
    if found.usable:
        put_line(f"✓ {name}: {backend.title or name} works")
        return 0
    raise EngineError(found.reason or f"{backend.title or name} cannot be used.", hint=found.remedy)


def _json(diagnosis: Diagnosis) -> dict[str, Json]:
    return {
        "version": diagnosis.version,
        "machine": dataclasses.asdict(diagnosis.machine),
        "backends": [
            {"backend": name, "title": title, **to_json(probe, complete=True)}
            for name, (title, probe) in diagnosis.backends.items()
        ],
        "endpoints": [_endpoint_json(endpoint) for endpoint in diagnosis.endpoints],
        "not_asked": list(diagnosis.not_asked),
        "broken_plugins": [dataclasses.asdict(problem) for problem in diagnosis.broken_plugins],
        "config": problems_json(diagnosis.config, diagnosis.problems, diagnosis.permission_warning),
    }


def _endpoint_json(endpoint: ConfiguredEndpoint) -> dict[str, Json]:
    report = endpoint.report
    return {
        "backend": endpoint.backend,
        "address": report.address,
        "engines": list(endpoint.engines),
        **to_json(report.probe, complete=True),
        "models": [model.model for model in report.models],
        "problems": [
            {"engine": name, "usable": False, "reason": probe.reason, "remedy": probe.remedy}
            for name, probe in endpoint.problems.items()
        ]
        if report.probe.usable
        else [],
    }


def _print(diagnosis: Diagnosis) -> None:
    _print_machine(diagnosis.version, diagnosis.machine)
    put("\nBackends")
    if not diagnosis.backends:
        put("  none: no plugin with a backend is installed, or none has answered yet")
    _print_backends(diagnosis.backends)
    _print_endpoints(diagnosis)
    if diagnosis.broken_plugins:
        put("\nPlugins that cannot be used")
        for broken in diagnosis.broken_plugins:
            put_line(f"  ✗ {broken.plugin} of {broken.package or 'an unknown package'}: {broken.reason}")
    put("\nSettings")
    if diagnosis.problems:
        for problem in diagnosis.problems:
            put_line(f"  ✗ {problem}")
    elif diagnosis.config.exists():
        put_line(f"  ✓ {diagnosis.config}")
    else:
        put_line(f"  {diagnosis.config} does not exist; the defaults are in force")
    if diagnosis.permission_warning:
        put_line(f"  ! {diagnosis.permission_warning}")


def _print_late(known: Diagnosis, diagnosis: Diagnosis) -> None:
    """Print the backends and the servers that a first diagnosis did not have."""
    late = {name: found for name, found in diagnosis.backends.items() if name not in known.backends}
    if late:
        put("\nBackends that took longer")
        _print_backends(late)
    if not (known.endpoints or known.not_asked):
        _print_endpoints(diagnosis)


def _print_backends(backends: Mapping[str, tuple[str, Probe]]) -> None:
    for name, (title, probe) in backends.items():
        _print_probe(f"{name}: {title}", probe)


def _print_endpoints(diagnosis: Diagnosis) -> None:
    if diagnosis.endpoints or diagnosis.not_asked:
        put("\nEndpoints")
    for endpoint in diagnosis.endpoints:
        _print_endpoint(endpoint)
    if diagnosis.not_asked:
        put_line(f"  {not_asked_text(diagnosis.not_asked)}")


def _print_probe(name: str, probe: Probe) -> None:
    put_line(f"  {'✓' if probe.usable else '✗'} {name}")
    for text in (probe.reason, probe.remedy):
        if text:
            put_line(f"      {text}")
    for key, value in probe.facts.items():
        put_line(f"      {key}: {value}")


def _print_endpoint(endpoint: ConfiguredEndpoint) -> None:
    report = endpoint.report
    address = f" at {report.address}" if report.address else ""
    _print_probe(f"{endpoint.backend}{address}, for {', '.join(endpoint.engines)}", report.probe)
    names = [model.name for model in report.models]
    if names:
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        put_line(f"      models: {', '.join(names[:NAMED])}{more}")
    for name, problem in endpoint.problems.items() if report.probe.usable else ():
        put_line(f"      ✗ {name}: {problem.reason} {problem.remedy}")


def _print_machine(version: str, machine: Machine) -> None:
    put_line(f"paragone {version}, {machine.python} ({machine.executable})")
    put("\nMachine")
    put_line(f"  {machine.platform}")
    put(f"  {machine.cores} cores, {machine.threads} threads")
    put(f"  memory {_memory(machine.memory, machine.memory_free)}")
    for gpu in machine.gpus:
        put_line(f"  GPU {gpu.name}: {_memory(gpu.memory, gpu.memory_free)}, driver {gpu.driver}")
    if not machine.gpus:
        put_line(f"  no GPU: {machine.gpu_problem or 'nvidia-smi lists none.'}")
    if machine.confinement.holds:
        put(f"  ✓ local engines have no network ({machine.confinement.layer}; tested)")
    else:
        put_line(f"  ✗ local engines can use the network: {machine.confinement.reason}")
    if machine.offline is not None:
        if machine.offline.holds:
            put(f"  ✓ offline, nothing is contacted ({machine.offline.layer}; tested)")
        else:
            put_line(f"  ✗ offline, but nothing enforces it: {machine.offline.reason}")


def _memory(size: int | None, free: int | None) -> str:
    parts = [size_text(size) or "of unknown size"]
    if free is not None:
        parts.append(f"{size_text(free)} free")
    return ", ".join(parts)
