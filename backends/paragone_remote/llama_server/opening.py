"""Open a model in a new llama-server."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from paragone import Caution, InputError, LoadedModel, OnProgress, OpenEngine, OpenRequest, WeightsFile
from paragone.cores import physical_cores
from paragone.gguf.files import check_model, parts
from paragone.gguf.header import Header
from paragone.network.guard import GUARD
from paragone.options import build
from paragone_remote.engine import RemoteModel
from paragone_remote.http.transport import connected
from paragone_remote.llama_server.command_line import command_line
from paragone_remote.llama_server.engine import LlamaServerEngine
from paragone_remote.llama_server.executable.devices import build_of, devices_of
from paragone_remote.llama_server.executable.program import LlamaServerProgram, find_program, with_flags
from paragone_remote.llama_server.llama_server_options import (
    CAPABILITIES,
    LlamaServerLoadOptions,
    with_defaults,
)
from paragone_remote.llama_server.server_process.listening import listen_at
from paragone_remote.llama_server.server_process.process import ServerProcess
from paragone_remote.llama_server.server_process.server_log import draft_problem, facts_in_log
from paragone_remote.llama_server.server_process.sharing import Share, take_share
from paragone_remote.openai_api.embeddings import computes_embeddings
from paragone_remote.openai_api.servers.identity import identity_of
from paragone_remote.openai_api.servers.server import ServerProperties, find_models, identify
from paragone_remote.server_text import lines


async def open_model(request: OpenRequest, on_progress: OnProgress) -> OpenEngine:
    """Open a GGUF file in a new llama-server."""
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
            program,
            arguments,
            listening,
            threads=threads,
            log=request.log,
            network=bool(options.rpc_servers),
        )
        try:
            await process.loaded(on_progress, weights)
            _check_draft(process, options)
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


def _check_draft(process: ServerProcess, options: LlamaServerLoadOptions) -> None:
    """Raise InputError if the server has dropped the draft model, which only the server's log shows."""
    if options.draft_model is not None and (problem := draft_problem(process.process.output())):
        raise InputError(
            f"{Path(options.draft_model).name} cannot be the draft model: {problem}.",
            hint="Take a smaller model of the same family.",
        )


async def _engine(
    share: Share,
    path: Path,
    header: Header,
    program: LlamaServerProgram,
    options: LlamaServerLoadOptions,
    alias: str,
    weights: tuple[WeightsFile, ...],
) -> LlamaServerEngine:
    """Return an engine that uses a share of a server with the loaded model."""
    async with connected(share.server.endpoint) as http:
        listed = await find_models(http)
        server = await identify(http)
        raw = _is_raw(options, header)
        facts = {"server": server.title, "origin": program.name, **server.facts, **await build_of(program)}
        if (parameters := next((info.parameters for info in listed), None)) is not None:
            facts["parameters"] = str(parameters)
        facts |= facts_in_log(share.server.process.output())
        facts |= _facts(options, server, raw=raw, threads=share.server.threads)
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


def _is_raw(options: LlamaServerLoadOptions, header: Header) -> bool:
    """Whether the model continues plain text: it has no chat template, or the options set an empty template."""
    if options.chat_template is not None:
        return not options.chat_template
    return not header.values.get("tokenizer.chat_template")


def _facts(
    options: LlamaServerLoadOptions, server: ServerProperties, *, raw: bool, threads: int
) -> dict[str, str]:
    facts = {"LoRA adapter": "none", "threads": str(threads)}
    if options.lora is not None:
        facts["LoRA adapter"] = f"{Path(options.lora).name}, strength {options.lora_scale:g}"
    if options.draft_model is not None:
        facts["draft model"] = Path(options.draft_model).name
    if server.template and not raw:
        facts["chat template"] = lines(server.template)
    return facts


def _weights(path: Path, options: LlamaServerLoadOptions) -> tuple[WeightsFile, ...]:
    """Return the files to load, the model's files first. Raises InputError if a file cannot be read."""
    others = [
        Path(named) for named in (options.lora, options.mmproj, options.draft_model) if named is not None
    ]
    try:
        return tuple(WeightsFile.of(file) for file in (*parts(path), *others))
    except OSError as error:
        raise InputError(f"{error.filename} cannot be read: {error.strerror}.") from error
