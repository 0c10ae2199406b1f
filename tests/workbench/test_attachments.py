"""Files with a prompt: mentions, completion, reading, saving with the conversation."""

import io
import json
import subprocess
import sys
import zlib

import pytest
from rogue_backend.definitions import rogue
from tests.pictures import picture
from tests.workbench.history_file import open_history
from tests.workbench.lane_helpers import opened

from paragone import Image, InputError
from paragone_workbench.conversation import attached_files
from paragone_workbench.conversation.attached_files import candidates, read_file
from paragone_workbench.conversation.tree import (
    AttachedFile,
    files_in,
    files_of,
    mention_at,
    mentions,
    with_sections,
    without_sections,
    written,
)
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments.document import documents_of_conversations, read_conversation
from paragone_workbench.lanes.session import Session
from paragone_workbench.reporting.conversation import conversation_report


def text_file(path) -> AttachedFile:
    file = read_file(str(path))
    assert isinstance(file, AttachedFile)
    return file


def pdf(text: str, *, drawn: bytes = b"", packed: bytes = b"") -> bytes:
    """Return a PDF of one page; without text, the page is empty. What is `drawn` can be given, also packed."""
    drawn = f"BT /F1 12 Tf 9 9 Td ({text}) Tj ET".encode() if text else drawn or packed
    packing = b"/Filter /FlateDecode " if packed else b""
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 99 99] /Contents 4 0 R"
        b" /Resources << /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> >>",
        b"<< %s/Length %d >>\nstream\n%s\nendstream" % (packing, len(drawn), drawn),
    ]
    content, starts = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        starts.append(len(content))
        content += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % start for start in starts)
    end = b"xref\n0 5\n0000000000 65535 f \n%strailer << /Root 1 0 R /Size 5 >>\nstartxref\n%d\n%%%%EOF"
    return content + end % (table, len(content))


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("Compare @notes.md, @~/a.txt and @src/*.py.", ["notes.md", "~/a.txt", "src/*.py"]),
        ('"@no" a@b.c @"my notes.md"? (@no)', ["my notes.md"]),
        ('@ alone, @"unclosed one', ["unclosed one"]),
    ],
)
def test_mentions_are_found_in_a_text(text, paths):
    assert [mention.path for mention in mentions(text)] == paths


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("see @no", "no"),
        ('see @"my no', "my no"),
        ('see @"my notes.md"', None),
        ("me@home", None),
    ],
)
def test_the_mention_at_the_cursor_is_found(text, path):
    found = mention_at(text, len(text))
    assert (found and found.path) == path


@pytest.mark.parametrize("path", ["notes.md", "my notes.md", "~/a b/c.", "ünï.txt"])
def test_a_written_mention_is_read_back(path):
    assert [mention.path for mention in mentions(f"Read {written(path)}, please")] == [path]


def test_candidates_begin_with_the_typed_text(home, monkeypatch):
    monkeypatch.chdir(home)
    for name in ("notes.md", "Notes 2.md", ".notes", "other.txt", 'no"quote.md', "no\nline.md"):
        (home / name).write_text("some text")
    (home / "notebooks").mkdir()
    assert [(one.path, one.size) for one in candidates("no")] == [
        ("Notes 2.md", 9),
        ("notes.md", 9),
        ("notebooks/", None),
    ]
    assert [one.path for one in candidates("~/.n")] == ["~/.notes"]
    with pytest.raises(InputError, match=r"nowhere/ cannot be listed: No such file or directory\."):
        candidates("nowhere/x")


def test_a_pattern_attaches_the_matching_files(home, monkeypatch):
    monkeypatch.chdir(home)
    (home / "sub").mkdir()
    for name in ("b.py", "a.py", "sub/c.py", "d.txt"):
        (home / name).write_text("x")
    assert files_of("*.py") == ["a.py", "b.py"]
    assert files_of("**/*.py") == ["a.py", "b.py", "sub/c.py"]
    with pytest.raises(InputError, match=r"No file matches \*\.c\."):
        files_of("*.c")


def test_a_text_file_becomes_a_section_of_the_prompt(home):
    (home / "notes.md").write_bytes("\ufeffé ```` inside\n".encode())
    file = text_file("~/notes.md")
    assert (file.name, file.size) == ("notes.md", 18)
    assert file.section == "notes.md:\n`````\né ```` inside\n`````"
    assert isinstance(read_file(str(picture(home / "cat.dat"))), Image)


def encrypt(path, content: bytes) -> None:
    import pypdf  # not above: it takes 0.1 s, in each process that collects the tests

    writer = pypdf.PdfWriter(io.BytesIO(content))
    writer.encrypt("password", algorithm="RC4-128")
    writer.write(path)


REFUSED = [
    ("folder", "is a folder.", lambda path: path.mkdir()),
    ("empty", "is empty.", lambda path: path.touch()),
    (
        "large",
        "is too large: 10 MB. The limit is 8 MB.",
        lambda path: path.write_bytes(b" " * 10**7),
    ),
    ("locked.pdf", "is encrypted.", lambda path: encrypt(path, pdf("secret"))),
    ("scan.pdf", "has no text: its pages are images.", lambda path: path.write_bytes(pdf(""))),
]


@pytest.mark.parametrize(("name", "said", "make"), REFUSED, ids=[name for name, *_ in REFUSED])
def test_files_that_cannot_be_attached_raise_the_reason(tmp_path, name, said, make):
    make(tmp_path / name)
    with pytest.raises(InputError) as caught:
        read_file(str(tmp_path / name))
    assert said in caught.value.message
    assert "\n" not in str(caught.value)


def test_the_text_of_a_pdf_is_attached(tmp_path, monkeypatch):
    (tmp_path / "paper.pdf").write_bytes(pdf("Hello paper"))
    assert text_file(tmp_path / "paper.pdf").section == "paper.pdf:\n```\nHello paper\n```"
    monkeypatch.setitem(sys.modules, "pypdf", None)
    with pytest.raises(InputError) as caught:
        read_file(str(tmp_path / "paper.pdf"))
    assert caught.value.message == "The text of PDFs needs the package pypdf, which is not installed."
    assert "pypdf" in caught.value.hint


@pytest.fixture(scope="module")
def many_words():
    """Four million words of a PDF, compressed."""
    return zlib.compress(b"BT (word) Tj ET " * 4_000_000)


@pytest.mark.thorough
def test_a_pdf_that_takes_too_long_is_refused(tmp_path, monkeypatch, many_words):
    monkeypatch.setattr(attached_files, "SECONDS", 1)
    assert len(many_words) < 10**6
    (tmp_path / "long.pdf").write_bytes(pdf("", packed=many_words))
    with pytest.raises(InputError, match=r"long\.pdf takes more than 1 seconds of CPU time"):
        read_file(str(tmp_path / "long.pdf"))


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not limit the memory of a process")
def test_a_pdf_that_takes_too_much_memory_is_refused(tmp_path, monkeypatch, many_words):
    monkeypatch.setattr(attached_files, "MEMORY", 150 * 10**6)
    (tmp_path / "wide.pdf").write_bytes(pdf("", packed=many_words))
    with pytest.raises(InputError, match=r"Reading the PDF .*wide\.pdf takes more than 150 MB of memory"):
        read_file(str(tmp_path / "wide.pdf"))


def test_a_pdf_is_read_under_the_systems_own_cpu_limit(tmp_path):
    (tmp_path / "paper.pdf").write_bytes(pdf("Hello paper"))
    path = str(tmp_path / "paper.pdf")
    program = (
        "import resource; resource.setrlimit(resource.RLIMIT_CPU, (5, 5));"
        "from paragone_workbench.conversation.attached_files import read_file;"
        f"print(read_file({path!r}).section)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "Hello paper" in done.stdout, done.stderr


@pytest.mark.parametrize("text", ["Sum up", "", "ends\n\n"])
def test_sections_of_files_are_found_in_a_prompts_text(text):
    files = (AttachedFile.of("a", 3, "one"), AttachedFile.of("b", 4, "```"))
    whole = with_sections(text, files)
    assert without_sections(whole, files) == text
    assert files_in(whole, [(file.name, file.size, len(file.section)) for file in files]) == files
    with pytest.raises(ValueError):
        files_in("short", [("a", 3, 10)])


async def test_attached_files_are_saved_with_the_conversation(home, tmp_path):
    history = await open_history()
    session = Session(Registry())
    session.recorder.open(history)
    await opened(session, rogue("steady", max_tokens=1))
    file = AttachedFile.of("notes.md", 3, "one")
    prompt = session.send("Sum up @notes.md", files=[file])
    assert prompt.text == "Sum up @notes.md\n\nnotes.md:\n```\none\n```"
    await session.answered()
    await session.saved()
    saved = await history.load(session.conversation.number)
    (again,) = saved.conversation.prompts
    assert (again.text, again.files, again.written) == (prompt.text, (file,), "Sum up @notes.md")
    assert again.written_with_names == "Sum up @notes.md\n[notes.md (3 B)]"
    number = saved.conversation.number
    document = await history.call(
        lambda store: "".join(documents_of_conversations(store, [store.load(number)], Registry().find))
    )
    (read,) = read_conversation(tmp_path, json.loads(document)).conversation.prompts
    assert read.files == (file,)
    data = json.loads(document)
    data["prompts"][0]["files"][0]["length"] = 2000
    with pytest.raises(InputError, match="names files that its text does not have"):
        read_conversation(tmp_path, data)
    (shown,) = conversation_report(saved, lambda name: None).prompts()
    assert shown.facts == {"Files": "notes.md (3 B)"}
    assert shown.messages[0].text == prompt.text
    await session.close()
    await history.close()


def test_a_pdf_with_too_much_text_is_refused(tmp_path, monkeypatch):
    (tmp_path / "paper.pdf").write_bytes(pdf("Hello paper"))
    monkeypatch.setattr("paragone_workbench.conversation.attached_files.LARGEST", 5)
    with pytest.raises(InputError, match="is longer than 5 B"):
        read_file(str(tmp_path / "paper.pdf"))
