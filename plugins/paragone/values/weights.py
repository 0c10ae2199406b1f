"""The files that hold the weights of an open model."""

from __future__ import annotations

import os
from dataclasses import dataclass

__all__ = ["WeightsFile"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsFile:
    """A file of weights: of the model, of an adapter, or of a draft model. None where unknown.

    Attributes:
        path: Its absolute path on this machine; the model's name for a model on a server.
        size: Bytes.
        modified_ns: When it was last modified, in nanoseconds since 1970. None for a model on a server.
        sha256: The SHA-256 of its content, or the digest by which a server identifies the model; in
            hexadecimal digits. Leave it out unless it is known without reading the file: the application
            computes it.
    """

    path: str
    size: int | None = None
    modified_ns: int | None = None
    sha256: str | None = None

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> WeightsFile:
        """Return the entry of a file on this machine. Raises OSError."""
        whole = os.path.abspath(os.path.expanduser(path))  # noqa: PTH100, PTH111 (pathlib is slow to import)
        status = os.stat(whole)  # noqa: PTH116
        return cls(path=whole, size=status.st_size, modified_ns=status.st_mtime_ns)
