"""Makes one animated SVG of several pictures of the screen. Rows that are equal in consecutive pictures are in it once."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

_ROW = 24.4
"""Height of a row of the terminal in Rich's pictures."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A picture of the screen as an SVG of Rich, and how long it is shown."""

    svg: str
    seconds: float


def moving_picture(frames: Sequence[Frame], still: int) -> str:
    """Return an animation of the frames. Where animations are off, it shows the frame with the index `still`."""
    styles: dict[str, str] = {}
    rows: dict[str, list[int]] = {}
    for number, frame in enumerate(frames):
        for row in _rows(frame.svg, styles):
            rows.setdefault(row, []).append(number)
    total = sum(frame.seconds for frame in frames)
    starts = [sum(frame.seconds for frame in frames[:number]) / total * 100 for number in range(len(frames))]
    times: dict[tuple[int, ...], str] = {}
    body, animations = [], []
    for row, shown in rows.items():
        if len(shown) == len(frames):
            body.append(row)
            continue
        name = times.get(key := tuple(shown))
        if name is None:
            name = times[key] = f"t{len(times)}"
            is_still = "visible" if still in shown else "hidden"
            animations.append(
                f".{name}{{visibility:{is_still};animation:{name} {total:g}s step-end infinite}}"
            )
            animations.append(f"@keyframes {name}{{{''.join(_steps(set(shown), starts))}}}")
        body.append(f'<g class="{name}">{row}</g>')
    size = re.search(r'viewBox="0 0 [\d.]+ [\d.]+"', frames[0].svg)
    assert size is not None
    fills = [f".{name}{{{style}}}" for style, name in styles.items()]
    return "\n".join(
        [
            f'<svg {size[0]} xmlns="http://www.w3.org/2000/svg"><style>',
            "text{font-family:Fira Code,monospace;font-size:20px;white-space:pre}",
            ".title{font:bold 18px arial;fill:#c5c8c6}",
            *fills,
            *animations,
            "@media (prefers-reduced-motion:reduce){g{animation:none!important}}",
            '</style><rect fill="#292929" width="100%" height="100%" rx="8"/>',
            '<g fill="#28c840"><circle cx="26" cy="22" r="7" fill="#ff5f57"/><circle cx="48" cy="22" r="7" fill="#febc2e"/>'
            '<circle cx="70" cy="22" r="7"/></g>',
            *body,
            "</svg>\n",
        ]
    )


def _steps(shown: set[int], starts: Sequence[float]) -> Iterable[str]:
    """Yield the key frames at which the visibility changes."""
    for visible, group in groupby(enumerate(starts), key=lambda start: start[0] in shown):
        yield f"{next(group)[1]:.2f}%{{visibility:{'visible' if visible else 'hidden'}}}"


def _rows(svg: str, styles: dict[str, str]) -> Iterable[str]:
    """Yield the title and each row of a picture, with the names of their styles in `styles`, to which new ones are added."""
    own = dict(re.findall(r"^\s*\.terminal-\d+-(r\d+) \{ (.*?);? \}", svg, re.MULTILINE))
    names = {name: styles.setdefault(style, f"s{len(styles)}") for name, style in own.items()}
    title = re.search(r'<text class="terminal-\d+-title"[^>]* x="([\d.]+)" y="([\d.]+)">(.*?)</text>', svg)
    if title:
        yield f'<text class="title" text-anchor="middle" x="{title[1]}" y="{title[2]}">{title[3]}</text>'
    left, top = re.findall(r'<g transform="translate\((\d+), (\d+)\)"', svg)[-1]
    parts: dict[int, list[str]] = {}
    for fill, x, y, width, height in re.findall(
        r'<rect fill="([^"]+)" x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"', svg
    ):
        if "translate" not in fill and float(height) < _ROW * 2:
            place = f'x="{float(x) + int(left):.4g}" y="{float(y) + int(top):.4g}"'
            drawn = f'<rect fill="{fill}" {place} width="{width}" height="{height}"/>'
            parts.setdefault(round((float(y) - 1.5) / _ROW), []).append(drawn)
    for name, x, y, length, row, text in re.findall(
        r'<text class="terminal-\d+-(r\d+)" x="([\d.]+)" y="([\d.]+)" textLength="([\d.]+)"'
        r' clip-path="url\(#terminal-\d+-line-(\d+)\)">(.*?)</text>',
        svg,
    ):
        if text.replace("&#160;", " ").strip():
            place = f'x="{float(x) + int(left):.5g}" y="{float(y) + int(top):.5g}"'
            plain = text.replace("&#160;", "\u00a0")
            parts.setdefault(int(row), []).append(
                f'<text class="{names[name]}" {place} textLength="{length}">{plain}</text>'
            )
    yield from ("".join(parts[row]) for row in sorted(parts))
