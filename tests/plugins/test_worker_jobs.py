"""The worker's jobs other than runs: scores, distributions in shared memory, estimates, vocabularies."""

import asyncio
import contextlib
import gc
import os
import re
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from rogue_backend.plugin import RogueBackend

import paragone
from paragone.worker import protocol as shared
from paragone.worker.client import Worker
from paragone.worker.protocol import VERSION

WORDS = " ".join(f"w{n}" for n in range(5000))


@contextlib.asynccontextmanager
async def opened(model: str = "steady", **options: paragone.Json):
    """Open an engine of the rogue backend, and close it at the end."""
    request = paragone.OpenRequest(model=model, options={"scores": True, **options})
    engine = await RogueBackend().open(request, lambda progress: None)
    assert isinstance(engine, Worker)
    try:
        yield engine
    finally:
        await engine.close()


async def works(engine: paragone.OpenEngine) -> None:
    """Check that the engine is free and answers."""
    request = paragone.RunRequest(
        messages=(paragone.Message(role="user", text="hi"),), sampling={"max_tokens": 2}
    )
    events = [event async for event in engine.run(request)]
    assert isinstance(events[-1], paragone.Finish)
    assert [event.text for event in events if isinstance(event, paragone.Token)] == ["word0 ", "word1 "]


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch):
    """Create shared files in the test's own folders; the value is a function that returns their names."""
    folders = [tmp_path / "memory", tmp_path / "disk"]
    for folder in folders:
        folder.mkdir()
    monkeypatch.setattr(shared, "_IN_MEMORY", folders[0])
    monkeypatch.setattr(tempfile, "tempdir", str(folders[1]))
    return lambda: [path.name for folder in folders for path in folder.glob("paragone-*")]


def ids(count: int) -> tuple[int, ...]:
    return tuple(range(count))


async def rows_of(
    engine: paragone.OpenEngine, request: paragone.DistributionsRequest
) -> list[tuple[float, float]]:
    """Return the first and last number of each row. Checks that rows are consecutive."""
    found: list[tuple[float, float]] = []
    async with contextlib.aclosing(engine.distributions(request)) as blocks:
        async for block in blocks:
            assert block.start == request.start + len(found)
            assert block.data.shape == (block.rows, block.vocab_size)
            assert block.data.format == "f"
            last = block.vocab_size - 1
            found += [(block.data[row, 0], block.data[row, last]) for row in range(block.rows)]
    return found


def expected(start: int, end: int, width: int) -> list[tuple[float, float]]:
    return [(1000.0 * at, 1000.0 * at + width - 1) for at in range(start, end)]


async def test_tokens_and_the_vocabulary_arrive():
    async with opened(vocab_size=7) as engine:
        tokenized = await engine.tokenize(paragone.TokenizeRequest(text="a b c"))
        assert (tokenized.text, tokenized.ids) == ("a b c", (0, 1, 2))
        words = [f"word{n} ".encode() for n in range(7)]
        assert await engine.vocabulary() == paragone.Vocabulary(
            size=7, fingerprint=paragone.fingerprint(words)
        )


async def test_a_score_is_streamed():
    async with opened() as engine:
        events = [event async for event in engine.score(paragone.ScoreRequest(text="one two three"))]
        assert isinstance(events[0], paragone.PromptProgress)
        tokens = [event for event in events if isinstance(event, paragone.Token)]
        assert [(token.text, token.logprob, token.n_bytes) for token in tokens] == [
            ("one", -1.0, 3),
            ("two", -1.0, 3),
            ("three", -1.0, 5),
        ]
        assert isinstance(events[-1], paragone.Finish)
        assert events[-1].reason == "stop"


async def test_a_score_is_stopped_or_abandoned():
    async with opened() as engine:
        events: list[paragone.Event] = []
        async for event in engine.score(paragone.ScoreRequest(text=WORDS)):
            if not events:
                await engine.stop()
            events.append(event)
        assert isinstance(events[-1], paragone.Finish)
        assert events[-1].reason == "cancelled"
        assert len(events) < 5000
        async with contextlib.aclosing(engine.score(paragone.ScoreRequest(text=WORDS))) as left:
            await anext(left)
        await works(engine)


async def test_embeddings_arrive_and_can_be_stopped_or_crash():
    async with opened() as engine:
        found = await engine.embed(paragone.EmbedRequest(texts=("one", "two three")))
        assert found == paragone.Embeddings(vectors=((1.0, -0.5), (2.0, -0.5)), prompt_tokens=3)
        stopped = asyncio.create_task(engine.embed(paragone.EmbedRequest(texts=(WORDS,))))
        await asyncio.sleep(0)
        await engine.stop()
        with pytest.raises(paragone.EngineError, match="was stopped"):
            await stopped
        left = asyncio.create_task(engine.embed(paragone.EmbedRequest(texts=(WORDS,))))
        await asyncio.sleep(0)
        left.cancel()
        await asyncio.wait({left})
        await works(engine)
    async with opened("killed", fails_at=3) as engine:
        with pytest.raises(paragone.EngineCrashed, match="SIGKILL"):
            await engine.embed(paragone.EmbedRequest(texts=(WORDS,)))


async def test_distributions_arrive_completely():
    async with opened(vocab_size=16, rows=4) as engine:
        request = paragone.DistributionsRequest(ids=ids(50), start=3)
        rows, tokenized = await asyncio.gather(  # one job after the other
            rows_of(engine, request), engine.tokenize(paragone.TokenizeRequest(text="a b"))
        )
        assert (rows, tokenized.ids) == (expected(3, 50, 16), (0, 1))
        assert await rows_of(engine, replace(request, start=49)) == expected(49, 50, 16)
        await works(engine)


async def test_a_block_larger_than_a_slot_arrives_in_parts_and_a_row_larger_than_one_is_refused():
    width = shared.SLOT_BYTES // 4 // 3  # three rows fill a slot
    async with opened(vocab_size=width, rows=8) as engine:
        assert await rows_of(engine, paragone.DistributionsRequest(ids=ids(18))) == expected(0, 18, width)
    async with opened(vocab_size=shared.SLOT_BYTES // 4 + 1, rows=1) as engine:
        with pytest.raises(paragone.EngineError, match="too large to send"):
            await rows_of(engine, paragone.DistributionsRequest(ids=ids(2)))
        await works(engine)


async def test_the_worker_waits_for_a_slot_and_does_not_overwrite_blocks_being_read(tmp_path):
    trace = tmp_path / "trace"
    async with opened(vocab_size=16, rows=1, trace=str(trace)) as engine:
        seen = 0
        async with contextlib.aclosing(
            engine.distributions(paragone.DistributionsRequest(ids=ids(20)))
        ) as blocks:
            async for block in blocks:
                seen += 1
                # At most: blocks in all slots but the one being read, and a block that waits for a slot.
                most = min(20, seen + shared.SLOTS)
                while trace.stat().st_size < most:
                    await asyncio.sleep(0.001)
                assert trace.stat().st_size == most
                assert block.data[0, 0] == 1000 * block.start
        assert seen == 20
        async with contextlib.aclosing(
            engine.distributions(paragone.DistributionsRequest(ids=ids(1000)))
        ) as blocks:
            await anext(blocks)
            while trace.stat().st_size < 20 + 1 + shared.SLOTS:
                await asyncio.sleep(0.001)
            await engine.stop()
            assert len([block async for block in blocks]) < shared.SLOTS
        await works(engine)


async def test_distributions_are_abandoned_in_the_middle():
    async with opened(vocab_size=16, rows=1) as engine:
        async with contextlib.aclosing(
            engine.distributions(paragone.DistributionsRequest(ids=ids(1000)))
        ) as blocks:
            await anext(blocks)
        await works(engine)
        task = asyncio.create_task(rows_of(engine, paragone.DistributionsRequest(ids=ids(100_000))))
        while engine._job is None:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await works(engine)


async def test_a_worker_that_crashes_in_the_middle_is_reported(files):
    async with opened("killed", vocab_size=16, rows=1, fails_at=5) as engine:
        got = []
        with pytest.raises(paragone.EngineCrashed, match="SIGKILL"):  # noqa: PT012 (what came before counts)
            async for block in engine.distributions(paragone.DistributionsRequest(ids=ids(20))):
                got.append(block.start)  # noqa: PERF401
        assert got == [0, 1, 2, 3, 4]
        with pytest.raises(paragone.EngineCrashed, match="SIGKILL"):
            await rows_of(engine, paragone.DistributionsRequest(ids=ids(20)))
    assert files() == []


async def test_an_engine_can_be_used_after_an_exception_in_the_middle():
    async with opened("raises", vocab_size=16, rows=1, fails_at=5) as engine:
        with pytest.raises(paragone.EngineError, match="kernel image is unhappy"):
            await rows_of(engine, paragone.DistributionsRequest(ids=ids(20)))
        await works(engine)


async def test_the_shared_file_is_private_and_unlinked_before_use(files):
    buffer = shared.SharedBuffer.create()
    assert Path(buffer.path).stat().st_mode & 0o777 == 0o600
    buffer.unlink()
    buffer.unlink()
    async with opened(vocab_size=16, rows=1) as engine:
        async with contextlib.aclosing(
            engine.distributions(paragone.DistributionsRequest(ids=ids(10)))
        ) as blocks:
            await anext(blocks)
            assert files() == []
        assert files() == []


@pytest.mark.thorough
async def test_the_memory_is_released_with_the_last_block():
    def mapped(pid: int) -> set[str]:
        return {*re.findall(r"paragone-\w+", Path(f"/proc/{pid}/maps").read_text())}

    earlier = mapped(os.getpid())  # what a test before this one has not let go
    async with opened(vocab_size=16, rows=1) as engine:
        async with contextlib.aclosing(
            engine.distributions(paragone.DistributionsRequest(ids=ids(3)))
        ) as blocks:
            block = await anext(blocks)
            assert mapped(os.getpid()) - earlier
        assert block.data[0, 0] == 0  # a block can be read after the stream is closed
        del block, blocks
        gc.collect()
        assert mapped(os.getpid()) <= earlier
        assert not mapped(engine.pid)


async def test_a_file_on_disk_is_used_if_the_memory_file_system_is_full(monkeypatch, files):
    real, asked, room = os.posix_fallocate, [], [False, True]

    def full(descriptor: int, offset: int, size: int) -> None:
        asked.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        if not room.pop(0):
            raise OSError(28, "No space left on device")
        real(descriptor, offset, size)

    async with opened(vocab_size=16) as engine:
        monkeypatch.setattr(os, "posix_fallocate", full)
        assert await rows_of(engine, paragone.DistributionsRequest(ids=ids(10))) == expected(0, 10, 16)
        assert len(set(asked)) == 2
        room = [False, False]
        with pytest.raises(paragone.EngineError, match="cannot be allocated: No space left on device"):
            await rows_of(engine, paragone.DistributionsRequest(ids=ids(10)))
        await works(engine)
    assert files() == []


async def test_an_estimate_is_made_in_a_temporary_worker():
    estimate = await RogueBackend().estimate(paragone.OpenRequest(model="steady", options={"context": 100}))
    assert estimate.context == 100
    assert estimate.devices[0].kv_cache == 1600
    assert estimate.devices[0].needed == (1 << 20) + 1600 + (1 << 16)
    with pytest.raises(paragone.InputError, match="no model 'nonsense'"):
        await RogueBackend().estimate(paragone.OpenRequest(model="nonsense"))
    with pytest.raises(paragone.InputError, match="no option 'contxt' of Rogue"):
        await RogueBackend().estimate(paragone.OpenRequest(model="steady", options={"contxt": 100}))


async def test_a_worker_of_another_version_is_refused_with_one_message(monkeypatch):
    monkeypatch.setattr(shared, "VERSION", VERSION + 1)
    with pytest.raises(paragone.EngineError) as caught:
        await RogueBackend().open(paragone.OpenRequest(model="steady"), lambda progress: None)
    assert caught.value.message == (
        f"The engine's process uses version {VERSION} of the worker protocol, and this paragone uses version {VERSION + 1}."
    )
    assert "Install matching versions of paragone" in caught.value.hint


async def test_errors_keep_their_class():
    async with opened(context=3) as engine:
        request = paragone.RunRequest(messages=(paragone.Message(role="user", text="one two three four"),))
        with pytest.raises(paragone.ContextOverflow) as caught:
            _ = [event async for event in engine.run(request)]
        assert isinstance(caught.value, paragone.ParagoneError)
        assert caught.value.context == 3
