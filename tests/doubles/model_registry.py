"""A test double of Ollama's model registry, with TLS on a free port of loopback.

It implements the part of registry.ollama.ai that Ollama's servers use: manifests by name and tag, and blobs
by digest. As in the real registry, requests for a blob are redirected to another host, from `localhost` to
`127.0.0.1`, which serves it in ranges. The models come from the models folder of a real Ollama.
"""

import json
import re
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_NAME = r"[\w.-]+"
_MANIFEST = re.compile(rf"/v2/({_NAME})/({_NAME})/manifests/({_NAME})")
_ASKED = re.compile(rf"/v2/{_NAME}/{_NAME}/blobs/sha256:([0-9a-f]{{64}})")
_LYING = re.compile(r"/blobs/sha256:([0-9a-f]{64})")
_RANGE = re.compile(r"bytes=(\d+)-(\d+)")

_PIECE = 2**16


class ModelRegistry(ThreadingHTTPServer):
    """Serves the models of a folder; a context manager."""

    def __init__(self, models, certificate):
        super().__init__(("127.0.0.1", 0), _Handler)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(tls)
        # the thread that handles the request does the handshake
        self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.models = models
        self.requests = []

    def __enter__(self):
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}).start()
        return self

    def __exit__(self, *why):
        self.shutdown()
        self.server_close()  # joins the threads of the requests

    def name(self, model):
        """Return the name of a model of this registry for an Ollama server."""
        return f"localhost:{self.server_port}/library/{model}"

    @property
    def downloads(self):
        """The requests for blobs."""
        return [path for method, path in self.requests if method == "GET" and _LYING.fullmatch(path)]

    def handle_error(self, request, client_address):
        """Ignore failed connections: the tests check for them."""


class _Handler(BaseHTTPRequestHandler):
    server: "ModelRegistry"
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_GET(self):
        wanted = _RANGE.fullmatch(self.headers.get("range", ""))
        begin, last = map(int, wanted.groups()) if wanted else (None, None)
        self.server.requests.append((self.command, self.path))
        if match := _MANIFEST.fullmatch(self.path):
            self._manifest(*match.groups())
        elif match := _ASKED.fullmatch(self.path):
            place = f"https://127.0.0.1:{self.server.server_port}/blobs/sha256:{match[1]}"
            self._reply(307, location=place)
        elif match := _LYING.fullmatch(self.path):
            self._blob(self.server.models / "blobs" / f"sha256-{match[1]}", begin, last)
        else:
            self._reply(404)

    do_HEAD = do_GET

    def log_message(self, *what):
        pass

    def _manifest(self, namespace, model, tag):
        path = self.server.models / "manifests" / "registry.ollama.ai" / namespace / model / tag
        if path.is_file():
            kind = "application/vnd.docker.distribution.manifest.v2+json"
            self._reply(200, path.read_bytes(), content_type=kind)
        else:
            unknown = {"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}
            self._reply(404, json.dumps(unknown).encode(), content_type="application/json")

    def _blob(self, path, begin, last):
        size = path.stat().st_size
        if begin is None:
            self._head(200, content_length=size)
            begin, last = 0, size - 1
        else:
            span = f"bytes {begin}-{last}/{size}"
            self._head(206, content_length=last - begin + 1, content_range=span)
        if self.command == "HEAD":
            return
        with path.open("rb") as file:
            file.seek(begin)
            while piece := file.read(min(_PIECE, last + 1 - file.tell())):
                self.wfile.write(piece)

    def _reply(self, status, body=b"", **headers):
        self._head(status, content_length=len(body), **headers)
        self.wfile.write(body)

    def _head(self, status, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
