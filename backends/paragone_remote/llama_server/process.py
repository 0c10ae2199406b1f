"""An open model in a llama-server of its own: its address, its log, its start and end, and the engines that share it."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import re
import secrets
import socket
import stat
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import gettempdir

import httpx

import paragone
from paragone.crash_causes import WITHOUT_AMX, amx_miscompiled
from paragone.gguf import check_model, parts
from paragone.json_values import JsonObject, flag_at
from paragone.network import GUARD
from paragone.options import build
from paragone.threads import physical_cores
from paragone.worker.process import EngineProcess
from paragone_remote import options as remote_options
from paragone_remote.answers import no_template_caution
from paragone_remote.endpoint import Endpoint
from paragone_remote.faults import FAULTS, IncompleteAnswer
from paragone_remote.llama_server import executable
from paragone_remote.openai_engine import OpenAIEngine, computes_embeddings
from paragone_remote.openai_servers import find_models, identify_server, identity_of, read_slots
from paragone_remote.transport import EndpointClient, connected

_LOOPBACK = "127.0.0.1"

_LONGEST = 103 if sys.platform == "darwin" else 107
"""Largest length of a socket's path in bytes: sun_path of sockaddr_un, without the final null byte."""


def listen_at(program: executable.LlamaServerProgram, port: int | None) -> Endpoint:
    """Return the address for a new server, with a new key: other users of this machine cannot use the server.
    The address is `port` on loopback if it is set, else a Unix socket. Raises EngineError, and InputError offline."""
    path = _socket_path() if port is None and "socket" in program.flags.get("--host", "").lower() else None
    origin = "http://llama-server"
    if path is None:
        why = "a llama-server that cannot listen at a Unix socket"
        GUARD.give_network(why if port is None else f"llama-server with port = {port}")
        origin = f"http://{_LOOPBACK}:{_free_port(port or 0)}"
        GUARD.name([origin])
    url, key = f"{origin}/v1", secrets.token_urlsafe(32)
    headers = {"authorization": f"Bearer {key}"}
    options = remote_options.EndpointOptions()
    return Endpoint(
        url=url, shown=url, origin=origin, options=options, headers=headers, secrets=(key,), socket=path
    )


def _socket_path() -> str | None:
    """Return a new path in a folder for the user only; None if there is no such folder with a short path."""
    for folder in filter(None, (os.environ.get("XDG_RUNTIME_DIR"), gettempdir())):
        path = Path(folder, f"paragone-{os.geteuid()}", f"{os.getpid()}-{secrets.token_hex(4)}.sock")
        if len(os.fsencode(path)) <= _LONGEST and _is_private(path.parent):
            return str(path)
    return None


def _free_port(port: int) -> int:
    """Return `port`, or any free port for 0. Raises EngineError if a program listens there: it would pass for the server."""
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # llama-server sets this option too
            probe.bind((_LOOPBACK, port))
            found: int = probe.getsockname()[1]
            return found
    except OSError as error:
        raise paragone.EngineError(
            f"llama-server could not listen: its port is in use ({port}: {error.strerror}).",
            hint="Omit the option port, or choose another port.",
        ) from error


def _is_private(folder: Path) -> bool:
    """Create a folder for the user only, without sockets of killed programs. Returns False if another user owns it."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
            return False
        for left in folder.glob("*.sock"):
            if not _runs(left.name.partition("-")[0]):
                left.unlink(missing_ok=True)
    except OSError:
        return False
    return True


def _runs(process: str) -> bool:
    try:
        with contextlib.suppress(PermissionError):  # a process of another user
            os.kill(int(process), 0)
    except (ProcessLookupError, ValueError, OverflowError):
        return False
    return True


_ATTENTION = r"Flash Attention (?:was auto, set to )?(enabled|disabled)|flash_attn\s+= (enabled|disabled)"

_LEVEL = re.compile(r"[\d.]+ ([A-Z]) ")
"""Matches the beginning of an entry. An entry can have several lines."""

_MOST_LINES = 12


def informative_lines(log: str) -> tuple[str, ...]:
    """Return a log's last lines that are not entries of the level `info`. Output of a library at a crash has no level."""
    kept: list[str] = []
    unmarked: list[str] = []
    for line in log.splitlines():
        if (level := _LEVEL.match(line)) is None:
            unmarked.append(line)
            continue
        unmarked = []  # a line without a level belongs to the entry before it
        if level[1] != "I":
            kept.append(line)
    kept += (line for line in unmarked if line and not line[0].isspace())
    return tuple(line.rstrip() for line in kept[-_MOST_LINES:])


def facts_in_log(log: str) -> dict[str, str]:
    """Return standard facts (`paragone.facts`) in a server's log. Lines about a draft model follow the model's own."""
    facts = {}
    if system := re.search(r"system_info: .*?\|(.*)", log):
        facts["instructions"] = ", ".join(map(remote_options.plain, re.findall(r"(\w+) = 1\b", system[1])))
    if attention := re.search(_ATTENTION, log):
        facts["flash attention"] = "on" if "enabled" in attention[0] else "off"
    if batch := re.search(r"n_ubatch\s+= (\d+)", log):
        facts["batch size"] = batch[1]
    if cache := re.search(r"K \((\w+)\):.*?V \((\w+)\):", log):
        facts["K cache"], facts["V cache"] = cache[1], cache[2]
    if offloaded := re.search(r"offloaded (\d+)/(\d+) layers", log):
        facts["layers on a GPU"] = f"{offloaded[1]} of {offloaded[2]}" if offloaded[1] != "0" else "none"
    elif "load_tensors:" in log:
        facts["layers on a GPU"] = "none"
    return facts


_CRASH_CAUSES = (
    amx_miscompiled(
        "its Intel AMX code",
        f"Compile llama-server again with CFLAGS and CXXFLAGS set to {WITHOUT_AMX}, or use another build: see the "
        "option `program`.",
    ),
)

_POLL_S = 0.05
_END_S = 1.0
"""Seconds to wait for the end of a process whose connection broke, or for the log of a running process."""


_shared: list[LlamaServer] = []
"""The servers with at least one engine."""


@dataclass(eq=False, kw_only=True)
class LlamaServer:
    """A server that will be started, is being started, or runs, with the number of its engines."""

    program: executable.LlamaServerProgram
    arguments: Sequence[str]
    options: remote_options.LlamaServerLoadOptions
    weights: Sequence[paragone.WeightsFile]
    """The files to load."""
    threads: int
    log: str | None
    engines: int = field(default=0, init=False)
    process: EngineProcess = field(init=False)
    endpoint: Endpoint = field(init=False)

    def __post_init__(self) -> None:
        self._key = asyncio.get_running_loop(), self.program.key, self.weights[0].path, self.options
        self._listeners: list[paragone.OnProgress] = []
        self._fraction = 0.0
        self._starting: asyncio.Task[None] | None = None

    @contextlib.asynccontextmanager
    async def shared(self, on_progress: paragone.OnProgress) -> AsyncIterator[LlamaServer]:
        """Yield a loaded server like this one with a free slot, else this server. The end of a server's last block
        ends the server. Raises EngineError, EngineCrashed or InputError."""
        server = next((other for other in _shared if other._key == self._key and other._has_room()), self)
        starting = server._starting = server._starting or asyncio.create_task(server._start())
        if server is self:
            _shared.append(self)
        server.engines += 1
        try:
            server._listeners.append(on_progress)
            try:
                on_progress(paragone.LoadProgress(fraction=server._fraction))
                await asyncio.shield(starting)
            finally:
                server._listeners.remove(on_progress)
            on_progress(paragone.LoadProgress(fraction=1.0))
            yield server
        finally:
            server.engines -= 1
            if not server.engines:
                _shared.remove(server)
                starting.cancel()
                await asyncio.wait([starting])
                if not starting.cancelled() and starting.exception() is None:
                    await server.close()

    def _has_room(self) -> bool:
        if self._starting is None or self.engines >= self.options.n_parallel:
            return False
        if not self._starting.done():
            return True
        failed = self._starting.cancelled() or self._starting.exception() is not None
        return not failed and not self.process.has_ended

    async def _start(self) -> None:
        """Start the server, and wait until it has loaded its files. It can use only its Unix socket, if it needs
        nothing else and the system can enforce this."""
        options = self.options
        if options.rpc_servers:
            GUARD.give_network("llama-server with rpc_servers")
        endpoint = self.endpoint = listen_at(self.program, options.port)
        place = ["--host", endpoint.socket or _LOOPBACK]
        if endpoint.socket is None:
            place += ["--port", endpoint.origin.rpartition(":")[2]]
        # Other users cannot read the environment of a process, but can read its arguments.
        environment = {**executable.child_environment(), "LLAMA_API_KEY": endpoint.secrets[0]}
        self.process = await EngineProcess.start(
            [*self.program.command, *self.arguments, *place],
            environment,
            log=self.log,
            causes=_CRASH_CAUSES,
            network=bool(options.rpc_servers) or endpoint.socket is None,
        )
        try:
            async with EndpointClient(endpoint) as http:
                await self._load(http, sum(file.size or 0 for file in self.weights))
                if options.draft_model is not None:
                    await self._require_drafts(http, Path(options.draft_model).name)
        except BaseException:
            await self.close()
            raise

    async def _load(self, http: EndpointClient, size: int) -> None:
        """Wait until the server has loaded files of `size` bytes. Raises an error if the server ends earlier."""
        while not await self._is_ready(http):
            if await self.process.ended(_POLL_S):
                raise self.error()
            loaded = min(0.99, self._peak_memory() / max(size, 1))
            if loaded > self._fraction:
                self._fraction = loaded
                for listener in self._listeners:
                    listener(paragone.LoadProgress(fraction=loaded))

    async def _require_drafts(self, http: EndpointClient, draft_model: str) -> None:
        """Raise InputError if the server has dropped the draft model: it then runs without one."""
        slots: list[JsonObject] = []
        with contextlib.suppress(*FAULTS, ValueError):  # an older server has no /slots: use its log
            slots = await read_slots(http)
        dropped = any(flag_at(slot, "speculative") is False for slot in slots)
        problem = "llama-server does not use it"
        for _ in range(round(_END_S / _POLL_S)):  # a thread of the server writes the log, perhaps later
            log = self.process.output()
            if re.search(r"draft vocabs are not compatible|vocab.* must match", log):
                problem = "its vocabulary differs"
                break
            if failed := re.search(r"failed to (?:initialize speculative|create draft|load draft).*", log):
                problem = remote_options.plain(failed[0])
                break
            if not dropped:
                return
            await asyncio.sleep(_POLL_S)
        message = f"{draft_model} cannot be the draft model: {problem}."
        raise paragone.InputError(message, hint="Use a smaller model of the same family.")

    def error(self) -> paragone.EngineError:
        error = self.process.error()
        if isinstance(error, paragone.EngineCrashed):
            error.log_tail = informative_lines(self.process.output()) or error.log_tail[-1:]
        return error

    async def close(self) -> None:
        """End the server, which frees its memory. May be called more than once."""
        try:
            await self.process.close()
        finally:
            if self.endpoint.socket is not None:
                with contextlib.suppress(OSError):
                    Path(self.endpoint.socket).unlink(missing_ok=True)

    async def _is_ready(self, http: EndpointClient) -> bool:
        with contextlib.suppress(*FAULTS, TimeoutError):
            async with asyncio.timeout(self.endpoint.options.connect_timeout):
                return (await http.get(f"{self.endpoint.origin}/health")).status_code == httpx.codes.OK
        return False

    def _peak_memory(self) -> int:
        """Return the server's peak memory in bytes, which includes pages of mapped files; 0 if unknown."""
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text()
        except OSError:
            return 0
        found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
        return 1024 * int(found[1]) if found else 0


@dataclass(eq=False, kw_only=True)
class LlamaServerEngine(OpenAIEngine):
    process: LlamaServer
    share: contextlib.AsyncExitStack

    def _settings(
        self, request: paragone.RunRequest, sampling: remote_options.OpenAISampling
    ) -> paragone.RunSettings:
        return dataclasses.replace(super()._settings(request, sampling), threads=self.process.threads)

    async def _explained(self, error: Exception, *, begun: bool) -> paragone.ParagoneError:
        broken = isinstance(error, httpx.TransportError | IncompleteAnswer)
        if broken and await self.process.process.ended(_END_S):
            return self.process.error()
        return await super()._explained(error, begun=begun)

    async def ended(self) -> paragone.ParagoneError:
        await self.process.process.ended()
        return self.process.error()

    async def close(self) -> None:
        await super().close()
        await self.share.aclose()

    def _require_open(self) -> None:
        super()._require_open()
        if self.process.process.has_ended:
            raise self.process.error()


async def open_model(request: paragone.OpenRequest, on_progress: paragone.OnProgress) -> paragone.OpenEngine:
    given = build(remote_options.LlamaServerLoadOptions, request.options, owner="llama-server")
    path = Path(request.model).expanduser().absolute()
    header = await asyncio.to_thread(check_model, path)
    program = await executable.read_program(*executable.find_program(given.program))
    options = remote_options.with_defaults(
        given, await executable.devices_of(program) if given.n_gpu_layers != 0 else ()
    )
    threads = options.n_threads or request.threads or physical_cores()
    alias = path.stem.replace(",", " ")  # llama-server reads a comma as the end of a name
    arguments = executable.command_line(options, program, model=path, alias=alias, threads=threads)
    weights = _weights(path, options)

    like = LlamaServer(
        program=program,
        arguments=arguments,
        options=options,
        weights=weights,
        threads=threads,
        log=request.log,
    )
    async with contextlib.AsyncExitStack() as share:
        process = await share.enter_async_context(like.shared(on_progress))
        http = await share.enter_async_context(connected(process.endpoint))
        listed = await find_models(http)
        server = await identify_server(http)
        # The model continues plain text if it has no chat template, or if the options set an empty one.
        template = options.chat_template
        raw = not (header.values.get("tokenizer.chat_template") if template is None else template)
        parameters = next((info.parameters for info in listed), None)
        name = header.name or path.stem
        facts = {
            "server": server.title,
            "origin": program.name,
            **server.facts,
            **executable.facts_in_version(await executable.printed(program, "--version")),
            **facts_in_log(process.process.output()),
            **_facts_of_options(options, threads),
        }
        if parameters is not None:
            facts["parameters"] = str(parameters)
        if server.template and not raw:
            facts["chat template"] = remote_options.clean_lines(server.template)
        loaded = paragone.LoadedModel(
            name=name,
            context=server.context,
            size=sum(file.size or 0 for file in weights[: len(parts(path))]) or None,
            quantization=header.quantization,
            architecture=header.architecture,
            vision=bool(server.vision) and not raw,
            cautions=(no_template_caution(name),) if raw else (),
            capabilities=replace(
                remote_options.CAPABILITIES, embeddings=await computes_embeddings(http, server, alias)
            ),
            facts=facts,
            weights=weights,
        )
        return LlamaServerEngine(
            http=http,
            model=alias,
            loaded=loaded,
            identity=identity_of(alias, listed, server),
            server=server,
            raw=raw,
            process=process,
            share=share.pop_all(),
        )


def _facts_of_options(options: remote_options.LlamaServerLoadOptions, threads: int) -> dict[str, str]:
    facts = {"LoRA adapter": "none", "threads": str(threads)}
    if options.lora is not None:
        facts["LoRA adapter"] = f"{Path(options.lora).name}, strength {options.lora_scale:g}"
    if options.draft_model is not None:
        facts["draft model"] = Path(options.draft_model).name
    return facts


def _weights(path: Path, options: remote_options.LlamaServerLoadOptions) -> tuple[paragone.WeightsFile, ...]:
    """Return the files to load, the model's files first. Raises InputError if a file cannot be read."""
    others = map(Path, filter(None, (options.lora, options.mmproj, options.draft_model)))
    try:
        return tuple(paragone.WeightsFile.of(file) for file in (*parts(path), *others))
    except OSError as error:
        raise paragone.InputError(f"{error.filename} cannot be read: {error.strerror}.") from error
