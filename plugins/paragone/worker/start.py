"""The script that the process of an engine runs first: a worker, or a foreign program such as a server.

The application starts the script by its path. The script makes the process end with its parent, and closes the network to the
process. It makes `paragone` and the package of a worker's engine importable, whatever is installed in this interpreter. The
script's syntax is valid in old versions of Python, so that an old interpreter can report its age.
"""

import contextlib
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

PARENT_CHECK_S = 0.5
"""Seconds between two checks whether the parent still runs, on systems whose kernel does not report the parent's end."""


class PackageFinder:
    """An import finder for top-level packages. `folders` has the folder of each package, by name."""

    def __init__(self, folders: "dict[str, str]") -> None:
        self.folders = folders

    def find_spec(self, name: str, path: object = None, target: object = None) -> "ModuleSpec | None":
        """Find a top-level package; the standard finders find its submodules."""
        folder = self.folders.get(name)
        if folder is None:
            return None
        import importlib.util

        return importlib.util.spec_from_file_location(
            name, folder + "/__init__.py", submodule_search_locations=[folder]
        )


def main() -> None:
    """Run a worker or a program.

    Arguments: `start.py FD PARENT open|closed ENGINE FOLDER` or `start.py - PARENT open|closed PROGRAM ARGUMENT…`.
    `open` or `closed` is the network for the process. FOLDER has the engine's package.
    """
    if sys.version_info < (3, 11):  # noqa: UP036 (the user names the interpreter)
        version = ".".join(map(str, sys.version_info[:2]))
        sys.stderr.write("paragone: a worker needs Python 3.11 or newer; this is " + version + ".\n")
        sys.exit(78)  # EX_CONFIG
    pipe, parent, network, command = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4:]
    folders = {"paragone": os.path.dirname(os.path.dirname(os.path.abspath(__file__)))}  # noqa: PTH100, PTH120
    if pipe != "-":
        engine, folder = command
        folders[engine.partition(":")[0].partition(".")[0]] = folder
    del sys.path[0]  # this script's own folder, whose modules must not be top-level modules
    sys.meta_path.insert(0, PackageFinder(folders))
    from paragone.worker.confinement import close_network_if_asked

    if pipe == "-":
        close_network_if_asked(network)
        replace_process_with(command, parent)
    else:
        die_with_parent(parent)
        close_network_if_asked(network)
        from paragone.worker.serve import serve

        serve(int(pipe), engine)


def die_with_parent(parent: int) -> None:
    """Make the kernel kill this process when its parent ends, and let a guard kill its child processes (Linux only).

    This process leads its group. A closed pipe reports the parent's end too, but only to a process that reads from it.

    """
    if sys.platform == "linux":
        import ctypes
        import signal

        with contextlib.suppress(OSError):  # kernels before 5.3 lack pidfd_open
            guard(parent)
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)


def replace_process_with(command: "list[str]", parent: int) -> None:
    """Become a program that ends with its parent, even if the parent is killed."""
    try:
        if sys.platform == "linux":
            die_with_parent(parent)  # remains active when the program replaces this script
            os.execvp(command[0], command)  # noqa: S606
        else:
            supervise(command, parent)
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        sys.exit(126)  # as in shells: found, but not executable


def guard(parent: int) -> None:
    """Start a process that kills the group of this process once this process or `parent` has ended."""
    import select
    import signal

    group = os.getpid()
    watched = [os.pidfd_open(parent), os.pidfd_open(group)]
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        for descriptor in watched:
            os.close(descriptor)
        return
    os.setsid()  # leave the group, to survive its end
    if os.fork():
        os._exit(0)  # the grandchild then belongs to init, and the program need not reap it
    os.closerange(0, min(watched))  # among them the pipes, which must not stay open because of this process
    os.closerange(max(watched) + 1, 1 << 16)
    poll = select.poll()
    for descriptor in watched:
        poll.register(descriptor, select.POLLIN)
    poll.poll()
    with contextlib.suppress(OSError):
        os.killpg(group, signal.SIGKILL)
    os._exit(0)


def supervise(command: "list[str]", parent: int) -> None:
    """Run the program as a child, kill the child when the parent ends, and exit with the child's status."""
    import signal
    import subprocess

    child = subprocess.Popen(command)
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    while True:
        try:
            status = child.wait(PARENT_CHECK_S)
            break
        except subprocess.TimeoutExpired:
            if os.getppid() != parent:
                child.kill()
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    sys.exit(status)


if __name__ == "__main__":
    main()
