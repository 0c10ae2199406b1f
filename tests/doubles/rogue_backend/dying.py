"""An engine that dies when it is probed, as a library does that is broken on this machine."""

import ctypes
import sys

from paragone import Probe
from rogue_backend.engine import RogueEngine


class DyingEngine(RogueEngine):
    @classmethod
    def probe(cls) -> Probe:
        print("ROGUE = 1", file=sys.stderr)
        ctypes.string_at(0)
        raise AssertionError("it survived")
