"""Work of engines that can be ended early, such as a suite or a benchmark."""

from typing import Protocol


class Stoppable(Protocol):
    """Work of engines that can be ended early."""

    async def stop(self) -> None:
        """End the work early. The results so far are kept."""

    async def close(self) -> None:
        """Close the engines."""
