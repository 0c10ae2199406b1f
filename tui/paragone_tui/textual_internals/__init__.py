"""The undocumented parts of Textual and Rich that the screens use, and that can change in any release.

No module outside of this package uses undocumented names. `tests/architecture/test_textual_internals.py` explains how to change the versions.
"""

from __future__ import annotations

__all__ = ["CHECKED_VERSIONS"]

CHECKED_VERSIONS = {"textual": "8.2.8", "rich": "15.0.0"}
"""The versions that this package was checked against."""
