"""The HTML format: what models, users and servers said never becomes markup."""

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.workbench.conversation_writer import change_result
from tests.workbench.report_subjects import conversation

from paragone import Caution, ParagoneError
from paragone_workbench.reporting.conversation import conversation_report
from paragone_workbench.reporting.file import report_pieces
from paragone_workbench.text import visible

VOID = {"meta", "col", "line", "rect", "circle", "br"}


class Parsed(HTMLParser):
    """The elements of a page with their attributes, without `mark`; and the texts of elements of class `text`."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, tuple]] = []
        self.texts: list[str] = []
        self.marked: list[str] = []
        self._open: list[tuple[str, str]] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        if tag != "mark":
            self.elements.append((tag, tuple(attrs)))
        if tag not in VOID:
            self._open.append((tag, dict(attrs).get("class") or ""))
        if dict(attrs).get("class") == "text":
            self.texts.append("")
        if tag == "mark":
            self.marked.append("")

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self._open.pop()[0] == tag

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, tuple(attrs)))

    def handle_data(self, data):
        if any(name == "text" for _, name in self._open):
            self.texts[-1] += data
        if self._open and self._open[-1][0] == "mark":
            self.marked[-1] += data

    def handle_comment(self, data):
        raise AssertionError(data)

    def unknown_decl(self, data):
        raise AssertionError(data)


def page(saved) -> str:
    return "".join(report_pieces(conversation_report(saved, lambda _: None), "html", 0.0))


def parsed(saved) -> Parsed:
    return Parsed(page(saved))


HOSTILE = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "</div></article></body></html>",
    "<!-- --><![CDATA[ ]]><?php ?>",
    "{{ 7 * 7 }}{% raw %}{# #}",
    '" onmouseover="alert(1)" x="',
    "&lt;b&gt; &amp; &#0; &nbsp",
    "\x00\x1b[31mred\x1b[0m\x9b2J",
    "\u202egnp.exe\u202c \u2066x\u2069 \ufeff",
    "\ud83d lone \udc00",
    "a\r\nb\rc\u2028d\te",
    "</style><style>*{display:none}</style>",
    "",
)
any_text = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(alphabet=st.characters(), max_size=20),  # with surrogates
    st.lists(
        st.sampled_from(["<", ">", "&", '"', "'", "`", "{{", "{%", "\x00", "\n", "a b", "</div>"]), max_size=8
    ).map("".join),
)


def check_harmless(page: str) -> None:
    """Check that a page has nothing that runs or loads, and no control characters."""
    elements = Parsed(page).elements
    assert not {tag for tag, _ in elements} & {"script", "img"}
    assert not any(name.startswith("on") for _, attrs in elements for name, _ in attrs)
    assert "default-src 'none'" in page
    assert page.count("<style>") == 1
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", page)
    assert not re.search(
        r"""\b(src|href|url|@import)\s*[=(]\s*["']?\w+:|<(script|link|iframe|object)""", page
    )


@pytest.fixture(scope="module")
def plain():
    """The parsed page of a conversation of plain texts."""
    return parsed(conversation("x", "y", "z"))


@pytest.mark.thorough
@settings(max_examples=40)
@given(prompt=any_text, first=any_text, second=any_text)
def test_texts_cannot_add_elements_or_attributes(plain, prompt, first, second):
    found = parsed(conversation(prompt, first, second))
    # a sentence compares two answers only if both have words
    without = [it for it in found.elements if it != ("p", (("class", "compared"),))]
    assert without == [it for it in plain.elements if it != ("p", (("class", "compared"),))]
    assert found.texts == [visible(it) for it in (prompt, first, second)]


@pytest.mark.thorough
def test_a_very_long_answer_is_cut_with_a_note():
    long = "word " * 200_000
    found = page(conversation("Why?", "Because.", long))
    assert len(found) < 150_000
    assert (
        "Only the first 50,000 of 1,000,000 characters are shown. The CSV and JSON files have all." in found
    )


@pytest.mark.parametrize("text", [" ".join(HOSTILE[first:-1:3]) for first in range(3)])
def test_other_fields_are_escaped_too(text):
    saved = conversation(text, text, system=text, sampling={text: text})
    (run,) = saved.runs
    run.add("thinking", text)
    change_result(
        run, state="failed", error=ParagoneError(text), cautions=(Caution(code="x", sentence=text),)
    )
    check_harmless(page(saved))
