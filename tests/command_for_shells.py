"""A command `paragone` for shells that tests start. The program runs in a fork: see `tests/program_forks.py`."""

import contextlib
import json
import os
import select
import socket
import socketserver
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from tests import program_forks
from tests.cli.conftest import PROGRAM

COMMAND = f"""#!{sys.executable} -IS
import json, os, socket, sys

with socket.socket(socket.AF_UNIX) as connection:
    connection.connect(os.path.join(os.path.dirname(__file__), "socket"))
    request = json.dumps([sys.argv[1:], dict(os.environ)]).encode() + b"\\n"
    connection.sendall(request[socket.send_fds(connection, [request], [0, 1, 2]):])
    sys.exit(int(connection.recv(4)))
"""
"""What a shell starts. The program has its arguments, its environment and its standard streams."""


class _Run(socketserver.BaseRequestHandler):
    """One run of the command, from its request to its exit code. The program is killed when the command is."""

    def handle(self) -> None:
        request, streams, _, _ = socket.recv_fds(self.request, 1 << 16, 3)
        while not request.endswith(b"\n"):
            request += self.request.recv(1 << 16)
        arguments, environment = json.loads(request)
        with program_forks.start(PROGRAM, arguments, *streams, environment=environment) as program:
            for stream in streams:
                os.close(stream)
            while program.poll() is None:
                if select.select([self.request], [], [], 0.05)[0]:
                    program.kill()
                    return
            self.request.sendall(str(program.wait()).encode())


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True  # a test that fails does not wait for its programs


@contextlib.contextmanager
def command_in(folder: Path) -> Iterator[None]:
    """Put the command in a folder. The program runs in the working directory of the test."""
    command = folder / "paragone"
    command.write_text(COMMAND)
    command.chmod(0o755)
    with _Server(str(folder / "socket"), _Run) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.05])
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
