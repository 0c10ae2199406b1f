"""The seeds that lanes share, so that all lanes draw the same random numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from paragone_workbench.conversation.tree import Prompt


def shared_seed(prompt: Prompt, earlier: int) -> int:
    """Return the seed for a lane's next answer to a prompt, of which the lane has this number of earlier answers.

    The seed is the same in all lanes: the first answers have one seed, the second answers another one. The seed comes
    from the prompt's id, which is random.
    """
    from hashlib import sha256  # the start needs no seeds

    from paragone.chat.sampling import SEEDS

    return int.from_bytes(sha256(f"{prompt.id} {earlier}".encode()).digest()[:8], "big") % SEEDS
