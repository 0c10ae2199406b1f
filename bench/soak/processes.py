"""Records the processes that a program starts, to find those that outlive the program."""

import contextlib

import psutil

_GRACE_S = 15.0
"""Seconds that the processes of a program may take to end after the program."""


class Processes:
    """The processes that one program had at each call of `note`."""

    def __init__(self, program: psutil.Process, grace_s: float = _GRACE_S) -> None:
        self._program = program
        self._grace_s = grace_s
        self._seen: set[psutil.Process] = set()

    def note(self) -> None:
        """Record the processes that the program has now."""
        with contextlib.suppress(psutil.NoSuchProcess):
            self._seen.update(self._program.children(recursive=True))

    def any_frozen(self) -> bool:
        """Return whether a recorded or present process of the program is stopped by a signal."""
        self.note()
        for process in self._seen:
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.status() == psutil.STATUS_STOPPED:
                    return True
        return False

    def left(self) -> list[str]:
        """Return descriptions of the processes that still run some seconds after the program has ended."""
        _, alive = psutil.wait_procs(self._seen, self._grace_s)
        return [_described(process) for process in alive if process.is_running()]


def _described(process: psutil.Process) -> str:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return f"{process.pid}: ended, not waited for"
        return f"{process.pid}, {process.status()}: {' '.join(process.cmdline())[:200]}"
    except psutil.Error as error:
        return str(error)
