"""Small images for tests."""

import base64
from pathlib import Path

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
)
"""One pixel."""


def picture(path: Path, content: bytes = PNG) -> Path:
    """Write an image and return its path."""
    path.write_bytes(content)
    return path
