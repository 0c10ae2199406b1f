"""Crashes whose cause is known: the error names it, and what to do about it."""

import asyncio
import signal

import pytest
from rogue_backend.plugin import RogueBackend

from paragone import EngineCrashed, EngineError, Message, OpenRequest, ParagoneError, RunRequest, Token
from paragone.crash_causes import COMMON_CAUSES, CrashCause, find_cause

LAST_WORDS = {  # as libraries print or raise them
    "CUDA error: no kernel image is available for execution on the device": "not compiled for this GPU",
    "CUDA error: out of memory": "memory of the GPU",
    "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 9216.00 MiB on device 0: cudaMalloc failed: out of memory": "memory of the GPU",
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.": "memory of the GPU",
    "vk::Device::allocateMemory: ErrorOutOfDeviceMemory": "memory of the GPU",
    "terminate called after throwing an instance of 'std::bad_alloc'": "memory of the machine",
    "ggml_backend_cpu_buffer_type_alloc_buffer: failed to allocate buffer of size 9663676416": "memory of the machine",
    "The engine failed: MemoryError.": "memory of the machine",
}


@pytest.mark.parametrize("words", LAST_WORDS)
def test_messages_of_libraries_have_known_causes(words):
    known = find_cause((), output=words)
    assert known is not None
    assert LAST_WORDS[words] in known.cause
    assert known.cure.endswith(".")
    assert known.cause[0].islower()
    assert not known.cause.endswith(".")


@pytest.mark.parametrize(
    "words",
    [
        "",
        "RuntimeError: the kernel image is unhappy",
        "GGML_ASSERT(n_tokens <= n_batch) failed",
        "llama_kv_cache: allocated 512 MiB of memory on the GPU",
    ],
)
def test_other_messages_have_no_cause(words):
    assert find_cause((), output=words) is None


def test_every_common_cause_is_found_by_its_message_or_signal():
    words = {find_cause((), output=words) for words in LAST_WORDS}
    signals = {find_cause((), output="", number=number) for it in COMMON_CAUSES for number in it.signals}
    assert words | signals == set(COMMON_CAUSES)


def test_the_causes_of_a_backend_take_precedence_over_messages_and_messages_over_signals():
    words = "CUDA error: out of memory"
    common = find_cause((), output=words, number=signal.SIGABRT)
    assert common is not None
    assert "memory of the GPU" in common.cause
    own = CrashCause(cause="mine", signals=(signal.SIGABRT,))
    assert find_cause((own,), output=words, number=signal.SIGABRT) is own
    assert find_cause((own,), output=words) is common


# ── In a real worker, whose engine is a test double that fails on cue ──────────────────────────


async def failure(model: str, log: str | None = None, **options: str) -> ParagoneError:
    engine = await RogueBackend().open(OpenRequest(model=model, options=options, log=log), lambda _: None)
    request = RunRequest(messages=(Message(role="user", text="hi"),), sampling={"at": 1, "max_tokens": 9})
    try:
        async for event in engine.run(request):
            if model == "deaf" and isinstance(event, Token):
                asyncio.get_running_loop().create_task(engine.stop())
    except ParagoneError as error:
        return error
    finally:
        await engine.close()
    raise AssertionError("it did not fail")


async def test_a_known_build_names_the_cause_of_its_backend(tmp_path):
    log = str(tmp_path / "log")
    error = await failure("null", log=log, build="ROGUE = 1")
    assert error.message == "The engine's process was ended by SIGSEGV: it is a rogue."
    assert error.hint == f"Ask it politely. The engine's output is in {log}."
    assert isinstance(error, EngineCrashed)
    assert error.status == -signal.SIGSEGV


async def test_the_last_lines_of_output_name_the_cause_of_an_exit():
    words = "CUDA error: no kernel image is available for execution on the device"
    error = await failure("exit", last_words=words)
    said = (
        "The engine's process ended unexpectedly with exit code 3: its library was not compiled for this GPU."
    )
    assert error.message == said
    assert "compute_cap" in error.hint
    assert isinstance(error, EngineCrashed)
    assert error.log_tail == (words,)


async def test_output_long_before_a_crash_is_not_its_cause():
    error = await failure("abort", build="failed to allocate a cache\n" + "and went on\n" * 20)
    assert error.message == "The engine's process was ended by SIGABRT: Aborted."


async def test_an_exception_with_a_known_cause_gets_a_hint():
    error = await failure("raises", last_words="CUDA error: out of memory")
    assert type(error) is EngineError
    assert "CUDA error" in error.message
    assert "Close other programs that use the GPU" in error.hint


async def test_an_engine_killed_by_the_application_gets_no_crash_cause(monkeypatch):
    monkeypatch.setattr("paragone.worker.client.GRACE", 0)
    error = await failure("deaf", last_words="std::bad_alloc")
    assert "did not stop" in error.message
    assert error.hint == ""


class Dying(RogueBackend):
    engine = "rogue_backend.dying:DyingEngine"


async def test_a_library_that_dies_in_its_self_test_is_not_usable():
    probe = await Dying().probe()
    assert not probe.usable
    assert probe.reason == "The engine's process was ended by SIGSEGV: it is a rogue."
    assert probe.remedy == "Ask it politely."
