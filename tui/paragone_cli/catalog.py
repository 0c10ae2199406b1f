"""`paragone engines`: what can be opened, with which options, and downloads."""

import asyncio
import contextlib
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import starmap
from pathlib import Path
from typing import TypeAlias

from paragone import Backend, EngineError, Json, ModelInfo, ParagoneError
from paragone.network import GUARD
from paragone.options import OptionInfo, Options, describe, value_text
from paragone.texts import size_text
from paragone_cli.command_line import event_loop, formats, output
from paragone_cli.command_line.arguments import Arguments
from paragone_cli.command_line.context import CommandContext
from paragone_cli.command_line.next_command import show_next
from paragone_cli.command_line.progress import StatusLine
from paragone_workbench import doctor, models, paths
from paragone_workbench.engines import failures, questions, registry
from paragone_workbench.engines.definitions import (
    ContextOptions,
    EngineDefinition,
    load_and_sampling_options,
    shorten_home,
)
from paragone_workbench.engines.questions import NOTICE_S

_WIDEST = 100


def list_options(args: Arguments) -> int:
    backend = registry.Registry().get(args.backend)
    kinds: dict[str, tuple[str, type[Options]]] = {
        "load": ("Load options, which take effect when a model is opened", backend.load_options),
        "sampling": ("Sampling options, which take effect with each prompt", backend.sampling),
        "context": ("Options of every engine, which take effect with each prompt", ContextOptions),
    }
    found = {name: describe(kind) for name, (_, kind) in kinds.items()}
    if args.json:
        listed = {
            name: [{**_shown(it), "choices": [*it.choices]} for it in infos] for name, infos in found.items()
        }
        output.put_json({"backend": backend.name, **listed})
        return 0
    output.put_line(f"Options of {backend.title}, for [engines.NAME] in config.toml or --set KEY=VALUE")
    width, indent = max(min(output.terminal_width(), _WIDEST), 40), " " * 6
    for name, (heading, _) in kinds.items():
        if found[name]:
            output.put(f"\n{heading}")
        for info in found[name]:
            default = f", default {value_text(info.default)}" if info.default not in (None, []) else ""
            output.put_line(f"  {info.name}: {info.accepted}{default}")
            # names such as llama-server and --no-kv-offload stay whole
            doc = textwrap.fill(output.one_line(info.doc), width - len(indent), break_on_hyphens=False)
            output.put(textwrap.indent(doc, indent))
    return 0


def _shown(option: OptionInfo) -> dict[str, Json]:
    """Return the fields of an option, without those that only its check needs."""
    return {
        name: value for name, value in asdict(option).items() if name not in ("types", "named", "optional")
    }


def list_engines(args: Arguments) -> int:
    context = CommandContext(args)
    definitions = list(context.config.engines.values())
    listed: list[dict[str, Json]] = []
    rows = []
    for it, probe in zip(
        definitions, event_loop.run(doctor.probe_engines(definitions, context.registry)), strict=True
    ):
        # without the options: they may contain secrets
        listed.append(
            {
                "engine": it.name,
                "backend": it.backend,
                "model": it.model,
                "python": it.python,
                "usable": probe.usable,
                "reason": probe.reason,
                "remedy": probe.remedy,
            }
        )
        state = "usable" if probe.usable else f"not usable: {probe.reason} {probe.remedy}"
        rows.append((it.name, it.backend, it.model, state))
    path = context.config.document.path
    sample = "" if path.exists() else "`paragone config init` creates a sample, and "
    nothing = f"No engine is defined in {path}; {sample}`paragone engines models` lists models that need no definition."
    output.put_list({"engines": listed}, rows, nothing, as_json=args.json)
    usable = [str(it["engine"]) for it in listed if it["usable"]]
    show_next(args, "engines list", engine=usable[:1], engines=usable[:2] if len(usable) > 1 else ())
    return 0


_HEADING = ("NAME", "FILE", "QUANTIZATION", "CONTEXT", "ARCHITECTURE", "CAPABILITIES", "LOADED", "ENGINE")


_Answer: TypeAlias = tuple[list[tuple[str, ModelInfo]], list[tuple[str, ParagoneError]]]
"""Models, and the errors of backends and servers that list no models, each with the name of its backend.

A model has the address of its server, unless that is the backend's default server.
"""


def list_models(args: Arguments) -> int:
    context = CommandContext(args)
    folders = context.config.models.folders
    for folder in folders:
        if not (paths.accessible(folder) and Path(folder).is_dir()):
            output.warn(
                f"{folder}, named in {context.config.document.where('models', 'folders')}, is not a folder."
            )
    if args.one_backend is None:
        backends = context.registry.all()
    else:
        backends = {args.one_backend: context.registry.get(args.one_backend)}
    asks = not GUARD.is_offline and (args.one_backend is not None or context.config.network.local_servers)
    (listed, errors), endpoints = event_loop.run(
        _found(backends, folders, context.config.engines.values(), asks_servers=asks, prints=not args.json)
    )
    not_asked = [] if asks else models.servers_not_asked(backends.values(), endpoints)
    if args.json:
        output.put_json(
            {
                "models": [_json(backend, model) for backend, model in listed],
                "not_asked": [*not_asked],
                "problems": [{"backend": name, "error": str(error)} for name, error in errors],
            }
        )
    else:
        if not_asked:
            output.note(formats.not_asked_text(not_asked))
        elif not listed and args.one_backend is not None and not errors:
            registry.name_reached(backends[args.one_backend], args.one_backend, "", {})
            report = event_loop.run(questions.endpoint(backends[args.one_backend], {}))
            if report is not None and not report.probe.usable:  # the backend's default server lists no models
                output.note(f"{report.probe.reason} {report.probe.remedy}".rstrip())
        if not listed and any(backend.capabilities.local for backend in backends.values()):
            searched = ", ".join((*folders, models.USUAL_FOLDER))
            output.note(
                f"No model was found in {searched}, or where other programs keep models; set `folders` under "
                f"[models] in {context.config.document.path}."
            )
    for problem in context.registry.problems if args.one_backend is None else ():
        output.warn(problem.message)
    for _, error in errors:
        output.print_error(error)
    usable = [_spec(backend, model) for backend, model in listed if not model.problem]
    show_next(args, "engines models", engines=usable[:2])
    return 1 if errors else 0


async def _found(
    backends: Mapping[str, Backend],
    folders: Sequence[str],
    engines: Iterable[EngineDefinition],
    *,
    asks_servers: bool,
    prints: bool,
) -> tuple[_Answer, Sequence[models.ConfiguredEndpoint]]:
    """Ask backends and servers for their models. Return each model once, the errors, and the servers of engines.

    With `prints`, print the models. The models of backends and servers that answer quickly are printed first.
    """
    querying = asyncio.create_task(models.query_endpoints(engines, backends.get))
    asked = [
        asyncio.create_task(_models(backend, folders, asks_servers=asks_servers))
        for backend in backends.values()
    ]
    asked.append(asyncio.create_task(_served(querying)))
    quick, _ = await asyncio.wait(asked, timeout=NOTICE_S)
    listed: dict[object, tuple[str, ModelInfo]] = {}
    errors: list[tuple[str, ParagoneError]] = []
    for some in ([task for task in asked if task in quick], [task for task in asked if task not in quick]):
        new: dict[object, tuple[str, ModelInfo]] = {}
        for entries, failed in await asyncio.gather(*some):
            errors += failed
            # a backend lists its default server's models, and so may an engine's server
            for backend, model in entries:
                key = (backend, model.model, model.address and models.normalize_url(model.address))
                if key not in listed:
                    new.setdefault(key, (backend, model))
        if new and prints:
            output.put_table([_HEADING, *starmap(_row, new.values())])
            output.flush()
        listed |= new
    return (list(listed.values()), errors), await querying


async def _served(querying: asyncio.Task[tuple[models.ConfiguredEndpoint, ...]]) -> _Answer:
    listed: list[tuple[str, ModelInfo]] = []
    errors: list[tuple[str, ParagoneError]] = []
    for endpoint in await querying:
        probe = endpoint.report.probe
        if probe.usable:
            served = (replace(model, address=endpoint.url) for model in endpoint.report.models)
            listed += [(endpoint.backend, model) for model in served]
        else:
            message = f"The server of {', '.join(endpoint.engines)} lists no models. {probe.reason}"
            errors.append((endpoint.backend, EngineError(message, hint=probe.remedy)))
    return listed, errors


async def _models(backend: Backend, folders: Sequence[str], *, asks_servers: bool) -> _Answer:
    try:
        found = await models.find_models(backend, folders, asks_servers=asks_servers) or ()
    except ParagoneError as error:
        return [], [(backend.name, error)]
    with contextlib.suppress(ParagoneError):  # the demo is not installed
        found = [*found, *await models.existing_demo_models(backend)]
    return [(backend.name, model) for model in found], []


def _json(backend: str, model: ModelInfo) -> dict[str, Json]:
    return {
        "backend": backend,
        "model": model.model,
        "url": model.address,
        "name": model.name,
        "size": model.size,
        "quantization": model.quantization,
        "context": model.context,
        "architecture": model.architecture,
        "capabilities": list(model.capabilities),
        "loaded": model.is_loaded,
        "problem": model.problem,
    }


def _row(backend: str, model: ModelInfo) -> tuple[str, ...]:
    spec = formats.for_shell(_spec(backend, model))
    return (
        model.name,
        size_text(model.size),
        model.quantization or "",
        "" if model.context is None else str(model.context),
        model.architecture or "",
        ", ".join(model.capabilities),
        "" if model.is_loaded is None else "yes" if model.is_loaded else "no",
        f"{spec} — {model.problem}" if model.problem else spec,
    )


def _spec(backend: str, model: ModelInfo) -> str:
    return f"{backend}:{shorten_home(model.model)}{f'@{model.address}' if model.address else ''}"


def pull(args: Arguments) -> int:
    context = CommandContext(args)
    (definition,) = context.engines([args.engine], [])
    backend = context.registry.get(definition.backend)
    load, _ = load_and_sampling_options(definition, backend)
    registry.name_reached(backend, definition.name, definition.model, load)
    event_loop.run(_follow(backend, definition.model, load))
    output.put_line(f"{definition.model}: the server has the model")
    show_next(args, "engines pull", engine=args.engine)
    return 0


async def _follow(backend: Backend, model: str, options: Mapping[str, Json]) -> None:
    """Run the download and show its progress. Cancelling this coroutine stops the download, if the server can."""
    step: tuple[str, int] | None = None
    with StatusLine() as status:
        try:
            async with contextlib.aclosing(backend.pull(model, options)) as updates:
                async for progress in updates:
                    done, total, text = progress.done, progress.total, progress.status
                    percent = min(max(100 * done // total, 0), 100) if total else 0  # 100 only at the end
                    size = f"{percent}% of {size_text(total)}: " if total else ""
                    before, step = step, (text, percent // 10)
                    if step != before and not status.on:
                        output.note(f"{size}{text}" if total else f"{text} …")
                    if step != before or status.is_due:
                        status.show(f"{formats.bar(percent, 100)} {size}{text}")
        except asyncio.CancelledError:
            status.end()
            output.note(
                "No longer waiting; the server may continue the download, or keep the downloaded part."
            )
            raise
        except Exception as error:
            raise failures.as_paragone_error(error, backend.name) from error
