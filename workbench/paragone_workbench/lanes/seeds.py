"""The seeds that lanes share, so that all lanes draw the same random numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from paragone_workbench.conversation.tree import Prompt


def shared_seed(prompt: Prompt, earlier: int) -> int:
    """Return the seed for a lane's next answer to a prompt that has `earlier` answers in the lane.

    The seed is the same in all lanes: all first answers have one seed, all second answers another seed. The seed is derived
    from the prompt's id, which is random.
    """
    from hashlib import sha256  # imported here so that the program starts faster

    from paragone.chat.sampling import SEEDS

    return int.from_bytes(sha256(f"{prompt.id} {earlier}".encode()).digest()[:8], "big") % SEEDS
