"""Makes a suite request of the arguments of `paragone suite run` and `paragone suite export`."""

from __future__ import annotations

from pathlib import Path

from paragone import InputError
from paragone.wording import counted
from paragone_cli.command_line.context import CommandContext
from paragone_cli.command_line.judges import consented_judges
from paragone_cli.command_line.output import note, warn
from paragone_cli.experiments.suite import SuiteArguments
from paragone_workbench.experiments.running.request import SCHEDULE, SuiteRequest
from paragone_workbench.experiments.suites.assertions import AssertionCatalog
from paragone_workbench.experiments.suites.suite import Suite, filter_prompts, problem_text
from paragone_workbench.experiments.suites.suite_file import read_suite


def suite_path(args: SuiteArguments) -> Path:
    """Return the file of prompts. Raises InputError unless exactly one file and at least one engine are named."""
    usage = f"Write: paragone suite {args.action} FILE --engines ENGINE…"
    if len(args.names) != 1:
        raise InputError(
            "Name one file with prompts." if args.names else "No file with prompts was named.", hint=usage
        )
    if not args.engines:
        raise InputError("No engine was named.", hint=usage)
    return Path(args.names[0])


def suite_request(args: SuiteArguments, context: CommandContext, catalog: AssertionCatalog) -> SuiteRequest:
    """Read the file of prompts, and return the request. Raises InputError, for example without consent to the judges."""
    path = suite_path(args)
    engines = context.checked(args.engines, args.settings, args.preset)
    suite = read_suite(path, catalog, system=context.system(args))
    _refuse_problems(path, suite, skip=args.skip_invalid)
    chosen = None
    if args.filter is not None:
        chosen = frozenset(prompt.index for prompt in filter_prompts(suite, args.filter).prompts)
        if not chosen:
            raise InputError(f"No prompt of {path.name} matches the filter {args.filter!r}.")
    judges, foreign = consented_judges(context, path, suite, engines, catalog)
    return SuiteRequest(
        suite=suite,
        engines=engines,
        judges=judges,
        foreign_judges=foreign,
        repetitions=args.repetitions or 1,
        schedule=args.schedule or SCHEDULE,
        chosen=chosen,
        retry_failed=args.retry_failed,
        fresh=args.fresh,
    )


def _refuse_problems(path: Path, suite: Suite, *, skip: bool) -> None:
    """Report the problems of a suite. Raises InputError, unless prompts with problems are to be skipped."""
    if not suite.problems:
        return
    count = len({problem.line for problem in suite.problems})
    for line in problem_text(path.name, suite.problems).splitlines():
        warn(line) if skip else note(line)
    if not skip:
        raise InputError(
            f"{path.name} has mistakes in {counted(count, 'line')}; nothing was run.",
            hint="Correct them, or leave out these prompts with --skip-invalid.",
        )
    note(f"Left out because of mistakes: {count:,}. Prompts that are run: {len(suite.prompts):,}.")
