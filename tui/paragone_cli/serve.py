"""`paragone serve`: serves engines to other programs, with the protocol of OpenAI."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
from typing import TYPE_CHECKING

from paragone import InputError, ParagoneError
from paragone.texts import install_command
from paragone_cli.command_line import INTERRUPTED, event_loop, output
from paragone_cli.command_line.arguments import Arguments
from paragone_cli.command_line.context import CommandContext
from paragone_workbench.runs.scheduler import EnginePool
from paragone_workbench.serving.served_engine import ServedEngines

if TYPE_CHECKING:
    from paragone_workbench.config.settings import ServeSettings
    from paragone_workbench.serving.listening import Server


KEY = "PARAGONE_SERVE_KEY"
"""The environment variable with the key that clients must send."""
SHORTEST_KEY = 16
"""Smallest number of characters of a key."""


def serve(args: Arguments) -> int:
    try:
        from paragone_workbench.serving.listening import address_of, is_private, listen
    except ModuleNotFoundError as error:
        raise InputError(
            f"The server needs the package {error.name}, which is not installed.",
            hint=f"Install it with: {install_command('starlette', 'uvicorn', 'prometheus-client')}",
        ) from error
    context = CommandContext(args)
    definitions = context.engines(args.engines, args.settings)
    with listen(args.host, args.port) as listener:
        key, origin = (None, "none") if args.no_key else _key()
        if args.no_key and not is_private(listener):
            raise InputError(
                f"Without a key, whoever can reach this machine at {address_of(listener)} could use these engines.",
                hint="Omit --no-key, or omit --host, so that only this machine reaches the server.",
            )
        if not is_private(listener):
            output.warn(
                f"Whoever can reach this machine at {address_of(listener)} and knows the key can use these engines. "
                "Requests and answers are not encrypted."
            )
        engines = ServedEngines(EnginePool(context.registry), definitions)
        return event_loop.run(_serve(engines, listener, key, origin, context.config.serve))


async def _serve(
    engines: ServedEngines, listener: socket.socket, key: str | None, origin: str, limits: ServeSettings
) -> int:
    from paragone_workbench.serving.application import application
    from paragone_workbench.serving.listening import Server, address_of

    def started() -> None:
        output.put_line(f"Listening at http://{address_of(listener)}/v1")
        output.put_line(f"Key: {origin}")
        output.flush()

    server = Server(application(engines, key, limits), started)
    work = _Work(engines, server)
    async with event_loop.interruptible(work) as interrupts:
        for number in (signal.SIGHUP, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores SIGHUP
                asyncio.get_running_loop().add_signal_handler(number, interrupts.stop)
        names = ", ".join(engine.name for engine in engines.all)
        output.note(f"Opening {names}.")
        try:
            await engines.open()
        except ParagoneError:
            if interrupts.stopping is None:
                raise
        if interrupts.stopping is None:
            await server.serve([listener])
    return INTERRUPTED if interrupts.interrupted else 0


class _Work:
    """What Ctrl+C ends: the answers in progress, and then the server."""

    def __init__(self, engines: ServedEngines, server: Server) -> None:
        self._engines = engines
        self._server = server

    async def stop(self) -> None:
        self._server.should_exit = True
        await self._engines.stop()

    async def close(self) -> None:
        await self._engines.close()


def _key() -> tuple[str, str]:
    """Return the key that clients must send, and what is printed about it. Raises InputError."""
    key = os.environ.get(KEY, "")
    if not key:
        return (made := secrets.token_urlsafe(24)), made
    if not (key.isascii() and key.isprintable() and key.strip() == key):
        raise InputError(
            f"The key in {KEY} cannot be sent in a header of HTTP.",
            hint="Use letters, digits and signs of ASCII, without blanks around them.",
        )
    if len(key) < SHORTEST_KEY:
        raise InputError(
            f"The key in {KEY} is too short to be safe: it has fewer than {SHORTEST_KEY} characters.",
            hint=f"Use a longer one, or unset {KEY}: then each start makes a key.",
        )
    return key, f"the one in {KEY}"
