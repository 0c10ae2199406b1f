"""The script that starts a foreign program as an engine's process. The application starts the script by its path.

The program ends with the application, even if the application is killed.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys

TYPE_CHECKING = False
if TYPE_CHECKING or __name__ != "__main__":
    from paragone.worker.child_process.bootstrap import die_with_parent
    from paragone.worker.child_process.confinement import close_network_if
else:
    from bootstrap import die_with_parent  # sys.path begins with this script's own folder
    from confinement import close_network_if

PARENT_CHECK_S = 0.5
"""Seconds between two checks whether the parent still runs, on systems whose kernel does not report the parent's end."""


def main() -> None:
    """Become the program. Arguments: `launcher.py PARENT open|closed PROGRAM ARGUMENT…`.

    The second argument says whether the program may use the network.
    """
    parent, network, command = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    close_network_if(network)
    try:
        if sys.platform == "linux":
            with contextlib.suppress(OSError):  # kernels before 5.3 lack pidfd_open
                guard(parent)
            die_with_parent(parent)  # stays in force when the program replaces this script
            os.execvp(command[0], command)  # noqa: S606
        else:
            supervise(parent, command)
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        sys.exit(126)  # as in shells: found, but not executable


def guard(parent: int) -> None:
    """Start a process that kills the group of this process once this process or `parent` has ended.

    When the parent ends, the kernel ends this process, but not the programs that this process has started.
    """
    group = os.getpid()
    watched = [os.pidfd_open(parent), os.pidfd_open(group)]
    if child := os.fork():
        os.waitpid(child, 0)
        for descriptor in watched:
            os.close(descriptor)
        return
    os.setsid()  # leave the group, to survive its end
    if os.fork():
        os._exit(0)  # the grandchild then belongs to init, and the program need not reap it
    poll = select.poll()
    for descriptor in watched:
        poll.register(descriptor, select.POLLIN)
    poll.poll()
    with contextlib.suppress(OSError):
        os.killpg(group, signal.SIGKILL)
    os._exit(0)


def supervise(parent: int, command: list[str]) -> None:
    """Run the program as a child, kill the child when the parent ends, and exit with the child's status."""
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
