"""The cost of streaming: bytes to the terminal and CPU time per token, with two lanes at 50 tokens/s each.

    python -m bench.stream_cost [--idle SECONDS] [--only ROW] [--json]

No model runs: both lanes show a fake stream of English Markdown in tokens of about four characters, so only
the painting is measured. Each row runs a separate small program in a pty of 120×40. One call measures all rows,
so that the baselines are comparable.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable

RATE = 50  # tokens per second and lane
TOKENS = 400  # per lane


def tokens() -> list[str]:
    """Return the fake answer in pieces of the size of a model's tokens."""
    from bench.engines.paced_backend import text

    return (text.TOKENS * 2)[:TOKENS]


async def stream(write: Callable[[str, int], Awaitable[None] | None]) -> None:
    """Call `write` with each token at the rate `RATE`, like the engine of one lane."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    for number, token in enumerate(tokens(), 1):
        await asyncio.sleep(max(0.0, start + number / RATE - loop.time()))
        if (waiting := write(token, number)) is not None:
            await waiting


def run_app(kind: str) -> None:
    """Run one of the measured programs."""
    from textual.app import App, ComposeResult
    from textual.containers import Horizontal, Vertical, VerticalScroll
    from textual.screen import Screen
    from textual.widget import Widget
    from textual.widgets import Markdown, Static

    from paragone_tui.screens.lanes.status import LaneStatus, LaneStatusInfo
    from paragone_tui.terminal.changed_rows_screen import Cadence, ChangedRowsScreen
    from paragone_tui.transcript import Transcript
    from paragone_workbench.lanes.lane import LaneState

    class Bench(App[None]):
        CSS = "Vertical { width: 1fr; padding: 0 1 0 0; }"

        def get_default_screen(self) -> Screen[None]:
            return Screen() if kind in ("update", "stream") else ChangedRowsScreen()

        def compose(self) -> ComposeResult:
            yield Static("ready", id="state")
            with Horizontal():
                for _ in range(2):
                    if kind in ("update", "stream"):
                        with Vertical(), VerticalScroll():
                            yield Markdown()
                    else:
                        with Vertical():
                            yield LaneStatus()
                            yield Transcript()

        def on_mount(self) -> None:
            self.screen.set_focus(None)

        def on_key(self) -> None:
            self.run_worker(self._both())

        async def _both(self) -> None:
            await asyncio.gather(*(self._lane(lane) for lane in range(2)))
            self.query_one("#state", Static).update("finished")

        async def _lane(self, lane: int) -> None:
            if kind == "nothing":
                await stream(lambda token, number: None)
            elif kind in ("update", "stream"):
                widget = list(self.query(Markdown))[lane]
                assert isinstance(widget.parent, Widget)
                widget.parent.anchor()
                if kind == "stream":
                    writer = Markdown.get_stream(widget)
                    await stream(lambda token, number: writer.write(token))
                    await writer.stop()
                else:
                    text: list[str] = []

                    async def update(token: str, number: int) -> None:
                        text.append(token)
                        await widget.update("".join(text))

                    await stream(update)
            else:
                await self._ours(list(self.query(Transcript))[lane], list(self.query(LaneStatus))[lane])

        async def _ours(self, transcript: Transcript, status: LaneStatus) -> None:
            transcript.add("prompt", "Why is the sky blue?")

            written = 0

            def show_status(state: LaneState = "writing") -> None:
                status.show(
                    LaneStatusInfo(
                        engine="smol-q4",
                        state=state,
                        tokens=written,
                        tokens_per_s=49.6 + written % 7 / 10,
                        ttft_s=0.12,
                        context_used=900 + written,
                        context_size=8192,
                    )
                )

            figures = Cadence(show_status, 0.5)  # as in the column of a lane

            def write(token: str, number: int) -> None:
                nonlocal written
                written = number
                transcript.write(token)
                figures.ask()

            await stream(write)
            figures.stop()
            transcript.end()
            show_status("done")

    Bench().run()


ROWS = {
    "ours": "paragone's Transcript and LaneStatus",
    "stream": "Textual Markdown, MarkdownStream",
    "update": "Textual Markdown, update on each token",
    "nothing": "the fake stream without painting",
}


def measure(kind: str, idle_s: float) -> dict[str, float]:
    """Run a program in a pty and return its cost per token."""
    from bench.terminal import Terminal

    with Terminal([sys.executable, "-m", "bench.stream_cost", "--app", kind]) as terminal:
        terminal.read_until("ready")
        terminal.read_until_quiet(1.0)
        bytes_before, cpu_before = len(terminal.output), terminal.cpu()
        start = time.monotonic()
        terminal.send("s")
        terminal.read_until(
            "finished", timeout=300
        )  # updating Markdown on each token takes longer than the stream
        terminal.read_until_quiet(1.0)
        cost = {
            "bytes_a_token": (len(terminal.output) - bytes_before) / (2 * TOKENS),
            "cpu_ms_a_token": (terminal.cpu() - cpu_before) * 1000 / (2 * TOKENS),
            "seconds": time.monotonic() - start,
        }
        if idle_s:
            cost["idle_bytes"] = terminal.read(idle_s)
    return cost


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--app", help=argparse.SUPPRESS)
    parser.add_argument(
        "--idle",
        type=float,
        default=0,
        metavar="SECONDS",
        help="afterwards, count the bytes written while idle",
    )
    parser.add_argument("--only", choices=ROWS, help="measure one row")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.app:
        run_app(arguments.app)
        return
    costs = {kind: measure(kind, arguments.idle) for kind in ROWS if arguments.only in (None, kind)}
    if arguments.json:
        print(json.dumps(costs, indent=2))
        return
    text = "".join(tokens())
    print(
        f"2 lanes × {RATE} tokens/s × {TOKENS} tokens of {len(text) / TOKENS:.1f} characters, fake stream, 120×40"
    )
    for kind, cost in costs.items():
        idle = f"  {cost['idle_bytes']:7.0f} bytes in {arguments.idle:.0f} idle s" if arguments.idle else ""
        print(
            f"{ROWS[kind]:40} {cost['bytes_a_token']:8.1f} bytes/token {cost['cpu_ms_a_token']:7.2f} ms CPU/token{idle}"
        )


if __name__ == "__main__":
    main()
