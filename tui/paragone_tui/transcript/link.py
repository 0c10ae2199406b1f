"""Links between transcripts, which align their turns and make them scroll together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from paragone_tui.transcript.view import Transcript


class Link:
    """The transcripts that are linked: none, or at least two.

    A prompt starts at the same row in all transcripts that show it: blank rows above the prompt make up for shorter turns.
    """

    def __init__(self) -> None:
        self.members: list[Transcript] = []
        self._stale = False

    def join(self, transcripts: Iterable[Transcript]) -> None:
        before, self.members = self.members, list(transcripts)
        for transcript in before:
            if transcript not in self.members:
                transcript.link = None
                transcript.lead({})
        for transcript in self.members:
            transcript.link = self
        if before != self.members:
            self.align()

    def mark_stale(self) -> None:
        """Note that the turns of a transcript have changed, so that `align_if_stale` aligns all turns."""
        self._stale = True

    def align_if_stale(self) -> None:
        """Align the turns if some turn has changed since the last alignment."""
        if self._stale:
            self.align()

    def align(self) -> None:
        """Align the turns. If a transcript's size has changed, `lay_out` aligns later, after it has wrapped the text."""
        self._stale = any(member.is_resized for member in self.members)
        if not self._stale:
            self._align()

    def lay_out(self) -> None:
        """Wrap the text of the transcripts whose size has changed, and align all turns."""
        resized = [member for member in self.members if member.is_resized]
        for member in resized:
            member.wrap()
        self._stale = False
        self._align()
        resized.sort(key=lambda member: member.is_seeking)  # a search in one transcript scrolls the others
        for member in resized:
            member.place()

    def _align(self) -> None:
        for member, lead in zip(self.members, leads([member.turns for member in self.members]), strict=True):
            member.lead(lead)


def leads(lanes: Sequence[Mapping[object, int]]) -> Sequence[Mapping[object, int]]:
    """Return, for each lane, how many blank rows above each turn align the turns of all lanes.

    `lanes` maps the turns of each lane, in order, to the rows at which the turns start without blank rows.
    """
    turns = [list(lane) for lane in lanes]
    places = [{turn: place for place, turn in enumerate(lane)} for lane in turns]
    at = [0] * len(lanes)
    moved = [0] * len(lanes)
    result: list[dict[object, int]] = [{} for _ in lanes]
    while heads := {lane: listed[at[lane]] for lane, listed in enumerate(turns) if at[lane] < len(listed)}:
        # A turn is placed once it is next in every lane that has it. If lanes have the same turns in
        # different orders, some turns cannot be aligned.
        coming = (
            turn
            for turn in heads.values()
            if all(
                heads.get(lane) is turn or place.get(turn, -1) < at[lane] for lane, place in enumerate(places)
            )
        )
        turn = next(coming, next(iter(heads.values())))
        here = [lane for lane, head in heads.items() if head is turn]
        row = max(lanes[lane][turn] + moved[lane] for lane in here)
        for lane in here:
            result[lane][turn] = row - lanes[lane][turn] - moved[lane]
            moved[lane] += result[lane][turn]
            at[lane] += 1
    return result
