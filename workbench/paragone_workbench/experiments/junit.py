"""Writes the results of an experiment as JUnit XML, for CI.

The elements and attributes are those that Jenkins and GitLab read: `testsuites`, `testsuite`, `testcase`, and in a
test case `failure` or `error`. An engine is a test suite, a prompt and a repetition are a test case.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, tostring

from paragone.texts import shortened
from paragone_workbench.experiments.results import EngineTotals, saved_runs
from paragone_workbench.experiments.suite import SuitePrompt, saved_prompt
from paragone_workbench.output_file import replacing
from paragone_workbench.store import Experiment, ExperimentRun, History

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot contain, in any notation."""

_TITLE = 80
"""Largest number of characters of a prompt in the name of a test case."""


async def write_junit(
    path: Path,
    history: History,
    experiment: Experiment,
    totals: Sequence[EngineTotals],
    chosen: frozenset[int] | None = None,
) -> None:
    """Write the finished runs of the chosen prompts. The finished file replaces an earlier file. Raises ParagoneError.

    One test case is written at a time, so that memory does not grow with the number of runs.
    """
    with replacing(path) as file:
        file.write('<?xml version="1.0" encoding="utf-8"?>\n')
        file.write(_opening("testsuites", {"name": experiment.name}))
        for index, engine in enumerate(totals):
            counts = {"tests": engine.runs, "failures": engine.not_passed, "errors": engine.errors}
            attributes = {name: str(count) for name, count in counts.items()}
            file.write(
                _opening("testsuite", {"name": engine.engine, **attributes, "time": f"{engine.seconds:.3f}"})
            )
            async for run in saved_runs(history, experiment, chosen):
                if run.key.engine_index == index:
                    read = partial(saved_prompt, experiment_id=experiment.number, index=run.key.prompt_index)
                    case = _case(run, await history.call(read), experiment.repetitions)
                    file.write(tostring(case, encoding="unicode") + "\n")
            file.write("</testsuite>\n")
        file.write("</testsuites>\n")


def _case(run: ExperimentRun, prompt: SuitePrompt, repetitions: int) -> Element:
    title = shortened(" ".join(prompt.text.split()), _TITLE)
    name = f"{run.key.prompt_index}: {title}"
    if repetitions > 1:
        name += f" (repetition {run.key.repetition})"
    case = Element(
        "testcase",
        {"classname": _clean(run.result.definition.name), "name": _clean(name), "time": f"{run.seconds:.3f}"},
    )
    if run.result.error:
        _add(case, "error", run.result.message, "failed run")
        return case
    failed, undecided = run.reasons(passed=False), run.reasons(passed=None)
    if failed:
        _add(case, "failure", "\n".join(failed), "assertion")
    elif undecided:
        _add(case, "error", "\n".join(undecided), "no verdict")
    if failed or undecided:
        SubElement(case, "system-out").text = _clean(run.result.text)
    return case


def _add(case: Element, kind: str, text: str, cause: str) -> None:
    attributes = {"message": _clean(text.partition("\n")[0]), "type": cause}
    SubElement(case, kind, attributes).text = _clean(text)


def _opening(tag: str, attributes: dict[str, str]) -> str:
    element = Element(tag, {name: _clean(value) for name, value in attributes.items()})
    return tostring(element, encoding="unicode").removesuffix(" />") + ">\n"


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)
