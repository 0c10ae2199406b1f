"""Test whether the processes of local engines are kept from the network on this machine."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path

from paragone.worker.child_process.confinement import LAYER

_PATIENCE = 30.0
"""Seconds that the trial may take on a busy machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Confinement:
    """The restriction that keeps the processes of local engines from the network, and whether the restriction works."""

    layer: str
    """`seccomp` or `sandbox_init`; empty if paragone knows none for this system."""
    holds: bool
    """Whether the process of the trial could open none of the sockets that reach other machines."""
    reason: str = ""
    """Why the restriction does not work, as a sentence."""


async def try_confinement() -> Confinement:
    """Start a process that closes the network to itself as workers do, and then tries to open sockets."""
    script = Path(__file__).with_name("child_process") / "confinement.py"
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-IS",
            str(script),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        return _failed(f"The trial could not be started: {error.strerror}.")
    try:
        async with asyncio.timeout(_PATIENCE):
            opened, errors = await process.communicate()
    except TimeoutError:
        return _failed(f"The trial gave no answer within {_PATIENCE:g} seconds.")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        last = (errors.decode(errors="replace").strip() or f"exit code {process.returncode}").splitlines()[-1]
        return _failed(f"The system refuses it: {last}.")
    if opened := opened.strip():
        return _failed(f"The trial could open these sockets: {opened.decode()}.")
    return Confinement(layer=LAYER, holds=True)


def _failed(reason: str) -> Confinement:
    return Confinement(layer=LAYER, holds=False, reason=reason)
