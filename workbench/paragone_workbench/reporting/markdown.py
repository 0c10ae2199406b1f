"""The Markdown format, as GitHub shows it. Texts of users and models are in fences that these texts cannot end."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from importlib.metadata import version

from paragone_workbench.reporting.content import (
    AnswerView,
    Fact,
    PromptView,
    Remark,
    ReportContent,
    Section,
    Table,
    TableCell,
    TableLine,
    date_text,
)

_SPECIAL = re.compile(r"([\\`*_\[\]<>|~#&$])")


def markdown_pieces(report: ReportContent, now: float) -> Iterator[str]:
    """Yield the document. `now` is the time of writing, in seconds since 1970."""
    named = f"{_inline(report.title)} ({report.id})"
    if report.verdict is None:
        yield f"# {named}\n\n{_inline(report.summary)}\n\n"
    else:
        yield f"# {_inline(report.verdict.headline)}\n\n{named} · {_inline(report.summary)}\n\n"
        yield from (f"{_inline(reason)}\n\n" for reason in report.verdict.reasons)
    yield _table(report.overview)
    yield from map(_table, report.plots)
    if report.verdict is not None:
        for title, sentences in report.verdict.doubts:
            yield f"{title}:\n\n{_list(map(_inline, sentences))}"
    yield from (_section(section) for section in report.sections if not section.folded)
    yield "## Answers\n\n"
    if report.left_out:
        yield f"{report.left_out}\n\n"
    for prompt in report.prompts():
        yield from _prompt(prompt)
    yield from (_section(section) for section in report.sections if section.folded)
    if report.conditions is not None:
        yield f"## Was it fair?\n\n{_inline(report.conditions.verdict)}\n\n{_remarks(report.conditions.remarks)}"
    yield f"## How it was run\n\n{_facts(report.facts)}"
    for engine in report.engines:
        yield f"### {_inline(engine.name)}\n\n{_facts(engine.facts)}"
    yield f"Written by paragone {version('paragone')} on {date_text(now)}.\n"


def _section(section: Section) -> str:
    note = f"{_inline(section.note)}\n\n" if section.note else ""
    tables, remarks = "".join(map(_table, section.tables)), _remarks((*section.remarks, *section.rest))
    return f"## {_inline(section.title)}\n\n{tables}{remarks}{note}"


def _prompt(prompt: PromptView) -> Iterator[str]:
    yield f"### {prompt.title}\n\n"
    for message in prompt.messages:
        yield (f"{message.role}:\n\n" if len(prompt.messages) > 1 else "") + _fenced(message.text)
    yield _facts(prompt.facts)
    yield _remarks(prompt.remarks)
    for number, answers in enumerate(prompt.rounds, 1):
        if len(prompt.rounds) > 1:
            yield f"Repetition {number}:\n\n"
        yield from map(_answer, answers)
    if prompt.left_out:
        yield f"{prompt.left_out}\n\n"
    if prompt.conditions is not None:
        yield f"{_inline(prompt.conditions.verdict)}\n\n{_remarks(prompt.conditions.remarks)}"


def _answer(answer: AnswerView) -> str:
    parts = [f"#### {_inline(answer.engine)}\n\n"]
    if answer.thinking:
        parts.append(f"Thinking:\n\n{_fenced(answer.thinking)}")
    parts.append(_fenced(answer.text))
    lines = [
        *map(_remark, answer.remarks),
        *(f"**{check.verdict}** {_inline(check.type)}: {_inline(check.reason)}" for check in answer.checks),
        *map(_inline, filter(None, (answer.left_out, answer.compared, answer.figures))),
    ]
    if answer.settings:
        settings = ", ".join(f"{setting.name}={setting.value}" for setting in answer.settings)
        lines.append("In force: " + _inline(settings))
    return "".join(parts) + _list(lines)


def _table(table: Table) -> str:
    rows = [
        [_inline(table.first), *map(_inline, table.columns)],
        ["---", *("---:" for _ in table.columns)],
        *([_name(line), *map(_cell, line.cells)] for line in table.lines),
    ]
    title = f"**{_inline(table.title)}.** " if table.title else ""
    grid = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    about = f"{title}{_inline(table.note)}".rstrip()
    about = f"{about}\n\n" if about else ""
    return f"{about}{grid}\n" if title else f"{grid}\n{about}"


def _name(line: TableLine) -> str:
    name = f"**{_inline(line.name)}**" if line.stands_out else _inline(line.name)
    return f"{name}, {_inline(line.note)}" if line.note else name


def _cell(cell: TableCell) -> str:
    return _inline(f"{cell.text} ({cell.detail})" if cell.detail else cell.text)


def _facts(facts: Iterable[Fact]) -> str:
    return _list(f"{_inline(fact.name)}: {_inline(fact.value)}" for fact in facts)


def _remarks(remarks: Iterable[Remark]) -> str:
    return _list(map(_remark, remarks))


def _remark(remark: Remark) -> str:
    return f"**{_inline(remark.text)}**" if remark.stands_out else _inline(remark.text)


def _list(items: Iterable[str]) -> str:
    text = "".join(f"- {item}\n" for item in items)
    return f"{text}\n" if text else ""


def _fenced(text: str) -> str:
    """Return a text in a fence that is longer than any sequence of backticks in it."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}\n\n"


def _inline(text: str) -> str:
    """Return a text in which nothing is markup, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
