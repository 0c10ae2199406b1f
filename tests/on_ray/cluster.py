"""A real Ray cluster of two nodes on loopback, whose parts can be killed."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

PATIENCE = 240.0
"""Seconds that starting a node, or a suite, may take on a busy machine."""


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


class Node:
    """A node: `ray start --block`, and all processes below it."""

    def __init__(self, folder: Path, *options: str) -> None:
        variables = {
            **os.environ,
            "HOME": str(folder),
            "RAY_USAGE_STATS_ENABLED": "0",
            **{f"XDG_{name}_HOME": str(folder / name) for name in ("CONFIG", "DATA", "CACHE", "STATE")},
        }
        self._log = (folder / "node.log").open("ab")
        command = [
            str(Path(sys.executable).with_name("ray")),
            "start",
            "--block",
            "--node-ip-address=127.0.0.1",
        ]
        small = ["--num-cpus=1", "--object-store-memory=80000000", "--disable-usage-stats"]
        self._process = subprocess.Popen(
            [*command, *small, *options], env=variables, stdout=self._log, stderr=self._log, cwd=folder
        )

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def processes(self) -> list[psutil.Process]:
        try:
            own = psutil.Process(self._process.pid)
            return [own, *own.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def actors(self) -> list[psutil.Process]:
        """The processes that hold an engine."""
        found = []
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                if "".join(process.cmdline()[:1]).startswith(
                    "ray::EngineActor"
                ):  # a process that ends has no words
                    found.append(process)
        return found

    def kill(self) -> None:
        """Kill all processes together, as a power cut does."""
        processes = self.processes()
        for process in processes:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(processes, timeout=PATIENCE)
        self._process.wait()
        self._log.close()


class Cluster:
    """A head and a second node, with a CPU each."""

    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self._folder = folder
        self.nodes: list[Node] = []

    def start(self) -> None:
        port = self.address.rpartition(":")[2]
        self._add("--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={self._folder}/ray")
        self.add()

    def add(self) -> Node:
        """Add a node, and wait until it can be used."""
        return self._add(f"--address={self.address}")

    def _add(self, *options: str) -> Node:
        """Start a node. Ray gives up after 30 seconds, which may be too few on a busy machine: then start it again."""
        wanted = len(self.nodes) + 1
        for _ in range(5):
            node = Node(self._folder, *options)
            self.nodes.append(node)
            self._wait(node, wanted)
            if node.is_running:
                return node
            self.nodes.remove(node)
            node.kill()
        raise AssertionError(f"a node does not start: {(self._folder / 'node.log').read_text()[-2000:]}")

    def _wait(self, node: Node, wanted: int) -> None:
        until(lambda: self.alive() == wanted or not node.is_running, "a node neither starts nor fails")

    def alive(self) -> int:
        """Number of nodes that the head knows as alive."""
        from ray._raylet import GcsClient

        with contextlib.suppress(Exception):
            infos = GcsClient(address=self.address).get_all_node_info()
            return sum(info.state == 0 for info in infos.values())
        return 0

    def kill(self) -> None:
        for node in reversed(self.nodes):
            node.kill()


@contextlib.contextmanager
def running_cluster() -> Iterator[Cluster]:
    """A cluster in a folder with a short name: Ray's sockets have at most 107 characters."""
    folder = Path(tempfile.mkdtemp(prefix="r", dir="/tmp"))
    cluster = Cluster(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.kill()
        shutil.rmtree(folder, ignore_errors=True)
