"""`paragone fidelity`: measures how far engines' distributions are from those of a reference."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

from paragone import InputError, Json, Message
from paragone.files import read_regular_file
from paragone.texts import counted, size_text
from paragone_cli.command_line.command_arguments import FidelityArguments
from paragone_cli.command_line.context import CommandContext
from paragone_cli.command_line.event_loop import interruptible, run
from paragone_cli.command_line.formats import short_name
from paragone_cli.command_line.output import note, print_error, put, put_json, put_line, put_table, warn
from paragone_cli.command_line.saved import save_measurement
from paragone_cli.measurement_progress import FidelityProgress
from paragone_workbench.choosing.choice import QUESTIONS
from paragone_workbench.choosing.measurements import Comparison
from paragone_workbench.compare.agreement import Agreement, AnswerSummary, Conduct, agreement_verdict
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments.assertions import load_assertions
from paragone_workbench.experiments.suite import problem_text
from paragone_workbench.experiments.suite_file import read_suite
from paragone_workbench.measure import fidelity_results, fidelity_verdict
from paragone_workbench.measure.fidelity import Fidelity, sample_text
from paragone_workbench.measure.free_running import FreeRunning, kv_candidates
from paragone_workbench.statistics import Estimate, number

_BAR = 40
_HEIGHTS = " ▁▂▃▄▅▆▇█"


def put_fidelity(fidelity: Fidelity) -> None:
    scored, reference = fidelity.reference.losses.size, fidelity.reference
    if not reference.windows:
        put("Nothing was measured.")
        return
    partial = ", partial" if fidelity.partial else ""
    put_line(
        f"Reference {reference.name}: {scored:,} tokens scored in {reference.windows} of {fidelity.windows} "
        f"windows of {fidelity.window} tokens{partial}"
    )
    put()
    put_table(_table(fidelity))
    if reference.windows < fidelity_results.FEWEST_WINDOWS:
        put(f"\nThere are no uncertainties: these need {fidelity_results.FEWEST_WINDOWS} windows or more.")
    compared = [
        (candidate.name, candidate.size, candidate.difference)
        for candidate in fidelity.candidates
        if candidate.difference.windows
    ]
    if compared:
        _put_pictures([*compared, (_NOISE, None, fidelity.noise)])
    elif not any(fidelity_verdict.verdict(candidate, fidelity) for candidate in fidelity.candidates):
        put("\nNo candidate was measured.")
    found = fidelity_verdict.depths_of(fidelity)
    _put_depths(fidelity.candidates, found)
    put()
    for candidate, depth in zip(fidelity.candidates, found, strict=True):
        if candidate.reason:
            put_line(candidate.reason)
        if sentence := fidelity_verdict.verdict(candidate, fidelity):
            put_line(sentence)
        if depth.sentence:
            put_line(f"{candidate.name}: {depth.sentence}")
    for pair in fidelity_verdict.neighbours(
        fidelity_verdict.kld_pairs(fidelity.candidates), fidelity.candidates
    ):
        put_line(pair.sentence)
    if compared:
        put_line(f"Scale of the mean KLD: {fidelity_verdict.scale_text()}.")


_NOISE = "noise floor"


def _table(fidelity: Fidelity) -> list[list[str]]:
    """Return the table: a column for the reference, one for its noise, and one for each candidate."""
    reference, candidates = fidelity.reference, fidelity.candidates
    engines: list[fidelity_results.Measured] = [reference, *candidates]
    differences = [fidelity.noise, *(candidate.difference for candidate in candidates)]

    def of_engines(title: str, show: Callable[[fidelity_results.Measured], str]) -> list[str]:
        first, *others = map(show, engines)
        return [title, first, "", *others]

    def of_differences(title: str, show: Callable[[fidelity_results.Difference], str]) -> list[str]:
        return [title, "", *map(show, differences)]

    def of_klds(title: str, fraction: float) -> list[str]:
        return of_differences(
            title, lambda difference: _plain(fidelity_results.percentile(difference.kld, fraction))
        )

    ratios = [fidelity_verdict.log_ratio(candidate, reference) for candidate in candidates]
    return [
        ["", short_name(reference.name), _NOISE, *(short_name(candidate.name) for candidate in candidates)],
        of_engines("weights", lambda measured: size_text(measured.size)),
        of_engines("perplexity", lambda measured: _shown(measured.perplexity)),
        ["ln(PPL / reference's)", "", "", *map(_shown, ratios)],
        of_engines("bits per byte", lambda measured: _shown(measured.bits_per_byte(fidelity.text_bytes))),
        of_differences("mean KLD", lambda difference: _shown(fidelity_results.mean(difference.kld))),
        of_differences("on the scale", lambda difference: _band(fidelity_results.mean(difference.kld))),
        of_klds("median KLD", 0.5),
        of_klds("90% KLD", 0.9),
        of_klds("99% KLD", 0.99),
        of_klds("maximum KLD", 1),
        of_differences("mean Δp", lambda difference: _percent(fidelity_results.mean(difference.delta_p))),
        of_differences(
            "RMS Δp", lambda difference: _percent(fidelity_results.root_mean_square(difference.delta_p))
        ),
        of_differences(
            "same top token", lambda difference: _percent(fidelity_results.mean(difference.same_top))
        ),
        *_top_rows([candidate.top for candidate in candidates]),
    ]


def _top_rows(tops: Sequence[fidelity_results.TopAgreement | None]) -> list[list[str]]:
    """Return rows on the candidates that report only their likeliest tokens; no rows if there are no such candidates."""
    if not any(tops):
        return []

    def row(title: str, show: Callable[[fidelity_results.TopAgreement], Estimate | None]) -> list[str]:
        return [title, "", "", *("" if top is None else _percent(show(top)) for top in tops)]

    return [
        row(f"same first of the top {fidelity_results.TOP}", lambda top: top.same_top),
        row(f"in common of the top {fidelity_results.TOP}", lambda top: top.common),
    ]


def _put_pictures(rows: Sequence[tuple[str, int | None, fidelity_results.Difference]]) -> None:
    """Draw the mean KL divergence by the size of the weights, and the distribution of the positions' KL divergences."""
    means = [(name, size, fidelity_results.mean(difference.kld)) for name, size, difference in rows]
    largest = max((estimate.value for _, _, estimate in means if estimate is not None), default=0.0)
    put("\nMean KLD by size")
    known = [(name, size, estimate) for name, size, estimate in means if estimate is not None]
    put_table(
        [
            [
                short_name(name),
                size_text(size),
                f"{'█' * max(1, round(_BAR * estimate.value / largest)) if largest else ''} {estimate.value:.3g}",
            ]
            for name, size, estimate in sorted(known, key=lambda row: (row[1] is None, row[1] or 0))
        ]
    )
    put("\nShare of the positions, by their KLD")
    drawn = [
        [short_name(name), "".join(_columns(fidelity_results.shares(difference.kld)))]
        for name, _, difference in rows
        if difference.windows
    ]
    width = len(drawn[0][1]) // len(fidelity_results.DECADES[1:])
    put_table([*drawn, ["", "".join(f"1e{decade}".ljust(width) for decade in fidelity_results.DECADES[:-1])]])


def _put_depths(
    candidates: Sequence[fidelity_results.Candidate], found: Sequence[fidelity_results.Depth]
) -> None:
    """Print the mean KL divergence by the number of tokens before the position."""
    measured = [
        (candidate.name, depth.parts)
        for candidate, depth in zip(candidates, found, strict=True)
        if depth.parts
    ]
    if not measured:
        return
    put("\nMean KLD by the number of tokens before")
    put_table(
        [
            ["", *(part.title for part in measured[0][1])],
            *([short_name(name), *(_shown(part.kld) for part in parts)] for name, parts in measured),
        ]
    )


def _columns(found: Sequence[float]) -> Iterator[str]:
    """Yield a block character for each share, with its height in proportion; the largest share has a full block."""
    most = max(found)
    for part in found:
        level = round(part / most * (len(_HEIGHTS) - 1)) if most else 0
        yield _HEIGHTS[max(level, 1) if part else 0]


def _shown(estimate: Estimate | None) -> str:
    return "" if estimate is None else number(estimate)


def _percent(estimate: Estimate | None) -> str:
    return "" if estimate is None else f"{number(estimate.scaled(100))} %"


def _band(estimate: Estimate | None) -> str:
    return "" if estimate is None else fidelity_verdict.band_of(estimate.value)


def _plain(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def put_answers(summary: AnswerSummary, answers: FreeRunning) -> None:
    """Print the length and the faults of greedy answers, and how far these answers agree with the reference's answers."""
    partial = ", partial" if answers.partial else ""
    put(f"\nGreedy answers to {counted(len(answers.prompts), 'prompt')}{partial}\n")
    put_table(_agreement_table(summary))
    put()
    for sentence in (*answers.cautions, *map(agreement_verdict, summary.agreements)):
        if sentence:
            put_line(sentence)


def _agreement_table(summary: AnswerSummary) -> list[list[str]]:
    def of_engines(title: str, show: Callable[[Conduct], str]) -> list[str]:
        return [title, *map(show, summary.conducts)]

    def of_candidates(title: str, show: Callable[[Agreement], str]) -> list[str]:
        return [title, "", *map(show, summary.agreements)]

    return [
        of_engines("", lambda found: short_name(found.engine)),
        of_engines("answers", lambda found: f"{found.answers:,}"),
        of_candidates("the same answer", lambda found: f"{found.identical:,} of {found.prompts:,}"),
        of_candidates("same before the fork", _fork),
        of_engines("length (median)", lambda found: _tokens(found.median_tokens)),
        of_candidates("length, times", lambda found: _ratio(found.length_ratio)),
        of_engines("cut at the limit", lambda found: f"{found.cut:,}"),
        of_engines("loops", lambda found: f"{found.loops:,}"),
        of_engines("empty", lambda found: f"{found.empty:,}"),
    ]


def _fork(found: Agreement) -> str:
    quartiles = found.fork_quartiles
    return "" if quartiles is None else f"{quartiles[1]:.0f} {found.unit}s"


def _tokens(count: float | None) -> str:
    return "" if count is None else f"{count:,.0f} tokens"


def _ratio(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"


def fidelity_run(
    args: FidelityArguments,
    registry: Registry,
    engines: Sequence[EngineDefinition],
    text: str,
    prompts: Sequence[Sequence[Message]],
) -> int:
    """Compare the other engines with the first engine, on a text and by the answers to prompts. Returns the exit code."""
    comparison = Comparison(registry, engines, text, prompts, window=args.window)
    status = run(_run(args, comparison))
    if _is_measured(comparison):
        save_measurement("fidelity", engines, _json(args, comparison), registry)
    exceeded = () if args.max_kld is None else fidelity_verdict.above_limit(comparison.fidelity, args.max_kld)
    for sentence in exceeded:
        note(sentence)
    return status or int(bool(exceeded))


async def _run(args: FidelityArguments, comparison: Comparison) -> int:
    fidelity, answers = comparison.fidelity, comparison.answers
    async with interruptible(comparison) as interrupts:
        with FidelityProgress() as progress:
            await comparison.measure(progress.begin)
        # an engine without distributions is compared by its answers: nothing failed
        has_failed = comparison.refused is not None and fidelity.reference.engine.capabilities.distributions
    if comparison.refused is not None:
        if not _is_measured(comparison):
            raise comparison.refused
        note(f"There is no comparison of distributions. {comparison.refused}")
    if args.json:
        put_json(_json(args, comparison))
    else:
        _put(comparison)
    for candidate in fidelity.candidates:
        if sentence := fidelity_verdict.unchanged(candidate, fidelity):
            warn(sentence)
    found = [*(one.error for one in (fidelity.reference, *fidelity.candidates)), *answers.errors.values()]
    errors = list({id(error): error for error in found if error is not None}.values())
    for error in errors:
        print_error(error)
    status = interrupts.exit_code(errors, nothing_done=bool(errors) and not _is_measured(comparison))
    return status or int(has_failed)


def _is_measured(comparison: Comparison) -> bool:
    return bool(comparison.fidelity.reference.windows) or comparison.summary is not None


def _put(comparison: Comparison) -> None:
    summary = comparison.summary
    if comparison.fidelity.reference.windows or summary is None:
        put_fidelity(comparison.fidelity)
    if summary is not None:
        put_answers(summary, comparison.answers)


def _json(args: FidelityArguments, comparison: Comparison) -> dict[str, Json]:
    text = None if args.text is None else args.text.name
    prompts = None if args.prompts is None else args.prompts.name
    return {
        "text": text,
        **fidelity_verdict.fidelity_json(comparison.fidelity),
        "free_running": comparison.answers_json(prompts),
    }


def read_prompts(path: Path | None) -> list[tuple[Message, ...]]:
    """Return the messages of each prompt of a suite file, by default of the suite of paragone itself. Raises InputError."""
    file = path or QUESTIONS
    with closing(load_assertions()) as catalog:
        suite = read_suite(file, catalog)
    if suite.problems:
        raise InputError(
            problem_text(str(file), suite.problems), hint="Correct the file; nothing was measured."
        )
    return [prompt.messages for prompt in suite.prompts]


LARGEST_TEXT = 2**26
"""Largest size in bytes of a text. An engine computes for hours on a text of a hundredth of this size."""


def fidelity(args: FidelityArguments) -> int:
    context = CommandContext(args)
    engines = context.checked([args.engine, *args.engines], args.settings)
    if args.kv is not None:
        backend = context.registry.get(engines[0].backend)
        reference, candidates = kv_candidates(
            engines[0], backend, list(filter(None, map(str.strip, args.kv.split(","))))
        )
        engines = (reference, *engines[1:], *candidates)
    if len(engines) == 1:
        raise InputError(
            "There is nothing to compare the reference with.",
            hint="Name a candidate as well, or types of the KV cache with --kv.",
        )
    if args.text is None:
        text = sample_text()
        note("The text that comes with paragone is short, so the uncertainties are wide. See --text.")
    else:
        text = _read(args.text)
    if args.prompts is not None and not args.free_running:
        raise InputError("--prompts needs --free-running: only free-running engines answer prompts.")
    prompts: Sequence[Sequence[Message]] = ()
    if args.free_running:
        prompts = read_prompts(args.prompts)
    return fidelity_run(args, context.registry, engines, text, prompts)


def _read(path: Path) -> str:
    """Return the text in a file. Raises InputError."""
    content = read_regular_file(path, hint="Name a text file.", largest=LARGEST_TEXT)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        encoding = "UTF-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "LATIN1"  # a guess
        raise InputError(
            f"{path} is not text in UTF-8: byte {error.start + 1:,} does not belong there.",
            hint=f"Convert it: iconv -f {encoding} -t UTF-8 {path}",
        ) from error
