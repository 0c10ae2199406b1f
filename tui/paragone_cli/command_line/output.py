"""Writes to standard output and standard error: exact data to pipes, and no control characters to terminals.

Only this module writes to standard output: output of plugins and libraries goes to standard error.
"""

import contextlib
import io
import json
import os
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TextIO

from paragone import EngineCrashed, InputError, Json, ParagoneError
from paragone.wire import json_text
from paragone_tui.terminal.text import visible
from paragone_workbench.blocks import Section, Table


class OutputError(ParagoneError):
    """Standard output cannot be written. The message is empty if the reader closed the pipe."""

    def __init__(self, error: OSError) -> None:
        closed = isinstance(error, BrokenPipeError)
        super().__init__("" if closed else f"The output cannot be written: {error.strerror or error}.")
        # 141 is the exit code of shells for a program that SIGPIPE ended
        self.exit_code = 128 + 13 if closed else 1


_own: TextIO | None = None
"""Standard output, once `configure_streams` has moved it to a descriptor that no library knows."""


def configure_streams() -> None:
    """Make standard output and standard error replace characters that cannot be encoded, and use UTF-8 unless on a terminal.

    Standard output is moved to another descriptor. Output to descriptor 1, or to `sys.stdout`, goes to
    standard error from now on.
    """
    global _own
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding=None if stream.isatty() else "utf-8", errors="replace")
    real = sys.__stdout__
    if _own is None and real is not None and sys.stdout is real:  # unless sys.stdout was replaced
        _own = os.fdopen(os.dup(real.fileno()), "w", encoding=real.encoding, errors="replace", newline="")
        os.dup2(sys.stderr.fileno(), real.fileno())


def standard_output() -> TextIO:
    return sys.stdout if _own is None else _own


def terminal_width() -> int:
    """Return the width of the terminal of standard output in cells; 80 if it is unknown."""
    with contextlib.suppress(ValueError):
        return int(os.environ.get("COLUMNS", "")) or 80
    with contextlib.suppress(OSError):
        return os.get_terminal_size(standard_output().fileno()).columns or 80
    return 80


def put(text: str = "") -> None:
    """Print a text followed by a newline. Raises OutputError."""
    try:
        standard_output().write(f"{text}\n")
    except OSError as error:
        raise OutputError(error) from error


def put_line(text: str) -> None:
    """Print a text on one line, with control characters made visible. Raises OutputError."""
    put(one_line(text))


def flush() -> None:
    """Flush standard output. Raises OutputError."""
    try:
        standard_output().flush()
    except OSError as error:
        raise OutputError(error) from error


def discard_output() -> None:
    """Redirect standard output to the null device, so that Python does not report an error again at exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, standard_output().fileno())
    os.close(null)


def for_output(text: str) -> str:
    """Return a text for standard output: on a terminal with control characters made visible, else unchanged."""
    return visible(text) if standard_output().isatty() else text


def one_line(text: str) -> str:
    """Return a name, path or message on one line, with control characters made visible."""
    return " ".join(visible(text).splitlines())


def put_json(data: Json) -> None:
    """Print JSON. Characters that could control a terminal are escaped as `\\uXXXX`."""
    put(_harmless(json_text(data, indent=2)))


def put_result(data: Json, message: str, *, as_json: bool) -> None:
    if as_json:
        put_json(data)
    else:
        note(message)


def put_list(
    data: Json, rows: Sequence[Sequence[str]], nothing: str, *, as_json: bool, heading: Sequence[str] = ()
) -> None:
    """Print the JSON, or the rows as a table, or the message `nothing` if there are no rows."""
    if as_json:
        put_json(data)
    elif rows:
        put_table([heading, *rows] if heading else rows)
    else:
        note(nothing)


def json_line(data: Json) -> str:
    return _harmless(json_text(data))


def _harmless(text: str) -> str:
    if visible(text) == text:
        return text
    return "".join(it if it == "\n" or visible(it) == it else json.dumps(it)[1:-1] for it in text)


def put_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows in aligned columns, separated by two spaces."""
    for line in table_lines(rows):
        put(line)


_BAR = 40
"""Cells of the longest bar in a table."""


def put_sections(sections: Iterable[Section]) -> None:
    """Print sections, with an empty line between their parts."""
    parts = [part for section in sections for part in _parts(section)]
    put("\n\n".join("\n".join(part) for part in parts) if parts else "Nothing was measured.")


def _parts(section: Section) -> Iterator[Sequence[str]]:
    if section.about:
        yield [one_line(section.about)]
    for table in section.tables:
        yield block_lines(table)
    if section.remarks:
        yield [one_line(remark.text) for remark in section.remarks]


def block_lines(table: Table, *, marked: bool = False) -> list[str]:
    """Return the lines of a table, and of the note below it. `marked` shows which row stands out."""
    rows = [
        [
            *(["▸" if line.stands_out else ""] if marked else []),
            f"{line.name} ({line.note})" if line.note else line.name,
            *(f"{cell.text} ({cell.detail})" if cell.detail else cell.text for cell in line.cells),
            *(
                ["█" * max(1, round(_BAR * line.mark.x / 100))]
                if line.mark and line.mark.kind == "bar"
                else []
            ),
        ]
        for line in table.lines
    ]
    head = [*([""] if marked else []), table.first, *table.columns]
    head += [""] * (len(rows[0]) - len(head))
    lines = _in_parts([head, *rows] if any(head) else rows, table.naming and table.naming + marked)
    return [*filter(None, [table.title]), *lines, *filter(None, [one_line(table.note)])]


def _in_parts(rows: Sequence[Sequence[str]], naming: int) -> list[str]:
    """Return lines, on a terminal in parts that fit in its width, each with the first `naming` columns; 0 for one part."""
    room = terminal_width() if naming and standard_output().isatty() else sys.maxsize
    begin, columns = naming, len(rows[0])
    parts: list[str] = []
    while begin < columns:
        end = columns
        while True:
            lines = table_lines([[*row[:naming], *row[begin:end]] for row in rows])
            if end == begin + 1 or max(map(cells, lines)) <= room:
                break
            end -= 1
        parts += [*([""] if parts else []), *lines]
        begin = end
    return parts


def table_lines(rows: Sequence[Sequence[str]]) -> list[str]:
    cleaned = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(map(cells, column)) for column in zip(*cleaned, strict=True)]
    padded = [
        (cell + " " * (width - cells(cell)) for cell, width in zip(row, widths, strict=True))
        for row in cleaned
    ]
    return ["  ".join(row).rstrip() for row in padded]


def put_whole_names(brief: Mapping[str, str]) -> None:
    """Print the whole name of each engine with a brief one."""
    names = [one_line(f"{shown}: {name}") for name, shown in brief.items() if shown != name]
    if names:
        put("\n".join(["", *names]))


def shortened(text: str, width: int) -> str:
    """Return a text without line breaks, cut to `width` cells. A `…` marks the cut."""
    end = used = 0
    for character in text:
        used += cells(character)
        if used > width:
            break
        end += 1
    else:
        return text
    while cells(text[:end]) >= width:
        end -= 1
    return f"{text[:end]}…"


def cells(text: str) -> int:
    return sum(
        0 if unicodedata.combining(character) else 1 + (unicodedata.east_asian_width(character) in "WF")
        for character in text
    )


def print_error(error: ParagoneError, engine: str = "") -> None:
    """Print on standard error what failed, for which engine if several were asked, and what to do about it."""
    lines = [f"paragone: {one_line(f'{engine}: ' if engine else '')}{one_line(error.message)}"]
    if isinstance(error, EngineCrashed):
        lines += [f"  | {one_line(text)}" for text in error.log_tail]
    if error.hint:
        lines.append(one_line(error.hint))
    _print("\n".join(lines))


def warn(message: str) -> None:
    _print(f"paragone: warning: {one_line(message)}")


def note(message: str) -> None:
    _print(f"paragone: {one_line(message)}")


def hint(text: str) -> None:
    _print(one_line(text))


def _print(text: str) -> None:
    with contextlib.suppress(OSError):  # standard error is closed
        print(text, file=sys.stderr)


def at_terminal() -> bool:
    """Whether standard input is a terminal, so that the user can be asked."""
    return sys.stdin is not None and sys.stdin.isatty()


def require_terminal(message: str, hint: str = "") -> None:
    """Raise InputError with this message if a standard stream is not a terminal, or the terminal cannot move its cursor."""
    if not all(
        stream is not None and stream.isatty() for stream in (sys.stdin, standard_output(), sys.stderr)
    ):
        raise InputError(message, hint=hint)
    if os.environ.get("TERM") == "dumb":
        raise InputError(
            f"{message} This terminal can only print lines: the variable TERM is `dumb`.",
            hint=f"{hint} If the terminal can do more, set TERM to its type, such as xterm-256color.".lstrip(),
        )


def require_answer() -> None:
    """Raise InputError if the user cannot be asked. The error's hint names the option --yes."""
    if not at_terminal():
        raise InputError(
            "Standard input is not a terminal, so nobody can confirm.", hint="Confirm with --yes."
        )


def confirmed(question: str) -> bool:
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
