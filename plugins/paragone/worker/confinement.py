"""Test whether the processes of local engines are kept from the network on this machine."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from paragone.network.trial import Confinement
from paragone.worker.child_process.confinement import LAYER

_PATIENCE = 30.0
"""Seconds that the trial may take on a busy machine."""


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
