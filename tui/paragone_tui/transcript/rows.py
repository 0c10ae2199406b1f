"""Where two rows of cells differ: what must be painted, and nothing else."""

from __future__ import annotations

from rich.cells import cell_len
from rich.style import Style
from textual.strip import Strip

__all__ = ["difference"]

_JOINER = "\N{ZERO WIDTH JOINER}"


def difference(old: Strip, new: Strip, width: int) -> tuple[int, int] | None:
    """Return the first cell that differs and the one past the last, or None where nothing does.

    Rows are compared as they look: blank to the right of their ends, up to `width`.
    """
    before, after = _looks(old), _looks(new)
    limit = min(len(before), len(after))
    head = 0
    while head < limit and before[head] == after[head]:
        head += 1
    blank = (" ", None)
    old_rest, new_rest = before[head:], after[head:]
    while old_rest and old_rest[-1] == blank:
        old_rest.pop()
    while new_rest and new_rest[-1] == blank:
        new_rest.pop()
    if not old_rest and not new_rest:
        return None
    # What joins to the character before it is painted together with it.
    while head and (
        before[head - 1][0] == _JOINER
        or any(rest and not cell_len(rest[0][0]) for rest in (old_rest, new_rest))
    ):
        head -= 1
        old_rest.insert(0, before[head])
        new_rest.insert(0, after[head])
    start = cell_len("".join(character for character, _ in after[:head]))
    old_end, new_end = start + _cells(old_rest), start + _cells(new_rest)
    end = max(old_end, new_end)
    if old_end == new_end:
        while len(old_rest) > 1 and len(new_rest) > 1 and old_rest[-1] == new_rest[-1]:
            if not new_rest[-1][0].isascii():
                break
            old_rest.pop()
            new_rest.pop()
            end -= 1
    return start, min(end, width)


def _looks(strip: Strip) -> list[tuple[str, Style | None]]:
    """Return the characters with their styles; a plain space looks the same in every colour."""
    looks: list[tuple[str, Style | None]] = []
    for text, style, _ in strip:
        if style is not None and (style.underline or style.reverse or style.strike):
            looks.extend([(character, style) for character in text])
        else:
            looks.extend([(character, None if character == " " else style) for character in text])
    return looks


def _cells(looks: list[tuple[str, Style | None]]) -> int:
    return cell_len("".join(character for character, _ in looks))
