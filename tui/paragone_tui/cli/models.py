"""`paragone models`: what could be opened, in folders and at endpoints."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from paragone import Backend, Json, ModelInfo, ParagoneError
from paragone_tui.cli.arguments import Arguments
from paragone_tui.cli.basis import Basis
from paragone_tui.cli.loop import run
from paragone_tui.cli.output import complain, note, put_json, put_table, warn
from paragone_workbench.mistakes import as_told
from paragone_workbench.offers import size_text

__all__ = ["models"]


def models(args: Arguments) -> int:
    """List the models. Returns the exit code."""
    basis = Basis(args)
    basis.warn()
    folders = basis.config.models.folders
    for folder in folders:
        if not Path(folder).is_dir():
            warn(f"{folder}, named in {basis.config.document.where('models', 'folders')}, is no folder.")
    if args.backend is None:
        backends = basis.registry.all()
    else:
        backends = {args.backend: basis.registry.get(args.backend)}
    found = run(_find(backends, folders))
    listed = [
        (name, model)
        for name, answer in found.items()
        if not isinstance(answer, ParagoneError)
        for model in answer
    ]
    errors = {name: answer for name, answer in found.items() if isinstance(answer, ParagoneError)}
    if args.json:
        put_json(
            {
                "models": [_json(name, model) for name, model in listed],
                "problems": [{"backend": name, "error": str(error)} for name, error in errors.items()],
            }
        )
    else:
        _print(listed)
        if not listed and not folders:
            note(f"No folder is searched; name some under [models] in {basis.config.document.path}.")
    for error in errors.values():
        complain(error)
    return 1 if errors else 0


async def _find(
    backends: Mapping[str, Backend], folders: Sequence[str]
) -> dict[str, Sequence[ModelInfo] | ParagoneError]:
    answers = await asyncio.gather(*(_models(backend, folders) for backend in backends.values()))
    return dict(zip(backends, answers, strict=True))


async def _models(backend: Backend, folders: Sequence[str]) -> Sequence[ModelInfo] | ParagoneError:
    try:
        return await backend.models(folders)
    except Exception as error:  # noqa: BLE001 (a plugin's mistake leaves the others' models)
        return as_told(error, backend.name)


def _json(backend: str, model: ModelInfo) -> dict[str, Json]:
    return {
        "backend": backend,
        "model": model.model,
        "name": model.name,
        "size": model.size,
        "quantization": model.quantization,
        "context": model.context,
        "architecture": model.architecture,
        "problem": model.problem,
    }


def _print(listed: Sequence[tuple[str, ModelInfo]]) -> None:
    if listed:
        heading = ("NAME", "SIZE", "QUANTIZATION", "CONTEXT", "ARCHITECTURE", "ENGINE")
        put_table([heading, *(_row(backend, model) for backend, model in listed)])


def _row(backend: str, model: ModelInfo) -> tuple[str, ...]:
    spec = shlex.quote(f"{backend}:{model.model}")
    return (
        model.name,
        size_text(model.size),
        model.quantization or "",
        "" if model.context is None else str(model.context),
        model.architecture or "",
        f"{spec} — {model.problem}" if model.problem else spec,
    )
