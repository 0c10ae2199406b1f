"""The process of a llama-server: its start, its load progress, and its end."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from paragone import EngineCrashed, EngineError, LoadProgress, OnProgress, WeightsFile
from paragone.crash_causes import WITHOUT_AMX, amx_miscompiled
from paragone.worker.program import ProgramProcess
from paragone_remote.endpoints.endpoint import Endpoint
from paragone_remote.endpoints.endpoint_options import EndpointOptions
from paragone_remote.http.faults import FAULTS
from paragone_remote.http.transport import EndpointClient
from paragone_remote.llama_server.executable.printed import child_environment
from paragone_remote.llama_server.executable.program import LlamaServerProgram
from paragone_remote.llama_server.server_process.listening import Listening
from paragone_remote.llama_server.server_process.server_log import telling_lines

_CRASH_CAUSES = (
    amx_miscompiled(
        "its Intel AMX code",
        f"Compile llama-server again with CFLAGS and CXXFLAGS set to {WITHOUT_AMX}, or use another build: see the "
        "option `program`.",
    ),
)

_POLL_S = 0.05
"""Seconds between two checks whether a server has loaded its model."""


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """A running llama-server."""

    process: ProgramProcess
    endpoint: Endpoint
    listening: Listening
    threads: int
    """Number of CPU threads that the server computes with."""

    @classmethod
    async def start(
        cls,
        program: LlamaServerProgram,
        arguments: Sequence[str],
        listening: Listening,
        *,
        threads: int,
        log: str | None,
        network: bool,
    ) -> ServerProcess:
        """Start a server with these arguments and those of `listening`. Raises EngineError.

        Without `network`, the server may use its Unix socket and no network, which the system enforces if it can.
        """
        key = secrets.token_urlsafe(32)  # with a key, nobody else on this machine can use the server
        endpoint = Endpoint(
            url=f"{listening.origin}/v1",
            shown=f"{listening.origin}/v1",
            origin=listening.origin,
            options=EndpointOptions(),
            headers={"authorization": f"Bearer {key}"},
            socket=listening.socket,
        )
        # Other users cannot read the environment of a process, but can read its arguments.
        environment = {**child_environment(), "LLAMA_API_KEY": key}
        command = [*program.command, *arguments, *listening.arguments]
        process = await ProgramProcess.start(
            command,
            environment,
            log=log,
            causes=_CRASH_CAUSES,
            network=network or listening.socket is None,
        )
        return cls(process, endpoint, listening, threads)

    async def loaded(self, on_progress: OnProgress, weights: Sequence[WeightsFile]) -> None:
        """Wait until the server has loaded these files.

        Raises EngineError or EngineCrashed if the server ends before the files are loaded.
        """
        size = sum(file.size or 0 for file in weights)
        fraction = 0.0
        async with EndpointClient(self.endpoint) as http:
            while not await self._is_ready(http):
                if await self.process.ended(_POLL_S):
                    raise self.error()
                loaded = min(0.99, self._peak_memory() / max(size, 1))
                if loaded > fraction:
                    fraction = loaded
                    on_progress(LoadProgress(fraction=fraction))

    def error(self) -> EngineError:
        """Return the error for the end of the process."""
        error = self.process.error()
        if isinstance(error, EngineCrashed):
            error.log_tail = telling_lines(self.process.output()) or error.log_tail[-1:]
        return error

    async def close(self) -> None:
        """End the server, which frees its memory. May be called more than once."""
        try:
            await self.process.close()
        finally:
            self.listening.release()

    async def _is_ready(self, http: EndpointClient) -> bool:
        try:
            async with asyncio.timeout(self.endpoint.options.connect_timeout):
                reply = await http.get(f"{self.endpoint.origin}/health")
        except (*FAULTS, TimeoutError):
            return False
        return reply.status_code == httpx.codes.OK

    def _peak_memory(self) -> int:
        """Return the server's peak memory in bytes, which includes pages of mapped files; 0 if unknown."""
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text()
        except OSError:
            return 0
        found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
        return 1024 * int(found[1]) if found else 0
