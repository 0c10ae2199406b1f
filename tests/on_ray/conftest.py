"""Skips these tests where Ray is not installed: `make test-ray` installs it in an environment of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.on_ray.cluster import Cluster, running_cluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    pytest.importorskip("ray")
    with running_cluster() as cluster:
        yield cluster
