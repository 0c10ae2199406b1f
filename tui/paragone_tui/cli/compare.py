"""`paragone compare`: one prompt, several engines, answers and figures below each other."""

from __future__ import annotations

from collections.abc import Sequence

from paragone import Image, InputError
from paragone_tui.cli.arguments import Arguments
from paragone_tui.cli.basis import Basis
from paragone_tui.cli.interrupts import Interrupts
from paragone_tui.cli.loop import run
from paragone_tui.cli.output import finish, line, put, put_json, shown
from paragone_tui.cli.progress import Progress
from paragone_tui.cli.prompt import read_prompt
from paragone_workbench.compare.answers import comparison
from paragone_workbench.conversation.images import read_image
from paragone_workbench.lanes.lane import Lane
from paragone_workbench.lanes.session import MAX_LANES, Session
from paragone_workbench.runs.metrics import RunMetrics
from paragone_workbench.runs.record import Run

__all__ = ["compare", "figures"]

_WIDTH = 72


def compare(args: Arguments) -> int:
    """Have the engines answer. Returns the exit code."""
    basis = Basis(args)
    basis.warn()
    definitions = basis.checked(args.engines, args.settings)
    if len(definitions) > MAX_LANES:
        raise InputError(f"At most {MAX_LANES} engines can be compared at once, not {len(definitions)}.")
    images = [read_image(path) for path in args.images]
    prompt = read_prompt(args.prompt)
    mode = "sequential" if args.sequential else basis.config.lanes.mode
    session = Session(basis.registry, system=basis.system(args), mode=mode)
    for definition in definitions:
        session.add_lane(definition)
    return run(_compare(session, prompt, images, as_json=args.json))


async def _compare(session: Session, prompt: str, images: Sequence[Image], *, as_json: bool) -> int:
    interrupts = Interrupts(session)
    async with interrupts.heard():
        with Progress(session.lanes) as progress:
            session.open_engines()
            session.send(prompt, images)
            for lane in session.lanes:
                await lane.answered()
                if not as_json:
                    progress.clear()
                    _print(lane, lane.runs[session.prompts[0]], first=lane is session.lanes[0])
        if as_json:
            put_json(comparison(session.prompts[0], session.lanes))
    if interrupts.came:
        return 130
    return int(any(run.error is not None for lane in session.lanes for run in lane.runs.values()))


def _print(lane: Lane, run: Run, *, first: bool) -> None:
    title = line(f"── {lane.definition.name} ({lane.definition.backend}) ")
    put(("" if first else "\n") + title.ljust(_WIDTH, "─"))
    if run.text:
        put(shown(run.text).removesuffix("\n"))
    put()
    for caution in (*(lane.loaded.cautions if lane.loaded else ()), *run.cautions):
        put(f"warning: {line(caution.sentence)}")
    if run.error is not None:
        put(f"failed: {line(str(run.error))}")
    elif run.finish == "cancelled":
        put("stopped")
    elif run.finish == "length":
        put("cut at its length limit")
    if run.metrics is not None:
        put(figures(run.metrics))
    finish()


def figures(metrics: RunMetrics) -> str:
    """Return a run's figures in one line; what is unknown is left out."""
    parts = [f"{metrics.completion_tokens} tokens"]
    if metrics.decode_tps is not None:
        parts.append(f"{metrics.decode_tps:.1f} tokens/s")
    if metrics.ttft_s is not None:
        parts.append(f"first after {metrics.ttft_s:.2f} s")
    if metrics.itl_ms.p50 is not None and metrics.itl_ms.p99 is not None:
        parts.append(f"between tokens {metrics.itl_ms.p50:.1f} ms, at worst {metrics.itl_ms.p99:.1f} (p99)")
    if metrics.prompt_tokens is not None:
        rate = "" if metrics.prefill_tps is None else f" at {metrics.prefill_tps:.0f} tokens/s"
        parts.append(f"prompt {metrics.prompt_tokens} tokens{rate}")
    if metrics.load_s is not None:
        parts.append(f"loaded in {metrics.load_s:.1f} s")
    return " · ".join(parts)
