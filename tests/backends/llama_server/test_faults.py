"""What can go wrong before a llama-server answers, with the sentence for each.

Doubles of llama-server are shell scripts: they print the help of the real one, and fail instead of serving.
"""

import asyncio
import os
import subprocess

import pytest
from tests.gguf_writer import gguf

from paragone import EngineCrashed, EngineError, InputError
from paragone_remote.backend import LlamaServerBackend


@pytest.fixture(scope="module")
def printed_help(wheel):
    done = subprocess.run([wheel, "--help"], capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


@pytest.fixture
def double(tmp_path, printed_help):
    """Make a double of llama-server with this help, which runs `serve` when it is to serve."""

    def make(serve, *, said=printed_help):
        (tmp_path / "help").write_text(said)
        program = tmp_path / "llama-server-double"
        program.write_text(
            "#!/bin/sh\n"
            f'case "$1" in --help) cat {tmp_path / "help"} ;; --list-devices) ;; *) {serve} ;; esac\n'
        )
        program.chmod(0o755)
        return str(program)

    return make


@pytest.fixture
def damaged(smollm2, tmp_path):
    """Write a copy of the real model, changed by a function."""

    def write(change):
        path = tmp_path / "damaged.gguf"
        path.write_bytes(change(smollm2.read_bytes()))
        return path

    return write


async def fails(open_lane, program, error=InputError, **options):
    with pytest.raises(error) as caught:
        await open_lane(program, **options)
    return caught.value


LIBRARY = (
    "llama-server: error while loading shared libraries: libcudart.so.12: cannot open shared object file: "
    "No such file or directory"
)

PROGRAMS = {
    None: (InputError, "The llama-server {} was not found."),
    "text": (InputError, "The llama-server {} is not an executable file."),
    "#!/bin/sh\nexec ls": (InputError, "{} is not a llama-server"),
    "#!/bin/sh\nexec true": (InputError, "{} is not a llama-server"),
    "#!/bin/sh\nexec cat /nowhere": (InputError, "{} is not a llama-server"),
    "\x7fELF for another machine": (InputError, "{} cannot be started: Exec format error."),
    f"#!/bin/sh\necho '{LIBRARY}' >&2\nexit 127\n": (
        EngineError,
        "{} cannot be started: it needs libcudart.so.12, which was not found.",
    ),
    "#!/bin/sh\nkill -ILL $$\n": (EngineError, "{} was ended by SIGILL"),
}


async def test_programs_other_than_llama_server_are_refused(open_lane, tmp_path):
    for number, (content, (kind, message)) in enumerate(PROGRAMS.items()):
        program = tmp_path / f"llama-server-{number}"
        if content is not None:
            program.write_text(content)
            program.chmod(0o644 if content == "text" else 0o755)
        error = await fails(open_lane, str(program), kind)
        assert error.message.startswith(message.format(program))
        assert error.hint


async def test_a_program_that_is_too_old_is_refused(open_lane, double, printed_help):
    error = await fails(open_lane, double("exit 1", said=printed_help.replace("--api-key ", "--old-key ")))
    assert error.message.endswith("does not know --api-key, which paragone needs.")


async def test_a_server_that_ends_while_loading_is_reported(open_lane, double, tmp_path):
    for line, cause in (
        ("0.01 E ggml_cuda: cudaMalloc failed: out of memory", "the memory of the GPU ran out"),
        ("0.01 E alloc_tensor_range: failed to allocate CPU buffer", "the memory of the machine ran out"),
    ):
        error = await fails(open_lane, double(f"echo '{line}'; exit 1"), EngineCrashed)
        assert error.message.endswith(f"ended unexpectedly with exit code 1: {cause}.")
    serve = "echo 'loading the model'; kill -SEGV $$"
    error = await fails(open_lane, double(serve), EngineCrashed, log=tmp_path / "log")
    assert "SIGSEGV" in error.message
    assert error.log_tail == ("loading the model",)
    assert error.hint == f"The engine's output is in {tmp_path / 'log'}."


async def test_a_truncated_model_is_reported(wheel, open_lane, damaged):
    error = await fails(open_lane, wheel, EngineCrashed, model=damaged(lambda data: data[: len(data) // 2]))
    assert any("not within the file bounds" in line for line in error.log_tail), error.log_tail


async def test_a_foreign_server_at_the_port_gets_no_prompt(wheel, open_lane):
    requests = []

    async def answer(reader, writer):
        """A test double of another user's server: it answers every request that it is ready."""
        requests.append(await reader.readline())
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as other:
        error = await fails(open_lane, wheel, EngineError, port=other.sockets[0].getsockname()[1])
    assert "its port is in use" in error.message
    assert requests == []


async def test_unusable_files_are_refused(wheel, open_lane, smollm2, tmp_path):
    encoder = tmp_path / "encoder.gguf"
    encoder.write_bytes(gguf({"general.architecture": "clip", "general.type": "mmproj"}, []))
    for options, message in (
        ({"model": tmp_path / "none.gguf"}, f"There is no file {tmp_path / 'none.gguf'}."),
        ({"lora": str(smollm2)}, f"lora: {smollm2.name} is not a LoRA adapter."),
        ({"mmproj": str(smollm2)}, f"mmproj: {smollm2.name} is not an image encoder."),
        ({"model": encoder}, "is the image encoder of a model"),
        ({"draft_max": 4}, "'draft_max' is set, but not draft_model"),
        ({"draft_model": str(tmp_path / "none.gguf")}, "cannot be read: No such file"),
    ):
        assert message in (await fails(open_lane, wheel, **options)).message


async def test_forbidden_arguments_are_refused(wheel, open_lane):
    for arguments, message in (
        (["--nosuch"], "does not know --nosuch"),
        (["nosuch"], "is not an argument's name"),
        (["--api-key", "abc"], "has --api-key, whose value would be recorded"),
        (["-hf", "someone/model"], "does not download models"),
        (["--host", "0.0.0.0"], "which paragone sets itself"),
        (["-c", "512"], "has -c"),
    ):
        assert message in (await fails(open_lane, wheel, arguments=arguments)).message


async def test_environment_variables_do_not_change_the_servers_settings(wheel, open_lane, monkeypatch):
    """They would change an engine without a trace in its definition."""
    monkeypatch.setenv("LLAMA_ARG_CTX_SIZE", "256")
    monkeypatch.setenv("LLAMA_API_KEY", "mine")
    lane = await open_lane(wheel)
    assert lane.loaded.context == 1024
    assert "mine" not in lane.engine._endpoint.headers["authorization"]


class TestFinding:
    async def test_a_program_on_path_is_preferred(self, double, tmp_path, monkeypatch):
        os.rename(double("exit 1"), tmp_path / "llama-server")
        monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
        probe = await LlamaServerBackend().probe()
        assert not probe.usable, "this one has no --version"
        assert str(tmp_path / "llama-server") in probe.reason

    async def test_without_a_program_on_path_the_one_in_the_wheel_is_used(self, wheel, monkeypatch):
        monkeypatch.setenv("PATH", "/nowhere")
        probe = await LlamaServerBackend().probe()
        assert probe.usable
        assert probe.facts["program"].startswith("xllamacpp 20")
        assert probe.facts["devices"] == "CPU"

    async def test_without_any_program_the_error_shows_how_to_get_one(self, monkeypatch):
        monkeypatch.setenv("PATH", "/nowhere")
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        probe = await LlamaServerBackend().probe()
        assert (probe.usable, probe.reason) == (False, "No llama-server was found.")
        assert "xllamacpp" in probe.remedy
