"""Failures of a server: each ends soon in an error message, and the streamed text is kept."""

import asyncio
import contextlib
import socket

import pytest
from hostile_server import OPENAI, HostileServer

from paragone import Caution, EngineError, InputError, OpenRequest, ParagoneError
from paragone_remote import options

from .conftest import codes


async def refused_to_open(backend, url, **options):
    with pytest.raises(ParagoneError) as caught:
        await backend.open(OpenRequest(model="m", options={"url": url, **options}), lambda progress: None)
    return caught.value


async def test_a_refused_connection_is_reported(backend, monkeypatch):
    """At every address of a host: `localhost` has 127.0.0.1 and ::1 on most machines."""

    def addresses(host, port, *rest, **more):
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in ("127.0.0.1", "127.0.0.2")
        ]

    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))  # bound and not listening: whoever connects is refused
        url = f"http://two-addresses:{taken.getsockname()[1]}"
        monkeypatch.setattr(socket, "getaddrinfo", addresses)
        error = await refused_to_open(backend, url)
    assert error.message == f"Nothing answers at {url}: the connection was refused."
    assert error.hint == "Is the server running at this address?"


async def test_a_server_silent_from_the_start_times_out(hostile, open_lane):
    hostile.on_chat = lambda exchange: exchange.gone()
    events, error = await (await open_lane(hostile, load_timeout=0.3)).ask()
    assert events == []
    assert "did not answer within 0.3 seconds" in error.message
    assert "load_timeout" in error.hint


async def test_a_stream_that_stops_times_out(hostile, open_lane, text, monkeypatch):
    limits, timeout = [], asyncio.timeout

    def noted(seconds):
        if seconds != 77:
            return timeout(seconds)
        limits.append(timeout(None))
        return limits[-1]

    async def chat(exchange):
        monkeypatch.setattr(asyncio, "timeout", noted)
        await exchange.begin()
        await exchange.say("Once")
        while not limits:  # the engine waits for the next piece
            await asyncio.sleep(0)
        for _ in range(20):  # a piece of text without an end
            await exchange.send(b" ")
        limits[-1].reschedule(asyncio.get_running_loop().time())
        await exchange.gone()

    hostile.on_chat = chat
    events, error = await (await open_lane(hostile, idle_timeout=77)).ask()
    assert text(events) == "Once"
    assert "sent nothing for 77 seconds in the middle of the answer" in error.message


async def test_a_key_is_refused_and_not_shown(hostile, open_lane, monkeypatch):
    monkeypatch.setenv("BOX_KEY", "sk-verysecret")
    hostile.on_chat = lambda exchange: exchange.refuse(500, {"error": "bad key sk-verysecret, go away"})
    lane = await open_lane(hostile, key_env="BOX_KEY")
    assert hostile.requests[0].headers["authorization"] == "Bearer sk-verysecret"
    _, error = await lane.ask()
    assert error.message == f"The server at {hostile.url} failed (500): bad key •••, go away."
    hostile.on_chat = lambda exchange: exchange.refuse(401, {"error": "bad key sk-verysecret"})
    _, error = await lane.ask()
    assert error.message == f"The server at {hostile.url} refused the key (401)."


AMX = "Ollama before 0.32.2"
SAID = "The server at {url} "

REFUSALS = [
    (401, "no", SAID + "requires a key (401).", "key_env"),
    (403, "no", SAID + "requires a key (403).", "key_env"),
    (404, "model 'm' not found", SAID + "has no model 'm'.", ""),
    (500, {"message": "no luck"}, SAID + "failed (500): no luck.", ""),
    (500, "\x1b[31mred\x07 \u202e \u200b\nline", SAID + "failed (500): \N{REPLACEMENT CHARACTER}[31mred", ""),
    (
        400,
        "Incorrect API key provided: sk-thegateways12, at http://u:p@up.example/v1?key=k",
        SAID + "rejected the request (400): Incorrect API key provided: •••, at http://up.example/v1",
        "",
    ),
    *(
        (500, words, f"{SAID}failed (500): {words}.", hint)  # crashes in the words of Ollama
        for words, hint in (
            ("llama runner process has terminated: signal: segmentation fault (core dumped)", AMX),
            (
                "model runner has unexpectedly stopped, this may be due to resource limitations or an internal "
                "error, check ollama server logs for details",
                AMX,
            ),
            ("llama runner process has terminated: signal: killed", "memory ran out"),
            (
                "model requires more system memory (9.1 GiB) than is available (5.0 GiB)",
                "smaller quantization",
            ),
            ("llama runner process has terminated: exit status 2", ""),
        )
    ),
]


async def test_refusals_are_reported_with_a_hint(hostile, open_lane):
    lane = await open_lane(hostile)
    for status, words, message, hint in REFUSALS:
        hostile.on_chat = lambda exchange, status=status, words=words: exchange.refuse(
            status, {"error": words}
        )
        events, error = await lane.ask()
        assert events == []
        assert error.message.startswith(message.format(url=hostile.url))
        assert error.message.isprintable()
        assert "key=k" not in error.message
        assert hint in error.hint
        assert bool(hint) == bool(error.hint)
        assert isinstance(error, InputError) == (status < 500)
    assert len(hostile.chats) == len(REFUSALS), "asked again"


async def test_an_unknown_model_is_refused(backend, hostile):
    hostile.replies["/api/show"] = lambda exchange: exchange.refuse(404, {"error": "model 'x' not found"})
    request = OpenRequest(model="x", options={"url": hostile.url})
    with pytest.raises(InputError) as caught:
        await backend.open(request, lambda progress: None)
    assert caught.value.message == f"The server at {hostile.url} has no model 'x'."
    assert "The server has: m" in caught.value.hint


async def test_a_very_long_list_of_models_is_limited(hostile, backend, protocol):
    """Models are read, and names are compared, up to a number: the screen waits for both."""
    names = [f"{number:04}" for number in range(options.MOST_MODELS)]
    for count, near, hint in (
        (1, "missings", "Did you mean 'missings'?"),
        (4_000, "missings", "The server has: 0000, 0001"),
        (5_000, "missing", "Only the first 5,000 models of its list are read."),
    ):
        listed = [*names[:count], near, near]
        hostile.replies["/api/tags"] = {"models": [{"model": name} for name in listed]}
        hostile.replies["/v1/models"] = {"data": [{"id": name} for name in listed]}
        hostile.replies["/api/show"] = lambda exchange: exchange.refuse(404, {"error": "model not found"})
        request = OpenRequest(model="missing", options={"url": hostile.url})
        with pytest.raises(InputError) as caught:
            await backend.open(request, lambda progress: None)
        assert caught.value.hint.startswith(hint)


async def test_a_loading_server_is_retried_until_load_timeout(hostile, open_lane, pauses, monkeypatch):
    """Neither for days, nor a thousand times a second."""
    monkeypatch.setattr("paragone_remote.faults._SHORTEST_PAUSE", 2)
    lane = await open_lane(hostile, load_timeout=6)
    body = {"error": {"message": "Loading model"}}
    for asked, wanted in (("99999", [6]), ("nan", [1] * 6), ("-1", [2] * 3)):
        hostile.on_chat = lambda exchange, asked=asked: exchange.refuse(503, body, retry_after=asked)
        pauses.clear()
        events, error = await lane.ask()
        assert error.message == f"The server at {hostile.url} is still loading its model (503)."
        assert codes(events) == ["retried"]
        assert pauses == wanted, asked


async def test_a_full_queue_is_retried(hostile, open_lane, pauses):
    body = {"error": "server busy, please try again. maximum pending requests exceeded"}
    hostile.on_chat = lambda exchange: exchange.refuse(503, body, retry_after="0")
    events, error = await (await open_lane(hostile)).ask()
    assert "is too busy (503): server busy, please try again." in error.message
    assert codes(events) == ["retried", "retried"]
    assert len(hostile.chats) == 3
    assert len(pauses) == 2
    hostile.on_chat = lambda exchange: exchange.refuse(503, body, retry_after="3600")
    events, error = await (await open_lane(hostile)).ask()
    assert (events, error.hint) == ([], "The server asks to wait 3600 s.")
    assert (len(hostile.chats), len(pauses)) == (4, 2)


async def test_a_web_page_is_reported(hostile, open_lane):
    page = "<html><body>Log in</body></html>"
    hostile.on_chat = lambda exchange: exchange.refuse(200, page, "text/html; charset=utf-8")
    _, error = await (await open_lane(hostile)).ask()
    assert error.message == f"The server at {hostile.url} sent a web page (HTML)."
    assert "login page" in error.hint


DIED = "llama runner process has terminated: signal: segmentation fault (core dumped)"
KEY = "Incorrect API key provided: sk-thegateways12, at http://u:p@up.example/v1?key=k"
UNREADABLE = (b'{"message": {"cont', b"7", b'{"choices": 3}', b"[" * 100_000)

STREAMS = [
    ("", lambda protocol: protocol.line({"error": "gone"}), SAID + "failed: gone."),
    (
        "",
        lambda protocol: protocol.line({"error": KEY}),
        SAID + "failed: Incorrect API key provided: •••, at",
    ),
    (
        "Once",
        lambda protocol: protocol.line({"error": DIED}),
        f"{SAID}failed in the middle of the answer: {DIED}",
    ),
    (
        "Once",
        lambda protocol: protocol.line(
            {"error": {"code": 500, "message": "Context size has been exceeded."}}
        ),
        SAID + "ran out of context in the middle of the answer.",
    ),
    ("", lambda protocol: protocol.line({"error": "exceed" * 1_000_000}), SAID + "failed: exceedexceed"),
    ("Once", lambda protocol: b"", SAID + "ended the answer before it was complete."),
    ("Once", lambda protocol: protocol.piece(" upon")[:-15], SAID),
    ("Once", lambda protocol: protocol.piece("x" * 10_000_000), SAID + "sent a line of more than 8 MB."),
    *(("Once", lambda protocol, line=line: protocol.raw(line), SAID) for line in UNREADABLE),
]


async def test_streams_that_break_off_keep_the_text(hostile, open_lane, protocol, text):
    lane = await open_lane(hostile)
    for said, last, message in STREAMS:
        parts = (said, last(protocol)) if said else (last(protocol),)
        hostile.on_chat = lambda exchange, parts=parts: exchange.stream(*parts)
        events, error = await lane.ask()
        assert text(events) == said
        assert isinstance(error, EngineError)
        assert error.message.startswith(message.format(url=hostile.url))
        assert "key=k" not in error.message
        assert ("-mno-amx-int8" in error.hint) == (DIED in message)


@pytest.mark.parametrize("protocol", [OPENAI])
async def test_an_error_event_is_the_error_of_the_run(hostile, open_lane, text):
    """The data of the event has no field `error`, and an ordinary end follows it."""
    lane = await open_lane(hostile)
    for data in (b'{"code": 500, "message": "CUDA out of memory"}', b"CUDA out of memory"):
        for said, message in (("", "failed: "), ("Once", "failed in the middle of the answer: ")):
            parts = OPENAI.piece(said), b"event: error\ndata: " + data + b"\n\n", OPENAI.end()
            hostile.on_chat = lambda exchange, parts=parts: exchange.stream(*parts)
            events, error = await lane.ask()
            assert text(events) == said
            assert error.message == f"The server at {hostile.url} {message}CUDA out of memory."


async def test_invalid_text_in_streams_becomes_replacement_characters(hostile, answered, text):
    async def chat(exchange):
        await exchange.begin()
        for said in ("é🙂".encode(), b"\\ud800", b"caf\xe9 \xff\xf0\x9f "):
            for byte in exchange.protocol.piece("QQ").replace(b"QQ", said):
                await exchange.send(bytes([byte]))
        await exchange.send(exchange.protocol.end())

    events = await answered(hostile, chat)
    replaced = "\N{REPLACEMENT CHARACTER}"
    assert text(events).startswith(f"é🙂{replaced}caf{replaced} {replaced}")
    text(events).encode()


async def test_a_lone_surrogate_in_a_prompt_is_refused(hostile, open_lane):
    _, error = await (await open_lane(hostile)).ask("\ud800")
    assert isinstance(error, InputError)
    assert error.message == "The request has half of a surrogate pair, which is not a character."
    assert hostile.chats == []


async def test_unicode_line_separators_do_not_split_events(hostile, open_lane, text):
    """But not in JSON, where it stands in a text like any other; Go writes the first as it is."""

    async def chat(exchange):
        await exchange.begin()
        piece = exchange.protocol.piece(said).decode().encode("ascii")
        plain = piece.decode().replace(f"\\u{ord(sign):04x}", sign).encode()
        assert plain != piece
        for byte in plain:
            await exchange.send(bytes([byte]))
        await exchange.send(exchange.protocol.end())

    hostile.on_chat = chat
    lane = await open_lane(hostile)
    for sign in ("\x85", "\u2028", "\u2029"):
        said = f"é one{sign}two\\{sign}"
        events, error = await lane.ask()
        assert error is None
        assert text(events) == said


async def test_a_byte_order_mark_is_ignored(hostile, open_lane, text):
    """Sent with the text, torn, and alone."""

    async def chat(exchange):
        await exchange.begin(transfer_encoding="chunked")
        data = b"\xef\xbb\xbf" + exchange.protocol.piece("Once") + exchange.protocol.end()
        for part in (data[:cut], data[cut:]) if cut else (data,):
            await exchange.chunk(part)
        await exchange.chunk(b"")

    hostile.on_chat = chat
    lane = await open_lane(hostile)
    for cut in (0, 1, 3):
        events, error = await lane.ask()
        assert error is None
        assert text(events) == "Once", cut


async def test_escape_sequences_in_model_names_are_made_safe(hostile, backend):
    evil = "m\x1b[2J"
    hostile.replies["/api/tags"] = {"models": [{"model": evil, "size": 1}]}
    hostile.replies["/v1/models"] = {"data": [{"id": evil}]}
    report = await backend.endpoint({"url": hostile.url})
    assert report.probe.usable
    (model,) = report.models
    assert model.name.isprintable()
    assert model.model == model.name
    assert "characters" in model.problem


async def test_a_redirect_to_another_host_is_refused(hostile, open_lane, protocol, monkeypatch):
    monkeypatch.setenv("BOX_KEY", "sk-verysecret")
    other = HostileServer(protocol)
    await other.start()
    try:
        target = f"{other.url}{protocol.chat}"
        hostile.on_chat = lambda exchange: exchange.refuse(307, "", location=target)
        _, error = await (await open_lane(hostile, key_env="BOX_KEY")).ask()
    finally:
        await other.stop()
    assert other.requests == []
    assert (
        error.message == f"The server at {hostile.url} redirects to {target} (307). Nothing was sent there."
    )


async def test_a_server_that_fails_while_loading_is_reported(hostile, backend):
    async def die(exchange):
        exchange.reset()

    async def fail(exchange):
        body = {"error": "model requires more system memory (9.9 GiB) than is available (1.0 GiB)"}
        await exchange.refuse(500, body)

    for reply, message in (
        (die, "closed the connection before it answered."),
        (fail, "requires more system memory"),
    ):
        hostile.on_load = hostile.replies["/v1/models"] = reply
        assert message in (await refused_to_open(backend, hostile.url)).message


async def test_cancelling_a_load_closes_the_request(hostile, backend, protocol):
    loading, closed = asyncio.Event(), asyncio.Event()

    async def load(exchange):
        loading.set()
        await exchange.gone()
        closed.set()

    hostile.on_load = load
    hostile.replies["/v1/models"] = load
    opening = asyncio.create_task(
        backend.open(OpenRequest(model="m", options={"url": hostile.url}), lambda progress: None)
    )
    await loading.wait()
    opening.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await opening
    await closed.wait()


@pytest.mark.parametrize("how", ["stop", "close"])
async def test_stopping_and_closing_end_the_request(hostile, open_lane, how):
    begun, closed = asyncio.Event(), asyncio.Event()

    async def chat(exchange):
        await exchange.begin()
        await exchange.say("One", " two")
        begun.set()
        await exchange.gone()
        closed.set()

    hostile.on_chat = chat
    lane = await open_lane(hostile)
    run = asyncio.create_task(lane.ask())
    await begun.wait()
    await getattr(lane.engine, how)()
    events, error = await run
    await closed.wait()
    assert error is None
    assert events[-1].reason == "cancelled"
    if how == "close":
        _, error = await lane.ask()
        assert error.message == "This engine is closed."


async def test_stopping_ends_the_wait_before_a_retry(hostile, open_lane):
    hostile.on_chat = lambda exchange: exchange.refuse(503, {"error": "busy"}, retry_after="15")
    lane = await open_lane(hostile)
    events = []
    async for event in lane.run():
        events.append(event)
        if isinstance(event, Caution):
            asyncio.get_running_loop().call_soon(asyncio.ensure_future, lane.engine.stop())
    assert events[-1].reason == "cancelled"


async def test_a_connection_lost_before_the_first_token_is_retried(hostile, answered, text):
    async def chat(exchange):
        if len(hostile.chats) == 1:
            exchange.reset()
        else:
            await exchange.answer("Here.")

    events = await answered(hostile, chat)
    assert text(events) == "Here."
    assert codes(events) == ["retried"]
