import contextlib
import io
import json
from types import SimpleNamespace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from paragone_cli.command_line import output
from paragone_cli.command_line.output import block_lines, one_line, put_json, put_table, shortened
from paragone_cli.main import main
from paragone_tui.terminal.text import visible
from paragone_workbench.blocks import Table, TableCell, TableLine


def printed(call, *args) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        call(*args)
    return out.getvalue()


@given(st.text(st.characters()))
@example("\x1b[2J\x9b\u202e\ufeff\u2028\U000e0041\ud800 語😀\t\r\n\x7f")
def test_json_is_exact_and_safe_for_terminals(text):
    out = printed(put_json, {text: [text]})
    assert json.loads(out) == {text: [text]}
    assert visible(out) == out


@given(st.text(st.characters()))
def test_line_breaks_in_a_line_are_made_visible(text):
    assert len(one_line(text).splitlines()) <= 1
    assert visible(one_line(text)) == one_line(text)


def test_columns_are_aligned_whatever_they_contain():
    rows = [("語語", "x"), ("abcd", "x"), ("e\u0301", "x"), ("a\nb", "x")]
    assert printed(put_table, rows).splitlines() == ["語語  x", "abcd  x", "e\u0301     x", "a b   x"]


def test_a_part_of_a_wide_table_repeats_the_mark_and_the_name_of_each_row(monkeypatch):
    monkeypatch.setattr(output, "terminal_width", lambda: 17)
    monkeypatch.setattr(output, "standard_output", lambda: SimpleNamespace(isatty=lambda: True))
    line = TableLine(name="small", cells=(TableCell("10"), TableCell("20")), stands_out=True)
    table = Table(columns=("tokens", "speed"), lines=(line,), naming=1)
    assert block_lines(table, marked=True) == [
        "   engine  tokens",
        "▸  small   10",
        "",
        "   engine  speed",
        "▸  small   20",
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("abcd", "abcd"),
        ("abcde", "abc…"),
        ("語語", "語語"),
        ("語語語", "語…"),
        ("a\u0301bcd", "a\u0301bcd"),
    ],
)
def test_a_text_is_shortened_to_cells(text, shown):
    assert shortened(text, 4) == shown


def test_running_out_of_memory_is_reported_in_a_message(monkeypatch, capsys):
    from paragone_cli import commands

    def exhaust(argv):
        raise MemoryError

    monkeypatch.setattr(commands, "run", exhaust)
    assert main([]) == 1
    assert capsys.readouterr().err == (
        "paragone: The memory of this machine, or the limit of this process, is used up.\n"
    )
