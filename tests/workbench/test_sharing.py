"""What runs share: servers, in whatever spelling of their address, and this machine."""

import dataclasses
from typing import Any

import pytest

from paragone_workbench import scheduling as scheduler
from paragone_workbench.engines.registry import Placement
from paragone_workbench.runs.observer import Turn
from paragone_workbench.sharing import Sharing, resources_of


@dataclasses.dataclass
class Engine:
    """A test double of an engine that says where it computes."""

    addresses: tuple[str, ...] = ()
    is_local: bool = False
    sharing: int = 1
    definition: str = ""

    @property
    def placement(self):
        return Placement(is_local=self.is_local, addresses=self.addresses, sharing=self.sharing)


HERE: Any = Engine(is_local=True)
LOOPBACK: Any = Engine(("http://127.0.0.1:8080",))
SAME_LOOPBACK: Any = Engine(("http://localhost:8080",))
BOX = Engine(("https://gpu-box:8443",))
SLOT = Engine(is_local=True, sharing=4, definition="a")
"""One of four engines with one loaded model."""


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        (HERE, HERE, True),
        (HERE, LOOPBACK, True),
        (LOOPBACK, Engine(("http://localhost:9000",)), True),
        (LOOPBACK, Engine(("http://[::1]:9000",)), True),
        (LOOPBACK, Engine(("http://0.0.0.0:9000",)), True),
        (LOOPBACK, Engine(("http://[::ffff:127.0.0.1]:9000",)), True),
        (BOX, Engine(("https://gpu-box:8443",)), True),
        (BOX, Engine(("https://gpu-box:8444",)), False),
        (BOX, HERE, False),
        (BOX, LOOPBACK, False),
        (Engine(("nonsense",)), HERE, False),
        (Engine(), Engine(), False),
    ],
)
def test_what_two_runs_share(one, other, shared):
    sharing = Sharing()
    first, second = Turn(), Turn()
    with sharing.during(first, resources_of(one)), sharing.during(second, resources_of(other)):
        pass
    assert (first.shared, second.shared) == (shared, shared)


def test_what_ended_before_is_not_shared():
    sharing = Sharing()
    first, second = Turn(), Turn()
    for turn in (first, second):
        with sharing.during(turn, resources_of(HERE)):
            pass
    assert (first.shared, second.shared) == (False, False)


def test_one_server_in_two_spellings_has_one_limit():
    assert resources_of(LOOPBACK) == resources_of(SAME_LOOPBACK)


@pytest.mark.parametrize(
    ("engines", "cores"),
    [
        ([HERE], 8),
        ([HERE, Engine(is_local=True)], 4),
        ([HERE, LOOPBACK], 4),
        ([HERE, LOOPBACK, Engine(("http://localhost:8080",))], 4),
        ([HERE, LOOPBACK, Engine(("http://localhost:8081",))], 2),
        ([HERE, BOX], 8),
        ([SLOT, SLOT, SLOT], 8),
        ([SLOT, HERE, SLOT], 4),
        ([SLOT, dataclasses.replace(SLOT, definition="b")], 4),
    ],
)
def test_a_server_on_this_machine_has_a_share_of_the_cores(monkeypatch, engines, cores):
    monkeypatch.setattr(scheduler, "physical_cores", lambda: 8)
    assert scheduler.Scheduler().cores_for_each(engines) == cores
