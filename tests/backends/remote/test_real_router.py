"""The real router of llama-server with two models; skipped unless `make llama-server` has built it."""

import asyncio
import contextlib
import json
import re
import threading
import urllib.request

import pytest
import pytest_asyncio

from paragone import OpenRequest, ParagoneError
from paragone_remote import engine as hold
from paragone_remote.backend import OpenAIBackend


@pytest.fixture(scope="module")
def folder(smollm2, tmp_path_factory):
    """Give a folder with the model under two names, and a file that cannot be loaded."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "broken.gguf").write_bytes(b"GGUF")
    for name in ("one", "two"):
        (folder / f"{name}.gguf").symlink_to(smollm2)
    return folder


@pytest.fixture(scope="module")
def router(run_llama_server, folder):
    with run_llama_server("--models-dir", str(folder), "-c", "256", "-np", "1", model=None) as url:
        yield url


def states(url):
    """Ask a server without any of the code under test."""
    with urllib.request.urlopen(f"{url}/models", timeout=60) as reply:
        listed = json.load(reply)["data"]
    return {entry["id"]: entry["status"]["value"] for entry in listed if entry["id"] != "broken"}


async def reached(url, model, state):
    async with asyncio.timeout(60):
        while states(url)[model] != state:
            await asyncio.sleep(0.05)


@contextlib.contextmanager
def counted_loads(url):
    """Give the models that the router loads during the block, as its own events tell them."""
    loads = []
    reply = urllib.request.urlopen(f"{url}/models/sse", timeout=600)

    def listen():
        with contextlib.suppress(OSError, ValueError, AttributeError):
            for line in reply:
                if line.startswith(b"data: "):
                    event = json.loads(line[len(b"data: ") :])
                    changed = event["data"] or {}
                    if changed.get("status") == "loading" and "progress" not in changed:
                        loads.append(event["model"])

    listening = threading.Thread(target=listen, daemon=True)
    listening.start()
    yield loads
    reply.fp.raw._sock.shutdown(2)  # ends the thread's wait
    listening.join(60)
    reply.close()


@pytest_asyncio.fixture
async def opened(router):
    engines = []

    async def open_it(model="one", on_progress=lambda progress: None, url=router):
        opening = OpenRequest(model=model, options={"url": url})
        engines.append(await OpenAIBackend().open(opening, on_progress))
        return engines[-1]

    yield open_it
    for engine in engines:
        await engine.close()
    assert hold._uses == {}


async def test_opening_loads_with_progress_and_closing_unloads(router, opened):
    fractions = []
    with counted_loads(router) as loads:
        engine = await opened(on_progress=lambda progress: fractions.append(progress.fraction))
        assert states(router) == {"one": "loaded", "two": "unloaded"}
        report = await OpenAIBackend().endpoint({"url": router})
        assert report.probe.facts["server"].startswith("llama-server ")
        assert [model.model for model in report.models if model.is_loaded] == ["one"]
        assert engine.loaded.context == 256
        # how the router has started its server, without its address and file
        launched = engine.loaded.facts["launch arguments"]
        assert {"--ctx-size 256", "--threads 1"} <= set(re.split(" (?=--)", launched))
        assert not re.search("--(host|port|model|alias)", launched)
        assert engine.loaded.size is not None
        assert await engine.close() is None
    assert states(router) == {"one": "unloaded", "two": "unloaded"}
    assert loads == ["one"]
    assert len(fractions) > 1
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    with pytest.raises(ParagoneError, match="load"):
        await opened("broken")


async def test_a_load_that_is_cancelled_ends(router, opened):
    opening = asyncio.create_task(opened())
    async with asyncio.timeout(60):
        while states(router)["one"] == "unloaded" and not opening.done():
            await asyncio.sleep(0)
    opening.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await (await opening).close()  # it was loaded before the cancellation
    await reached(router, "one", "unloaded")


async def test_a_router_without_autoload_and_with_room_for_one_model_works(run_llama_server, folder, opened):
    options = (
        "--models-dir",
        str(folder),
        "-c",
        "256",
        "-np",
        "1",
        "--models-max",
        "1",
        "--no-models-autoload",
    )
    with run_llama_server(*options, model=None) as url:
        first = await opened("one", url=url)
        second = await opened("two", url=url)
        (caution,) = [one for one in second.loaded.cautions if one.code == "others-unloaded"]
        assert "To load two," in caution.sentence
        assert "has unloaded one" in caution.sentence
        assert states(url) == {"one": "unloaded", "two": "loaded"}
        assert await second.close() is None
        assert await first.close() is None
        assert set(states(url).values()) == {"unloaded"}
