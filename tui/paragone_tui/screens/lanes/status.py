"""The status line of a lane: engine, state, speed, and use of the context window."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

from paragone.texts import counted
from paragone_tui.terminal.cells import Look, shortened, shortest_name_width, styles_of
from paragone_tui.terminal.changed_rows_screen import paint
from paragone_tui.terminal.text import bar, one_line
from paragone_workbench.lanes.lane import LaneState

_WORDS: dict[LaneState, str] = {
    "empty": "no engine",
    "queued": "waiting for the server",
    "reading": "reading the prompt",
}
_BUSY: frozenset[LaneState] = frozenset({"loading", "waiting", "queued", "reading", "writing"})
_BAD: frozenset[LaneState] = frozenset({"failed", "crashed"})
_WITH_SPEED: frozenset[LaneState] = frozenset(
    {"writing", "done", "stopped", "ready", "waiting", "failed", "crashed"}
)
_REPLACED_BY_SPEED: frozenset[LaneState] = frozenset({"writing", "done", "stopped"})
"""If both do not fit, the speed replaces the name of these states, in the state's colour."""
_FIGURE = 10
"""Width in cells that is reserved for each figure, so that the shortened name stays the same when a figure grows."""
_LOOKS: Mapping[str, Look] = {
    "": Look(),
    "engine": Look("foreground", "not dim", "bold"),
    "busy": Look("primary", "not dim bright_blue"),
    "bad": Look("text-error", "not dim red"),
    "figure": Look("text-muted", "dim"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneStatusInfo:
    """The content of a lane's status line. Most figures that are None or 0 are not shown."""

    mark: str = ""
    """The signs before the name, such as ▸ for the current lane."""
    engine: str = ""
    others: tuple[str, ...] = ()
    """Names of the other lanes, from which the shortened name of the lane must differ."""
    state: LaneState = "empty"
    silent_s: int = 0
    """Seconds since the engine last sent data; 0 while data arrives."""
    is_local: bool = False
    stop_key: str = ""
    queued: int = 0
    """Number of prompts that wait for the current answer to end."""
    unsaved: bool = False
    """Whether the history cannot be written now."""
    differences: int = 0
    """Number of conditions that differed between the lanes."""
    loaded: float | None = None
    """Fraction of the model that is loaded, from 0 to 1."""
    is_asked: bool = False
    """Whether a prompt waits until the engine is open."""
    prompt_done: int = 0
    """Number of processed tokens of the prompt, out of `prompt_total`."""
    prompt_total: int = 0
    tokens: int = 0
    tokens_per_s: float | None = None
    shared: bool = False
    """Whether the speed was measured while another run used the same server or this machine."""
    ttft_s: float | None = None
    """Seconds until the first token."""
    acceptance: float | None = None
    """Share of the proposed tokens that was accepted, from 0 to 1; None without speculative decoding."""
    tokens_per_step: float | None = None
    """Mean number of tokens per step of the model with speculative decoding; None without."""
    context_used: int | None = None
    """Number of used tokens of the context window, out of `context_size`; None if unknown."""
    context_size: int = 0


class LaneStatus(Widget):
    ALLOW_SELECT = False
    DEFAULT_CSS = """
    LaneStatus {
        width: 1fr;
        height: 1;
        background: $background;
        color: $text-muted;
        &:ansi { text-style: dim; }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self._info = LaneStatusInfo()
        self._styles: dict[str, Style] = {}

    def show(self, info: LaneStatusInfo) -> None:
        before, self._info = self._info, info
        if info != before:
            paint(self)

    def render_line(self, y: int) -> Strip:
        """Return the line; `y` is ignored."""
        info, width = self._info, self.size.width
        if not self._styles:
            self._styles = styles_of(self, _LOOKS)
        style = self._styles[""]
        tone = "busy" if info.state in _BUSY else "bad" if info.state in _BAD else "figure"
        state_style = self._styles[tone]
        # The most important parts come first. Parts that do not fit are dropped.
        word = next((words for words in _state_words(info, width) if len(words) <= width - 2), info.state)
        rest: list[Segment] = []
        if info.queued:
            rest.append(Segment(f" +{info.queued}", state_style))
        if info.unsaved:
            rest.append(Segment("  not saved", self._styles["bad"]))
        if info.differences:
            rest.append(Segment(f"  ≠ {info.differences}", self._styles["figure"]))
        state = [Segment(word, state_style), *rest]
        room = width - 2 - _cells(state)
        long, short = (list(_figures(info, style, state_style, short=short)) for short in (False, True))
        fits = sum(_cells(part) + 2 for part in long[:3]) + cell_len(info.mark + info.engine) + 2 <= room
        name, figures = _fitting(info, long if fits else short, room)
        has_speed = info.tokens_per_s and info.state in _WITH_SPEED and not info.silent_s
        if has_speed and not fits and short[0] not in figures:
            # The user compares the speeds: if space is short, show the speed without its unit, then without the
            # state.
            name, figures = _fitting(info, [[Segment(_brief(info), style)]], room)
            if not figures and info.state in _REPLACED_BY_SPEED:
                state = [Segment(_brief(info), state_style), *rest]
                name, figures = _fitting(info, [], width - 2 - _cells(state))
        left = [Segment(" ", style)]
        if name:
            left += [Segment(name, self._styles["engine"]), Segment("  ", style)]
        left += state
        right = [segment for part in figures for segment in (Segment("  ", style), *part)]
        blank = max(0, width - 1 - _cells(left) - _cells(right))
        return Strip([*left, Segment(" " * blank, style), *right, Segment(" ", style)]).crop(0, width)

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._styles = {}


def _figures(info: LaneStatusInfo, style: Style, busy: Style, *, short: bool) -> Iterator[list[Segment]]:
    """Yield the figures, the most important first. The speed comes first, because the user compares the speeds."""
    if info.silent_s:
        yield [Segment(f"{info.stop_key} stops", style)]
    if info.state == "loading" and info.loaded is not None:
        yield [Segment(f"{min(info.loaded, 1):4.0%}", style)]
        yield _bar(info.loaded, busy)
    elif info.state == "reading" and info.prompt_total:
        yield [Segment(f"{info.prompt_done:,}/{info.prompt_total:,}", style)]
        yield _bar(info.prompt_done / info.prompt_total, busy)
    elif info.state in _WITH_SPEED:
        if info.tokens_per_s:
            rate = _rate(info.tokens_per_s)
            shared = f"({rate})" if short else f"{rate} shared"
            yield [Segment(shared if info.shared else rate, style)]
        if info.ttft_s is not None:
            yield [Segment(f"TTFT {_seconds(info.ttft_s)}", style)]
        if info.acceptance is not None and info.tokens_per_step is not None:
            drafts = f"{info.tokens_per_step:.1f} a step"
            yield [Segment(drafts if short else f"{drafts}, {info.acceptance:.0%} of drafts", style)]
        if info.context_size and info.context_used is not None:
            used, size = info.context_used, info.context_size
            context = f"{_short(used)}/{_short(size)}" if short else f"context {used:,}/{size:,}"
            yield [Segment(context, style)]
        if info.tokens:
            yield [Segment(counted(info.tokens, "token"), style)]


def _fitting(
    info: LaneStatusInfo, figures: list[list[Segment]], room: int
) -> tuple[str, list[list[Segment]]]:
    """Return the name, shortened if necessary, and the figures that fit into `room` cells, with two spaces beside each."""
    engine, *others = (one_line(name) for name in (info.engine, *info.others))
    mark = info.mark if cell_len(info.mark) <= room - 6 else ""
    most = room - 3 - cell_len(mark)
    if not engine:
        mark, most = "", room - 1
    least = min(shortest_name_width(engine, others), most)
    fitting: list[list[Segment]] = []
    left = most + 1 - least
    for part in figures:
        if _cells(part) + 2 <= left:
            fitting.append(part)
            left -= _cells(part) + 2
    reserved = sum(max(_cells(part), _FIGURE) + 2 for part in fitting)
    name = shortened(engine, others, max(least, most + 1 - reserved, 0))
    return (mark + name if name else ""), fitting


def _state_words(info: LaneStatusInfo, width: int) -> Iterator[str]:
    usual = _WORDS.get(info.state, info.state)
    if info.silent_s:
        brief = f"no data for {info.silent_s} s"
        whole = f"no data from the {'engine' if info.is_local else 'server'} for {info.silent_s} s"
        if info.state == "queued":
            whole = f"{usual}: {brief}"
        others = (
            shortest_name_width(info.engine, info.others) + len(f"{info.stop_key} stops") + 6
        )  # and the blanks
        if len(whole) + others <= width:
            yield whole
        yield brief
    if info.state == "loading" and info.is_asked:
        yield "loads, then answers"
    yield usual


def _cells(segments: list[Segment]) -> int:
    return sum(cell_len(text) for text, _, _ in segments)


def _rate(rate: float) -> str:
    return f"{rate:.0f} tok/s" if rate >= 100 else f"{rate:.1f} tok/s"


def _brief(info: LaneStatusInfo) -> str:
    rate = info.tokens_per_s or 0
    brief = f"{rate:.0f}/s" if rate >= 10 else f"{rate:.1f}/s"
    return f"({brief})" if info.shared else brief


def _short(tokens: int) -> str:
    if tokens < 1000:
        return str(tokens)
    return f"{tokens / 1000:.1f}k" if tokens < 9950 else f"{tokens / 1000:.0f}k"


def _seconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _bar(fraction: float, style: Style, cells: int = 12) -> list[Segment]:
    filled = bar(fraction, cells)
    track = style + Style(dim=True)
    return [Segment(filled, style), Segment("░" * (cells - len(filled)), track)]
