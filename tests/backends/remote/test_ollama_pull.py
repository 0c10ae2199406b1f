"""Downloads in Ollama's protocol, with a double for servers that fail or send invalid data."""

import asyncio

import pytest
import pytest_asyncio
from hostile_server import OLLAMA

from paragone import EngineError, InputError, OpenRequest, ParagoneError
from paragone.options import build
from paragone_remote.backend import OllamaBackend
from paragone_remote.endpoint import make_endpoint
from paragone_remote.ollama import pull_command
from paragone_remote.options import DEFAULT_URL, OllamaLoadOptions

LAYER = {"status": "pulling aa", "digest": "aa", "total": 100}


@pytest_asyncio.fixture
async def server(serve):
    return await serve(OLLAMA)


def telling(server, *lines, then=None):
    """Have the server tell this of a download, and do then what a test says."""

    async def pull(exchange):
        assert exchange.request.body["model"] == "tiny"
        await exchange.begin()
        for line in lines:
            await exchange.send(line if isinstance(line, bytes) else exchange.protocol.line(line))
        if then is not None:
            await then(exchange)

    server.replies["/api/pull"] = pull


async def told(server, **options):
    """Return what a download yields, and the error that it ends in, if it does."""
    progress = []
    try:
        async for one in OllamaBackend().pull("tiny", {"url": server.url, **options}):
            progress.append(one)  # noqa: PERF401 (what came before an error counts)
    except ParagoneError as error:
        return progress, error
    return progress, None


def sizes(progress):
    return [(one.done, one.total) for one in progress]


async def test_a_download_reports_its_progress(server):
    telling(
        server,
        {"status": "pulling manifest"},
        LAYER,
        {**LAYER, "completed": 60},
        {"status": "pulling bb\x1b[2J", "digest": "bb", "total": 50, "completed": 50},
        {**LAYER, "digest": "cc", "total": -5, "completed": 5},  # sizes that cannot be
        {**LAYER, "digest": "dd", "total": 10**300, "completed": 10**299},
        {**LAYER, "completed": 101},
        {"status": "success"},
    )
    progress, error = await told(server)
    assert error is None
    assert sizes(progress) == [(0, None), (0, 100), (60, 100), *[(110, 150)] * 3, (150, 150)]
    assert progress[3].status.isprintable()


async def test_cancelling_a_download_closes_the_request(server):
    closed = asyncio.Event()

    async def wait(exchange):
        await exchange.gone()
        closed.set()

    telling(server, LAYER, then=wait)
    stream = OllamaBackend().pull("tiny", {"url": server.url})
    await anext(stream)
    await stream.aclose()
    await closed.wait()


async def test_failed_downloads_are_reported(server):
    where = f"The server at {server.url}"
    full = {"error": "write /models/aa: no space left on device\x1b[2J"}
    for lines, then, message, hint in (
        ((), None, f"{where} ended the download before it was complete.", "Pull the model again"),
        (
            (),
            lambda exchange: exchange.gone(),
            f"{where} reported no progress of the download for 0.3",
            "load_timeout",
        ),
        ((full,), None, f"{where} cancelled the download: write /models/aa: no space", ""),
    ):
        telling(server, LAYER, *lines, then=then)
        progress, error = await told(server, **({"load_timeout": 0.3} if hint == "load_timeout" else {}))
        assert sizes(progress) == [(0, 100)] or hint == "load_timeout"  # a busy machine may be slower
        assert isinstance(error, EngineError)
        assert error.message.startswith(message)
        assert error.message.isprintable()
        assert hint in error.hint
        assert bool(hint) == bool(error.hint)


# How to have a model that is missing


async def missing(server, **options):
    """Return the hint of a server that has not the model `tiny`."""
    server.replies["/api/show"] = lambda exchange: exchange.refuse(404, {"error": "model 'tiny' not found"})
    request = OpenRequest(model="tiny", options={"url": server.url, **options})
    with pytest.raises(InputError) as caught:
        await OllamaBackend().open(request, lambda progress: None)
    return caught.value.hint


async def test_the_error_for_a_missing_model_has_the_command_that_downloads_it(server):
    told = f"To download it: paragone engines pull ollama:tiny@{server.url}"
    assert await missing(server) == f"The server has: m:latest. {told}"
    server.replies["/api/tags"] = {"models": [{"model": "tinny"}]}
    assert await missing(server) == f"Did you mean 'tinny'? {told}"
    server.replies["/api/tags"] = {"models": []}
    assert await missing(server) == f"The server has no models yet. {told}"


async def test_the_pull_command_for_a_server_with_a_key_names_the_engine(server):
    """The key is beside the engine's definition, and the engine is called as the user likes."""
    hint = await missing(server, headers=["X-Title: red"])
    assert hint == "The server has: m:latest. To download it: paragone engines pull ENGINE"


@pytest.mark.parametrize(
    ("options", "model", "expected"),
    [
        ({}, "tiny", "paragone engines pull ollama:tiny"),
        (
            {"url": DEFAULT_URL + "/"},
            "hf.co/me/tiny:Q4_K_M",
            "paragone engines pull ollama:hf.co/me/tiny:Q4_K_M",
        ),
        ({"url": "http://box:9"}, "a; b", "paragone engines pull 'ollama:a; b@http://box:9'"),
        ({"use_proxy": True}, "tiny", "paragone engines pull ENGINE"),
        ({}, "tiny\x1b[2J", None),
    ],
)
async def test_the_pull_command_is_shown(options, model, expected):
    endpoint = await make_endpoint(build(OllamaLoadOptions, options, owner="test"))
    assert pull_command(endpoint, model) == expected
