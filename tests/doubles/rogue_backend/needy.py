"""An engine whose module imports something that a bare interpreter does not have."""

import pluggy  # noqa: F401

from rogue_backend.engine import RogueEngine as NeedyEngine  # noqa: F401
