import contextlib
import io
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from paragone_cli.command_line.output import one_line, put_json, put_table, shortened
from paragone_cli.main import main
from paragone_tui.terminal.text import visible


def printed(call, *args) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as output:
        call(*args)
    return output.getvalue()


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
