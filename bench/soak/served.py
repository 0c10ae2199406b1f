"""Runs `paragone serve` with clients of several kinds: some read to the end, others disconnect, read nothing or send nonsense."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from random import Random

import psutil

from bench.programs import environment, paragone
from bench.soak.journal import Journal
from bench.soak.numbered_server import request_of, tokens_in
from bench.soak.plan import Shared
from bench.soak.processes import Processes

KEY = "soak-" * 4
_PATIENCE_S = 120.0
"""Seconds that an answer may take: paragone gives up a frozen engine after 20 seconds, and the machine is busy."""
_HEALTH_S = 30.0
_RESTING_S = 5.0
"""Seconds until the next server starts, after one that could not open its engines."""
_NONSENSE = (b"\x16\x03\x01" + bytes(50), b"GET /he", b"POST /v1/completions HTTP/1.1\r\n\r\n{", b"\0" * 1000)


class Served:
    """Runs one server, and acts as all of its clients, in a thread of its own."""

    def __init__(self, shared: Shared, journal: Journal) -> None:
        self.processes: list[psutil.Process] = []
        """The server, while it runs."""
        self._shared = shared
        self._plan = shared.plan
        self._journal = journal
        self._random = Random(f"{self._plan.seed} served")
        self._port = 0
        self._asked = 0

    def run(self) -> None:
        """Serve until the soak ends. A server that cannot open its engines ends by itself, and another server starts."""
        while self._shared.is_running:
            with (self._plan.folder / "served.log").open("ab") as log:
                server = subprocess.Popen(
                    paragone("serve", "server", "worker", "--port", "0"),
                    env={**environment(str(self._plan.home)), "PARAGONE_SERVE_KEY": KEY},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=log,
                )
            with server:
                self._use(server)

    def _use(self, server: subprocess.Popen[bytes]) -> None:
        assert server.stdout is not None
        children = Processes(psutil.Process(server.pid))
        line = server.stdout.readline().decode()
        if listens := "http://" in line:
            self._port = int(line.split("/v1")[0].rsplit(":", 1)[1])
            self.processes = [psutil.Process(server.pid)]
        while listens and self._shared.is_running:
            children.note()
            self._do(self._random.choice(_ACTIONS), children)
            if not self._is_healthy():
                self._journal.found(f"serve did not answer within {_HEALTH_S:.0f} s")
            self._shared.interrupted.wait(self._random.expovariate(1 / self._plan.pause_s))
        self.processes = []
        if listens:
            children.note()
            self._end(server)
        elif server.wait() == 1:
            self._journal.did("could not start serve: the numbered server is gone")
            self._shared.interrupted.wait(max(0.0, min(_RESTING_S, self._shared.until - time.monotonic())))
        else:
            self._journal.found(f"serve did not begin: it ended with the code {server.returncode}")
        for left in children.left():
            self._journal.found(f"serve: a process is left after the program ended: {left}")

    def _do(self, action: Callable[[Served], None], children: Processes) -> None:
        """Perform the action of a client, and record its errors as broken promises.

        Only a client notices that a worker is frozen for good: the client gives up, which ends the worker.
        """
        try:
            action(self)
        except TimeoutError as error:
            if children.any_frozen():
                self._journal.did("gave up waiting for a frozen worker")
            else:
                self._journal.found(f"serve: {action.__name__.replace('_', ' ')}: {error!r}")
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._journal.found(f"serve: {action.__name__.replace('_', ' ')}: {error!r}")

    def _end(self, server: subprocess.Popen[bytes]) -> None:
        server.send_signal(signal.SIGTERM)
        try:
            if code := server.wait(60):
                self._journal.found(f"serve ended with the code {code}")
        except subprocess.TimeoutExpired:
            self._journal.found("serve did not end within a minute")
            server.kill()

    def read_an_answer(self) -> None:
        """Read a whole answer of the numbered server, and check that all tokens arrive in order."""
        text, error, ended = "", None, False
        with contextlib.closing(self._ask("server")) as response:
            for line in response:
                data = line.removeprefix(b"data: ").strip()
                if data == b"[DONE]":
                    ended = True
                elif data:
                    event = json.loads(data)
                    error = event.get("error", error)
                    for choice in event.get("choices", ()):
                        text += choice["delta"].get("content") or ""
        request = request_of(text)
        kept = tokens_in(text, request) if request else 0
        self._journal.did("was served an error" if error else "was served an answer")
        if kept is None or (not error and not (ended and kept == self._plan.tokens)):
            self._journal.found(f"serve passed on another text than the server sent: {text[-200:]!r}")

    def read_an_answer_at_once(self) -> None:
        """Read an answer that does not stream."""
        with contextlib.closing(self._ask("worker", stream=False)) as response:
            answer = json.load(response)
        self._journal.did("was served an error" if "error" in answer else "was served an answer")

    def leave(self) -> None:
        """Disconnect in the middle of an answer."""
        with contextlib.closing(self._ask(self._random.choice(("server", "worker")))) as response:
            for _ in range(self._random.randrange(8)):
                response.readline()
        self._journal.did("left a served answer")

    def read_nothing(self) -> None:
        """Send a request, and read nothing for some seconds."""
        with contextlib.closing(self._ask("worker")):
            self._shared.interrupted.wait(self._random.uniform(1, 4))
        self._journal.did("read nothing of a served answer")

    def send_nonsense(self) -> None:
        """Send bytes that are no request, and disconnect."""
        with socket.create_connection(("127.0.0.1", self._port), _HEALTH_S) as connection:
            connection.sendall(self._random.choice(_NONSENSE))
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1000)
        self._journal.did("sent nonsense to serve")

    def _ask(self, engine: str, *, stream: bool = True) -> http.client.HTTPResponse:
        self._asked += 1
        content = f"serve.{self._asked} why?"
        body = {"model": engine, "stream": stream, "messages": [{"role": "user", "content": content}]}
        body["max_tokens"] = self._plan.tokens
        client = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_PATIENCE_S)
        head = {"authorization": f"Bearer {KEY}", "content-type": "application/json", "connection": "close"}
        client.request("POST", "/v1/chat/completions", json.dumps(body), head)
        return client.getresponse()

    def _is_healthy(self) -> bool:
        end = time.monotonic() + _HEALTH_S
        while time.monotonic() < end:
            client = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_HEALTH_S)
            try:
                client.request("GET", "/health")
                client.getresponse().read()
            except OSError:
                time.sleep(0.5)
            else:
                return True
            finally:
                client.close()
        return False


_ACTIONS: tuple[Callable[[Served], None], ...] = (
    *(Served.read_an_answer,) * 4,
    Served.read_an_answer_at_once,
    *(Served.leave,) * 2,
    Served.read_nothing,
    Served.send_nonsense,
)
