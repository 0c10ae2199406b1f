"""Installs plugins as pip would: a module, and a distribution with an entry point."""

from pathlib import Path

BACKEND = """
import asyncio, time
from paragone import Backend, ModelInfo, Probe
from paragone.hooks import hookimpl
from paragone.worker import NativeBackend

class Stranger({base}):
    name = "stranger"
    title = "Stranger"
    api_version = 2

    async def probe(self, python=None):
        return Probe(usable=True)

    {method}

    async def open(self, request, on_progress):
        raise NotImplementedError

@hookimpl
def paragone_backends():
    return [Stranger()]
"""


def with_models(body: str) -> str:
    """Return a plugin whose backend lists its models so."""
    return BACKEND.format(base="Backend", method=f"async def models(self, folders): {body}")


def with_native_models(body: str) -> str:
    """Return a plugin whose backend, with an engine in a worker, searches folders so."""
    return BACKEND.format(base="NativeBackend", method=f"def find_models(self, folders): {body}")


def install(folder: Path, plugin: str, code: str, **points: str) -> None:
    """Install a distribution into a folder, with a module of this code, which is its plugin unless `points` name others."""
    info = folder / f"{plugin}_of_a_stranger-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {plugin}-of-a-stranger\nVersion: 1\n")
    points = points or {plugin: f"{plugin}_of_a_stranger"}
    lines = (f"{name} = {target}\n" for name, target in points.items())
    (info / "entry_points.txt").write_text("[paragone]\n" + "".join(lines))
    (folder / f"{plugin}_of_a_stranger.py").write_text(code)
