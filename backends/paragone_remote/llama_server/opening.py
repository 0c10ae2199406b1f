"""An open model in a llama-server of its own."""

from __future__ import annotations

import asyncio
import dataclasses
from dataclasses import replace
from pathlib import Path

import httpx

from paragone import (
    Caution,
    InputError,
    LoadedModel,
    OnProgress,
    OpenEngine,
    OpenRequest,
    ParagoneError,
    RunRequest,
    RunSettings,
    WeightsFile,
)
from paragone.gguf import Header, check_model, parts
from paragone.network import GUARD
from paragone.options import build
from paragone.threads import physical_cores
from paragone_remote.engine import RemoteModel
from paragone_remote.faults import Fault, IncompleteAnswer
from paragone_remote.llama_server.command_line import command_line
from paragone_remote.llama_server.executable import (
    LlamaServerProgram,
    build_of,
    devices_of,
    find_program,
    with_flags,
)
from paragone_remote.llama_server.process import (
    ServerProcess,
    Share,
    draft_problem,
    facts_in_log,
    listen_at,
    take_share,
)
from paragone_remote.openai_api.engine import OpenAIEngine, computes_embeddings
from paragone_remote.openai_api.requests import RefusedFields
from paragone_remote.openai_api.servers import ServerProperties, find_models, identify, identity_of
from paragone_remote.options import CAPABILITIES, LlamaServerLoadOptions, OpenAISampling, lines, with_defaults
from paragone_remote.transport import connected

_END_S = 1.0
"""Seconds to wait for the end of a process whose connection broke."""


class LlamaServerEngine(OpenAIEngine):
    def __init__(self, model: RemoteModel, share: Share, *, server: ServerProperties, raw: bool) -> None:
        """Create an engine, which owns its share and the HTTP client of the model."""
        super().__init__(model, server=server, raw=raw, refused_fields=RefusedFields())
        self._share = share
        self._server_process = share.server

    def _settings(self, request: RunRequest, sampling: OpenAISampling) -> RunSettings:
        return dataclasses.replace(super()._settings(request, sampling), threads=self._server_process.threads)

    async def _fault(self, error: Exception, *, begun: bool) -> Fault:
        broken = isinstance(error, httpx.TransportError | IncompleteAnswer)
        if broken and await self._server_process.process.ended(_END_S):
            return Fault(self._server_process.error())
        return await super()._fault(error, begun=begun)

    async def ended(self) -> ParagoneError:
        await self._server_process.process.ended()
        return self._server_process.error()

    async def close(self) -> None:
        """End the server, which frees its memory, unless another engine uses the server."""
        await super().close()
        await self._share.release()

    def _require_open(self) -> None:
        """Raise EngineError if the engine is closed, EngineCrashed if the server has ended."""
        super()._require_open()
        if self._server_process.process.has_ended:
            raise self._server_process.error()


async def open_model(request: OpenRequest, on_progress: OnProgress) -> OpenEngine:
    given = build(LlamaServerLoadOptions, request.options, owner="llama-server")
    path = Path(request.model).expanduser().absolute()
    header = await asyncio.to_thread(check_model, path)
    program = await with_flags(*find_program(given.program))
    options = with_defaults(given, await devices_of(program) if given.n_gpu_layers != 0 else ())
    threads = options.n_threads or request.threads or physical_cores()
    alias = path.stem.replace(",", " ")  # llama-server reads a comma as the end of a name
    arguments = command_line(options, program, model=path, alias=alias, threads=threads)
    weights = _weights(path, options)

    async def start(on_progress: OnProgress) -> ServerProcess:
        if options.rpc_servers:
            GUARD.give_network("llama-server with rpc_servers")
        listening = listen_at(program, options.port)
        process = await ServerProcess.start(
            program, arguments, listening, threads=threads, log=request.log, network=bool(options.rpc_servers)
        )
        try:
            await process.loaded(on_progress, weights)
            # Only the server's log shows that the server has dropped the draft model.
            if options.draft_model is not None and (problem := draft_problem(process.process.output())):
                sentence = f"{Path(options.draft_model).name} cannot be the draft model: {problem}."
                raise InputError(sentence, hint="Take a smaller model of the same family.")
        except BaseException:
            await process.close()
            raise
        return process

    share = await take_share((program.key, path, options), options.n_parallel, start, on_progress)
    try:
        return await _engine(share, path, header, program, options, alias, weights)
    except BaseException:
        await share.release()
        raise


async def _engine(
    share: Share,
    path: Path,
    header: Header,
    program: LlamaServerProgram,
    options: LlamaServerLoadOptions,
    alias: str,
    weights: tuple[WeightsFile, ...],
) -> LlamaServerEngine:
    async with connected(share.server.endpoint) as http:
        listed = await find_models(http)
        server = await identify(http)
        # The model continues plain text if it has no chat template, or if the options set an empty one.
        template = options.chat_template
        raw = not (header.values.get("tokenizer.chat_template") if template is None else template)
        facts = {"server": server.title, "origin": program.name, **server.facts, **await build_of(program)}
        if (parameters := next((info.parameters for info in listed), None)) is not None:
            facts["parameters"] = str(parameters)
        facts |= facts_in_log(share.server.process.output())
        facts |= {"LoRA adapter": "none", "threads": str(share.server.threads)}
        if options.lora is not None:
            facts["LoRA adapter"] = f"{Path(options.lora).name}, strength {options.lora_scale:g}"
        if options.draft_model is not None:
            facts["draft model"] = Path(options.draft_model).name
        if server.template and not raw:
            facts["chat template"] = lines(server.template)
        name = header.name or path.stem
        sentence = f"{name} is used without a chat template: it continues the plain text of the messages."
        loaded = LoadedModel(
            name=name,
            context=server.context,
            size=sum(file.size or 0 for file in weights[: len(parts(path))]) or None,
            quantization=header.quantization,
            architecture=header.architecture,
            vision=bool(server.vision) and not raw,
            cautions=(Caution(code="no-chat-template", sentence=sentence),) if raw else (),
            capabilities=replace(CAPABILITIES, embeddings=await computes_embeddings(http, server, alias)),
            facts=facts,
            weights=weights,
        )
        model = RemoteModel(
            http=http, model=alias, loaded=loaded, identity=identity_of(alias, listed, server)
        )
        return LlamaServerEngine(model, share, server=server, raw=raw)


def _weights(path: Path, options: LlamaServerLoadOptions) -> tuple[WeightsFile, ...]:
    """Return the files to load, the model's files first. Raises InputError if a file cannot be read."""
    others = map(Path, filter(None, (options.lora, options.mmproj, options.draft_model)))
    try:
        return tuple(WeightsFile.of(file) for file in (*parts(path), *others))
    except OSError as error:
        raise InputError(f"{error.filename} cannot be read: {error.strerror}.") from error
