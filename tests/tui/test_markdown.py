import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.style import Style

from paragone_tui.transcript.markdown import typeset

PALETTE = {
    "answer": Style(color="white", bgcolor="black"),
    "accent": Style(color="blue"),
    "code": Style(color="green"),
    "note": Style(color="bright_black"),
    "code-block": Style(color="white", bgcolor="grey11"),
    "code-comment": Style(color="bright_black", bgcolor="grey11"),
    "code-keyword": Style(color="blue", bgcolor="grey11"),
    "code-name": Style(color="cyan", bgcolor="grey11"),
    "code-number": Style(color="yellow", bgcolor="grey11"),
    "code-string": Style(color="green", bgcolor="grey11"),
}


def rows(text, width=40):
    return [strip.text for strip in typeset(text, width, PALETTE).rows]


def shown(text, width=40):
    return "\n".join(row.rstrip() for row in rows(text, width))


def style_of(text, word, width=40):
    for strip in typeset(text, width, PALETTE).rows:
        for segment in strip:
            if word in segment.text:
                return segment.style
    raise AssertionError(f"{word!r} is not there")


def test_an_answer_is_typeset_as_markdown():
    text = (
        "# Title\nA **bold** word, `code` and\na second line.\n\n- one\n- two\n  1. inner\n\n> quoted\n---\n"
    )
    assert [row.rstrip() for row in rows(text)] == [
        *(
            "  Title",
            "",
            "  A bold word, code and",
            "  a second line.",
            "",
            "   • one",
            "   • two",
            "      1. inner",
        ),
        *("", "  ▌ quoted", "", f"  {'─' * 38}"),
    ]


def test_markdown_elements_have_their_styles():
    assert style_of("a **bold** b", "bold").bold
    assert style_of("a *slanted* b", "slanted").italic
    assert style_of("a ~~gone~~ b", "gone").strike
    assert style_of("a `code` b", "code").color == PALETTE["code"].color
    assert style_of("# Head", "Head").color == PALETTE["accent"].color
    assert style_of("plain", "plain") == PALETTE["answer"]
    assert style_of("```python\nclass X: pass\n```", "class").color not in (None, PALETTE["answer"].color)


def test_wide_tables_lose_no_text():
    text = "| name | speed |\n| :-- | --: |\n| smol | 240 |\n| averyveryverylongname | 9 |\n"
    assert shown(text).splitlines()[2:] == [
        "  smol                      240",
        "  averyveryverylongname       9",
    ]
    narrow = shown(text, 20)
    assert narrow.startswith("  name   smol\n  speed  240\n\n")
    assert "…" not in narrow
    assert "averyveryverylongname" in re.sub(r"\s|240|9", "", narrow)


@pytest.mark.parametrize("text", ["[link=http://evil]x[/]", "[@click=app.quit]x[/]", ":smile:", "<b>x</b>"])
def test_html_and_console_markup_stay_text(text):
    assert shown(text).strip() == text


@pytest.mark.parametrize(
    "text", ["[a](http://b.c)", "<http://b.c>", "![a](http://b.c)", "[a]\n\n[a]: http://b.c"]
)
def test_there_are_no_terminal_hyperlinks(text):
    for strip in typeset(text, 40, PALETTE).rows:
        assert not any(segment.style.link or segment.style.meta for segment in strip)


def test_a_link_shows_its_target():
    assert shown("see [the page](http://b.c/x) there") == "  see the page (http://b.c/x) there"


@pytest.mark.parametrize(
    "text",
    [
        "&#27;[2J &#x9b;31m &#8238;",
        "[a](http://b.c/&#27;[2J)",
        "```&#27;]0;t&#7;\ncode\x1b[2J\n```",
        "# `\x9b2J`",
    ],
)
def test_control_characters_are_removed(text):
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202e]", "".join(rows(text)))


MARKS = [
    *("**", "```", "1.", "](", "&amp;", "~~", "---", "![", "![]()", "word", "今天", "👩\u200d👩\u200d👧"), *"*_`#->[]()<>\\"
]  # fmt: skip
SPACES = ["\n", "\n\n", " ", "    ", "\t", "| a | b |\n", "| - | - |\n"]
pieces = st.sampled_from(MARKS + SPACES)


@settings(deadline=None)
@given(st.lists(pieces, max_size=40).map("".join), st.integers(2, 60))
@example(">*word", 2)
@example(" | a | b |\n```word~~< word_| a | b |\n*", 22)
def test_any_text_fits_and_keeps_its_words(text, width):
    lines = rows(text, width)
    assert all(cell_len(line) <= max(width, 10) for line in lines)
    # Link targets, descriptions of images and languages of code are not part of the text.
    certain = re.split(r"\]\(|!\[|```", text)[0]
    words = [re.sub(r"[^a-z]", "", shown).count("word") for shown in ("".join(lines), certain)]
    assert words[0] >= words[1]


@pytest.mark.parametrize(
    "code",
    ["html+ng2\n{{" + "(" * 4_000, "c++\n_" + " " * 10_000 + "x", "python\n" + "a" * 10_000],
    ids=["language", "gap", "line"],
)
def test_code_too_slow_to_highlight_stays_plain(code):
    text = f"```{code}\nend\n```"
    assert style_of(text, "end").color in (None, PALETTE["code"].color, PALETTE["answer"].color)
