"""The conformance suite, with a test double of a server: it answers with words until max_tokens."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from paragone_chat import ChatBackend

from paragone import OpenRequest
from paragone.testing import BackendConformance


class Server(BaseHTTPRequestHandler):
    def do_GET(self):
        self.reply(json.dumps({"data": [{"id": "words"}]}))

    def do_POST(self):
        limit = json.loads(self.rfile.read(int(self.headers["content-length"])))["max_tokens"]
        self.reply()
        for count in range(limit):
            reason = "length" if count + 1 == limit else None
            choice = {"delta": {"content": "word "}, "finish_reason": reason}
            self.wfile.write(f"data: {json.dumps({'choices': [choice]})}\n\n".encode())
            time.sleep(0.001)

    def reply(self, body=""):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *words):
        pass


@pytest.fixture(scope="module")
def url():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, args=(0.01,)).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


class TestChat(BackendConformance):
    @pytest.fixture
    def backend(self):
        return ChatBackend()

    @pytest.fixture
    def opening(self, url):
        return OpenRequest(model="words", options={"url": url})
