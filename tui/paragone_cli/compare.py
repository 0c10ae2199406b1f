"""`paragone compare`: sends a prompt to several engines and prints their answers and metrics."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from paragone import Image
from paragone_cli.arguments import Arguments
from paragone_cli.context import CommandContext
from paragone_cli.event_loop import run
from paragone_cli.interrupts import InterruptHandler
from paragone_cli.logprobs import checked_logprobs
from paragone_cli.output import flush, for_output, note, one_line, put, put_json
from paragone_cli.progress import Progress
from paragone_cli.prompt import read_prompt
from paragone_workbench.compare.answers import comparison_json, warnings_of
from paragone_workbench.compare.divergence import divergence_json, divergence_sentence
from paragone_workbench.compare.parity.check import parity_of_runs
from paragone_workbench.compare.parity.findings import Parity
from paragone_workbench.conversation.images import read_image
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.runs.metrics import RunMetrics
from paragone_workbench.runs.result import RunResult
from paragone_workbench.runs.spec import RunSpec
from paragone_workbench.workbench import Workbench

__all__ = ["compare", "figures"]

_WIDTH = 72


def compare(args: Arguments) -> int:
    """Run the command. Returns the exit code."""
    logprobs = checked_logprobs(args)
    context = CommandContext(args)
    context.warn()
    definitions = context.checked(args.engines, args.settings)
    images = [read_image(path) for path in args.images]
    prompt = read_prompt(args.prompt)
    spec = RunSpec.of_prompt(prompt, images=images, system=context.system(args), logprobs=logprobs)
    spec = dataclasses.replace(spec, prompt_ids=True)  # prompts are compared by their tokens
    workbench = Workbench(context.registry, mode=args.schedule or context.config.lanes.mode)
    return run(_compare(workbench, definitions, prompt, images, spec, as_json=args.json))


async def _compare(
    workbench: Workbench,
    definitions: Sequence[EngineDefinition],
    prompt: str,
    images: Sequence[Image],
    spec: RunSpec,
    *,
    as_json: bool,
) -> int:
    engines = [workbench.add(definition) for definition in definitions]
    interrupts = InterruptHandler(workbench)
    async with interrupts.installed():
        with Progress(engines) as progress:
            await workbench.open_all()
            if workbench.scheduler.decision is not None:
                note(f"Schedule {workbench.scheduler.order}. {workbench.scheduler.decision.reason}")
            executions = [workbench.run(engine, spec) for engine in engines]
            for number, execution in enumerate(executions):
                progress.follow(number, execution.run)
            for number, execution in enumerate(executions):
                await execution.ended()
                if not as_json:
                    progress.clear()
                    _print(execution.run.result, None if number == 0 else executions[0].run.result)
        runs = [execution.run for execution in executions]
        parity = parity_of_runs(runs, workbench.registry.find)
        if as_json:
            results = [run.result for run in runs]
            parting = None
            if spec.logprobs is not None:
                vocabularies = [await engine.vocabulary() for engine in engines]
                parting = divergence_json(results, [it.fingerprint if it else None for it in vocabularies])
            put_json(comparison_json(prompt, images, results, parity, divergence=parting))
        elif len(runs) > 1:
            _print_parity(parity)
    if interrupts.interrupted:
        return 130
    errors = [it.error for it in runs if it.error is not None]
    if len(errors) == len(runs) and all(error.exit_code == 2 for error in errors):
        return 2  # nothing that was asked for can be done
    return int(bool(errors))


def _print(answer: RunResult, reference: RunResult | None) -> None:
    title = one_line(f"── {answer.definition.name} ({answer.definition.backend}) ")
    put(("\n" if reference else "") + title.ljust(_WIDTH, "─"))
    if answer.text:
        put(for_output(answer.text).removesuffix("\n"))
    put()
    for caution in warnings_of(answer):
        put(f"warning: {one_line(caution.sentence)}")
    if answer.error:
        put(f"failed: {one_line(answer.message)}")
    elif answer.finish == "cancelled":
        put("stopped")
    elif answer.finish == "length":
        put("cut at the length limit")
    if answer.metrics is not None:
        put(figures(answer.metrics))
    if reference is not None and reference.text and answer.text:
        put(one_line(divergence_sentence(reference, answer)))
    flush()


def _print_parity(parity: Parity) -> None:
    put("\n" + "── Was it fair? ".ljust(_WIDTH, "─"))
    put(parity.verdict)
    for finding in parity.findings:
        put(one_line(f"≠ {finding.sentence} {finding.advice}".rstrip()))
    for unknown in parity.unknown:
        put(one_line(f"? {unknown.sentence} {unknown.advice}".rstrip()))
    if parity.remark:
        put(f"  {parity.remark}")
    flush()


def figures(metrics: RunMetrics) -> str:
    """Return the metrics of a run in one line, without those that are unknown."""
    parts = [f"{metrics.completion_tokens} tokens"]
    if metrics.decode_tps is not None:
        shared = " (shared)" if metrics.shared else ""
        parts.append(f"{metrics.decode_tps:.1f} tokens/s{shared}")
    if metrics.tokens_per_step is not None and metrics.acceptance is not None:
        parts.append(
            f"{metrics.tokens_per_step:.1f} tokens a step, {metrics.acceptance:.0%} of the drafts kept"
        )
    if metrics.ttft_s is not None:
        parts.append(f"first after {metrics.ttft_s:.2f} s")
    if metrics.itl_ms.p50 is not None and metrics.itl_ms.p99 is not None:
        parts.append(
            f"between tokens {metrics.itl_ms.p50:.1f} ms (median), {metrics.itl_ms.p99:.1f} ms (p99)"
        )
    if metrics.prompt_tokens is not None:
        rate = "" if metrics.prefill_tps is None else f" at {metrics.prefill_tps:.0f} tokens/s"
        parts.append(f"prompt {metrics.prompt_tokens} tokens{rate}")
    if metrics.load_s is not None:
        parts.append(f"loaded in {metrics.load_s:.1f} s")
    return " · ".join(parts)
