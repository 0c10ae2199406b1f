"""`paragone ask` and `paragone compare`: send a prompt to engines, and print their answers."""

import dataclasses
from collections.abc import Sequence

from paragone import InputError
from paragone_cli.command_line import formats, output
from paragone_cli.command_line.arguments import Arguments
from paragone_cli.command_line.context import CommandContext
from paragone_cli.command_line.event_loop import interruptible, run
from paragone_cli.command_line.next_command import reference_first, show_next
from paragone_cli.command_line.progress import ProgressLine, Stream, print_answer
from paragone_cli.command_line.prompt import prompt_spec
from paragone_workbench.compare import divergence
from paragone_workbench.compare.parity import check_parity
from paragone_workbench.compare.parity_findings import Parity, sides_of
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.runs.result import RunResult
from paragone_workbench.runs.run import RunSpec
from paragone_workbench.workbench import Workbench


def ask(args: Arguments) -> int:
    context = CommandContext(args)
    (definition,) = context.engines([args.engine], args.settings, args.preset)
    if args.text is not None and args.prompt is not None:
        raise InputError(
            "Two prompts were given.", hint="Write the prompt after the engine, or after --prompt."
        )
    spec = prompt_spec(args, args.prompt if args.text is None else args.text, context)
    status = run(_ask(Workbench(context.registry), definition, spec, as_json=args.json))
    if status == 0:
        show_next(args, "ask", engine=args.engine)
    return status


async def _ask(workbench: Workbench, definition: EngineDefinition, spec: RunSpec, *, as_json: bool) -> int:
    engine = workbench.add(definition)
    async with interruptible(workbench) as interrupts:
        stream = None if as_json else Stream(interrupts.stop)
        with ProgressLine(workbench.engines) as progress:
            await workbench.open_all()
            answer = workbench.run(engine, spec)
            progress.follow(0, answer)
            await print_answer(answer, stream, progress)
    if answer.error is not None:
        output.print_error(answer.error)
    errors = [] if answer.error is None else [answer.error]
    return interrupts.exit_code(errors, nothing_done=bool(errors))


_WIDTH = 72


def compare(args: Arguments) -> int:
    context = CommandContext(args)
    definitions = context.engines(args.engines, args.settings, args.preset)
    spec = prompt_spec(args, args.prompt, context)
    from paragone.shared_options import draw_seed

    # Prompts are compared by their tokens, and answers are drawn with one seed.
    spec = dataclasses.replace(spec, prompt_ids=True, drawn_seed=draw_seed())
    workbench = Workbench(context.registry, mode=args.schedule or context.config.lanes.mode)
    status = run(_compare(workbench, definitions, spec, as_json=args.json))
    compared = reference_first(args.engines, definitions)
    if status == 0 and len(compared) > 1:
        backend = context.registry.get(definitions[0].backend)
        pair = () if backend.capabilities.distributions else compared
        show_next(args, "compare", engines=compared, pair=pair)
    return status


async def _compare(
    workbench: Workbench, definitions: Sequence[EngineDefinition], spec: RunSpec, *, as_json: bool
) -> int:
    engines = [workbench.add(definition) for definition in definitions]
    async with interruptible(workbench) as interrupts:
        with ProgressLine(engines) as progress:
            await workbench.open_all()
            if workbench.decision is not None:
                output.note(f"Schedule {workbench.order}. {workbench.decision.reason}")
            runs = [workbench.run(engine, spec) for engine in engines]
            for number, answer in enumerate(runs):
                progress.follow(number, answer)
            for number, answer in enumerate(runs):
                await answer.ended()
                if not as_json:
                    progress.clear()
                    _print(answer.result, None if number == 0 else runs[0].result)
        named = ((run.result.definition.name, run) for run in runs)
        parity = check_parity(sides_of(named, workbench.registry.find))
        if as_json:
            asked = [] if spec.logprobs is None else engines
            known = [await engine.vocabulary() for engine in asked]
            prompt, results = spec.messages[-1], [run.result for run in runs]
            output.put_json(
                divergence.comparison_json(
                    prompt.text,
                    prompt.images,
                    results,
                    parity,
                    vocabularies=[vocabulary.fingerprint if vocabulary else None for vocabulary in known],
                )
            )
        elif len(runs) > 1:
            _print_parity(parity)
    errors = [run.error for run in runs if run.error is not None]
    return interrupts.exit_code(errors, nothing_done=len(errors) == len(runs))


def _print(answer: RunResult, reference: RunResult | None) -> None:
    title = output.one_line(f"── {answer.definition.name} ({answer.definition.backend}) ")
    output.put(("\n" if reference else "") + title.ljust(_WIDTH, "─"))
    if answer.text:
        output.put(output.for_output(answer.text).removesuffix("\n"))
    output.put()
    for caution in divergence.warnings_of(answer):
        output.put(f"warning: {output.one_line(caution.sentence)}")
    if answer.error:
        output.put(f"failed: {output.one_line(answer.message)}")
    elif answer.finish == "cancelled":
        output.put("stopped")
    elif answer.cut:
        output.put(answer.cut)
    if answer.metrics is not None:
        output.put(formats.metrics_text(answer.metrics))
    if reference is not None and reference.text and answer.text:
        output.put_line(divergence.divergence_message(reference, answer))
    output.flush()


def _print_parity(parity: Parity) -> None:
    output.put("\n" + "── Was it fair? ".ljust(_WIDTH, "─"))
    output.put(parity.verdict)
    for finding in (*parity.findings, *parity.unknown):
        output.put_line(f"{finding.sign} {finding.text}")
    if parity.remark:
        output.put(f"  {parity.remark}")
    output.flush()
