"""The conformance suite: tests of what every backend must do. The author of a backend runs these tests.

Needs pytest, and pytest-asyncio in either of its modes. Derive a class from `BackendConformance` in a test module
of the backend; docs/plugins.md has an example.

The tests of the derived class share one open engine and one event loop: declare your asynchronous
fixtures with `pytest_asyncio.fixture(loop_scope="class")`. A fixture with `scope="class"` must be a
`classmethod`.
"""

import pytest

# Register the modules before they are imported, so that a failed assertion shows the compared values.
for _module in ("answers", "opening", "probabilities", "runs", "subject"):
    pytest.register_assert_rewrite(f"{__name__}.{_module}")

from paragone.testing.conformance import BackendConformance  # noqa: E402

__all__ = ["BackendConformance"]
