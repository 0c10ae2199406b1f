"""Downloads by LM Studio, as a test double: the progress, and how a download ends."""

import pytest
from hostile_server import OPENAI
from loading_servers import LlamaSwap, LmStudio

from paragone import InputError, ParagoneError
from paragone_remote import openai_opening as downloading
from paragone_remote.backend import OpenAIBackend
from paragone_remote.endpoint import make_endpoint
from paragone_remote.openai_opening import LlamaSwapLoader, LmStudioLoader, RouterLoader
from paragone_remote.options import OpenAILoadOptions
from paragone_remote.transport import EndpointClient

JOB = {"job_id": "job_1", "status": "downloading", "total_size_bytes": 100, "downloaded_bytes": 0}


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(downloading, "_PAUSE", 0)


async def told(url):
    """Return what a download yields, and the error that it ends in, if it does."""
    progress = []
    try:
        async for one in OpenAIBackend().pull("maker/tiny", {"url": url}):
            progress.append((one.status, one.done, one.total))  # noqa: PERF401 (what came before an error counts)
    except ParagoneError as error:
        return progress, error
    return progress, None


async def test_progress_is_reported_until_the_model_is_downloaded(serve):
    states = [
        JOB,
        {**JOB, "downloaded_bytes": 40},
        {**JOB, "status": "paused"},
        {**JOB, "status": "completed"},
    ]
    server = LmStudio()
    server.downloads[:] = states
    url = (await serve(OPENAI, server.replies)).url
    assert await told(url) == ([("downloading", 0, 100), ("downloading", 40, 100), ("paused", 0, 100)], None)
    assert server.downloaded == ["maker/tiny"]


async def test_an_existing_model_is_not_downloaded(serve):
    assert await told((await serve(OPENAI, LmStudio().replies)).url) == ([], None)


@pytest.mark.parametrize(
    ("states", "message"),
    [
        ([JOB, {**JOB, "status": "failed"}], "the download's status is failed"),
        ([{}], "the download's status is missing"),
        ([{**JOB, "job_id": None}], "does not report the progress"),
        ([{"error": {"message": "Unknown model."}}], "maker/tiny"),
        ([{"status": "failed: sk-thegateways12"}], "the download's status is failed: •••"),
        ([{**JOB, "job_id": "../\ud800"}], "404"),
    ],
)
async def test_a_failed_download_is_reported(serve, states, message):
    server = LmStudio()
    server.downloads = states
    _, error = await told((await serve(OPENAI, server.replies)).url)
    assert message in str(error)


async def nonsense(exchange):
    await exchange.refuse(200, "[" * 200_000)


async def test_a_download_reply_without_json_is_reported(serve):
    url = (await serve(OPENAI, {**LmStudio().replies, "/api/v1/models/download": nonsense})).url
    progress, error = await told(url)
    assert progress == []
    assert f"The server at {url} sent a reply that is not JSON" in str(error)


@pytest.mark.parametrize(
    ("loader", "path"),
    [(LmStudioLoader, "/api/v1/models"), (LlamaSwapLoader, "/running"), (RouterLoader, "/models")],
)
async def test_a_list_reply_without_json_is_reported(serve, loader, path):
    url = (await serve(OPENAI, {path: nonsense})).url
    endpoint = await make_endpoint(OpenAILoadOptions(url=url))
    async with EndpointClient(endpoint) as http:
        with pytest.raises(ParagoneError, match="sent a reply that is not JSON"):
            await loader(http).loaded()


async def test_only_lm_studio_offers_downloads_and_only_on_request(serve):
    server = LmStudio()
    url = (await serve(OPENAI, server.replies)).url
    assert (await OpenAIBackend().endpoint({"url": url})).pulls
    assert server.downloaded == []
    other = (await serve(OPENAI, LlamaSwap().replies)).url
    assert not (await OpenAIBackend().endpoint({"url": other})).pulls
    progress, error = await told(other)
    assert progress == []
    assert isinstance(error, InputError)
    assert "does not download models on request" in error.message
