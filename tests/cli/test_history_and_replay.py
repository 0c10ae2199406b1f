"""`paragone history` and `paragone replay`, as programs."""

import asyncio
import contextlib
import dataclasses
import json
import re
import shutil
import signal
import sqlite3

import pytest
from tests.workbench.conversation_writer import ConversationWriter
from tests.workbench.experiment_writer import chat, run_experiment, write_document

from paragone_cli.command_line.progress import StatusLine
from paragone_cli.history import show_count
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.paths import history_file
from paragone_workbench.store import History, Store

from .conftest import PATIENCE, data, first, paragone, running, said

STEADY = EngineDefinition(name="steady", backend="rogue", model="steady", options={"max_tokens": 3})


def written(make, *arguments):
    """Write to the history with one of the functions of `experiment_writer`."""

    async def run():
        history = await History.open()
        try:
            return await make(history, *arguments)
        finally:
            await history.close()

    return asyncio.run(run())


def test_conversations_and_their_runs_are_listed():
    assert "no conversations yet" in said(paragone("history"))
    written(run_experiment, [STEADY], ["Hi."])
    assert "has no conversations yet, but 1 experiment, which `paragone suite list` lists." in said(
        paragone("history")
    )
    earlier = written(chat, STEADY, ["Name a colour."])
    second = written(chat, STEADY, ["Hi.", "x" * 100])
    done = paragone("history")
    heading, newest, oldest = done.stdout.decode().splitlines()
    assert heading.split() == ["ID", "LAST", "USED", "PROMPTS", "ENGINES", "TITLE"]
    assert newest.split()[0] == f"c{second}"
    assert oldest.endswith("steady   Name a colour.")
    assert len(paragone("history", "--limit", "1").stdout.decode().splitlines()) == 2
    found = data("history", paragone("history", "--json"))["conversations"]
    assert [(it["id"], it["prompts"], it["engines"]) for it in found] == [
        (f"c{second}", 2, ["steady"]),
        (f"c{earlier}", 1, ["steady"]),
    ]
    shown = paragone("history", "show", f"c{second}").stdout.decode()
    assert "> Hi.\n" in shown
    assert f"> {'x' * 60}…\n" in shown
    assert "steady  done  word0 word1 word2\n" in shown
    assert "3 tokens" in shown
    prompts = data("history", paragone("history", "show", f"c{second}", "--json"))["prompts"]
    assert [prompt["text"] for prompt in prompts] == ["Hi.", "x" * 100]
    assert prompts[0]["runs"][0]["text"] == "word0 word1 word2 "


def test_an_unfinished_answer_is_continued():
    conversation = written(chat, STEADY, ["Count."])
    before = data("history", paragone("history", "show", f"c{conversation}", "--json"))["prompts"][0]["runs"][
        0
    ]
    done = paragone("history", "continue", before["id"])
    assert done.stdout.decode() == "word0 word1 word2 word3 word4 word5 \n"
    assert f"a variant of {before['id']}" in done.stderr.decode()
    runs = data("history", paragone("history", "show", f"c{conversation}", "--json"))["prompts"][0]["runs"]
    assert [run["text"] for run in runs] == ["word0 word1 word2 ", done.stdout.decode().removesuffix("\n")]
    again = data("history", paragone("history", "continue", runs[1]["id"], "--json"))
    assert again["text"].endswith("word7 word8 ")
    assert (again["prefilled"]["text"], again["usage"]["completion_tokens"]) == (36, 3)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("history", "continue", "c1"), "'c1' is not the id of an answer"),
        (("history", "show", "c9"), "Conversation c9 no longer exists"),
        (("history", "show", "e9"), "`paragone suite show e9` shows an experiment."),
        (("replay", "n" * 6000), "is neither an id nor a file"),
    ],
)
def test_unknown_ids_are_refused(argv, message):
    done = paragone(*argv)
    assert done.returncode == 2
    assert message in said(done)


def test_a_run_in_progress_elsewhere_is_listed():
    store = Store.open()
    writer = ConversationWriter(store, "hello")
    run = writer.start(writer.conversation.prompts[0], writer.lane())
    writer.add(run, "So far")
    assert (
        f"r{run.number}  smol  running  So far\n"
        in paragone("history", "show", f"c{writer.number}").stdout.decode()
    )
    (prompt,) = data("history", paragone("history", "show", f"c{writer.number}", "--json"))["prompts"]
    assert prompt["runs"][0]["state"] == "running"
    store.close()
    assert "  interrupted  So far\n" in paragone("history", "show", f"c{writer.number}").stdout.decode()


def test_a_replay_reports_equal_and_different_answers():
    number = written(chat, STEADY, ["Hi.", "Again."])
    done = paragone("replay", f"c{number}", "--json")
    assert done.returncode == 0
    assert re.fullmatch(r"paragone: 50%: 1 of 2 runs, 0:\d\d left\n", said(done))
    found = data("replay", done)
    assert (found["same"], found["total"], found["skipped"]) == (2, 2, [])
    assert found["verdict"] == "2 of 2 answers are the same."
    one = found["runs"][1]["id"]
    done = paragone("replay", one, "--set", "max_tokens=2")
    assert (done.returncode, said(done)) == (1, "")
    assert done.stdout.decode().startswith(f"{one}  steady  differs at character 12  > Again.\n")
    assert "  before: “word2 ”\n  now:    (the end)\n" in done.stdout.decode()
    assert "≠ max_tokens: 3 → 2. It changes which tokens are chosen.\n" in done.stdout.decode()
    assert "The answer differs. steady: these changes may be the reason (" in done.stdout.decode()


def test_a_replay_shows_progress_on_a_terminal(terminal):
    number = written(run_experiment, [STEADY], ["x" * 100, "Line one.\nTwo."])
    with running("replay", f"e{number}", stdout=terminal.theirs, stderr=terminal.theirs) as process:
        text = terminal.read(process).decode()
    assert "\r0 of 2 runs\x1b[K" in text
    assert re.search(r"\r1 of 2 runs, 0:\d\d left\x1b\[K\r\x1b\[K", text)
    assert "\rcomparing the weights\x1b[K\r\x1b[K" in text
    assert f"the same  > {'x' * 39}…\r\n" in text
    assert "the same  > Line one. Two.\r\n" in text


def test_ctrl_c_reports_the_repeated_runs():
    number = written(run_experiment, [STEADY, dataclasses.replace(STEADY, name="slow")], ["Hi."])
    endless = ("--set", "slow.max_tokens=1000000", "--set", "slow.rate=100")
    with running("replay", f"e{number}", *endless) as process:
        begin = first(process, 20)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, err
    lines = (begin + out).decode().splitlines()
    assert lines[0].startswith(f"e{number}/1  steady  the same  > Hi.")
    assert lines[-1] == "Stopped: 1 of 2 runs were repeated, 1 not. 1 answer is the same, 0 different."
    assert not any("slow" in line or "failed" in line for line in lines)


def test_a_document_with_control_characters_and_a_missing_model_is_handled(tmp_path):
    number = written(run_experiment, [STEADY], ["Hi."])
    document = json.loads(written(write_document, f"e{number}", tmp_path / "d.json").read_text())

    def replayed(part, field, value):
        document[part][0][field] = value
        (tmp_path / "d.json").write_text(json.dumps(document))
        done = paragone("replay", str(tmp_path / "d.json"))
        assert b"\x1b" not in done.stdout + done.stderr
        return done.returncode, done.stdout.decode()

    assert replayed("runs", "text", "\x1b[2Jother")[0] == 1
    code, out = replayed("engines", "model", "gone")
    assert (code, "failed: There is no model 'gone'." in out, "1 run failed." in out) == (1, True, True)
    assert replayed("runs", "id", "\x1b[2Jother") == (2, ""), "ids are for programs"


@pytest.mark.model
def test_a_document_from_another_machine_is_replayed(smollm2, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "a"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "a" / "data"))
    there = tmp_path / "a" / "smol.gguf"
    there.parent.mkdir()
    shutil.copy(smollm2, there)
    options = {"n_ctx": 256, "n_threads": 1, "max_tokens": 8, "temperature": 0.7}
    smol = EngineDefinition(name="smol", backend="llama_cpp", model=str(there), options=options)
    number = written(run_experiment, [smol], ["Name a colour.", "Name a fruit."])
    document = written(write_document, f"e{number}", tmp_path / "e.json")
    monkeypatch.setenv("HOME", str(tmp_path / "b"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "b" / "data"))
    here = tmp_path / "b" / "mine.gguf"
    here.parent.mkdir()
    there.rename(here)
    done = paragone("replay", str(document))
    assert done.returncode == 2
    assert "The weights of smol are gone" in said(done)
    assert "--engine smol=BACKEND:MODEL" in said(done)
    done = paragone("replay", str(document), "--engine", f"smol=llama_cpp:{here}", "--json")
    assert done.returncode == 0, said(done)
    found = data("replay", done)
    assert (found["same"], found["total"]) == (2, 2)
    (engine,) = found["engines"]
    assert engine["weights"] == {"same": True, "by": "sha256"}
    assert [change["what"] for change in engine["changes"]] == ["model"]


def test_conversations_are_exported_and_imported(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written(chat, STEADY, ["Name a colour."])
    written(chat, STEADY, ["Hi."], 2)
    done = paragone("history", "export", "--all", "--to", "all.json", "--json")
    assert data("history", done)["exported"] == ["c2", "c1"]
    assert (tmp_path / "all.json").stat().st_mode & 0o777 == 0o600
    assert paragone("history", "export", "--all", "--to", "all.jsonl").returncode == 0
    lines = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    assert lines == json.loads((tmp_path / "all.json").read_text())["conversations"]
    named = [
        [lane["name"] for lane in it["lanes"]]
        for it in json.loads((tmp_path / "all.json").read_text())["conversations"]
    ]
    assert sorted(named) == [["steady"], ["steady", "steady-2"]]
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "elsewhere"))
    assert (
        said(paragone("history", "import", "all.json")) == "paragone: 2 conversations imported: c1 to c2.\n"
    )
    done = paragone("history", "import", "all.jsonl", "--json")
    assert [it["new"] for it in data("history", done)["imported"]] == [False, False]
    with contextlib.closing(sqlite3.connect(history_file(), isolation_level=None)) as database:
        database.execute("UPDATE run SET state = 'interrupted', text = '' WHERE number = 1")
    assert said(paragone("history", "import", "all.json")) == (
        "paragone: 0 conversations imported. 1 conversation completed. The history had 1 conversation already.\n"
    )
    assert paragone("history", "export", "c2", "--to", "one.md").returncode == 0
    assert "word0 word1 word2" in (tmp_path / "one.md").read_text()


def test_a_long_import_reports_progress_even_without_a_terminal(capsys):
    progress = StatusLine()
    for total in (0, 5000):
        for done in range(1, 5001):
            show_count(progress, "imported", done, total)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "paragone: 500 of 5,000 conversations imported."
    assert len(lines) == 9


def test_an_export_skips_a_damaged_conversation(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    broken = written(chat, STEADY, ["Broken."])
    written(chat, STEADY, ["Whole."])
    with contextlib.closing(sqlite3.connect(history_file())) as database, database:
        database.execute(
            "UPDATE lane SET definition = '{' WHERE conversation_id = (SELECT id FROM conversation WHERE number = ?)",
            (broken,),
        )
    done = paragone("history", "export", "--all", "--to", "all.json")
    assert (done.returncode, f"c{broken} is skipped." in said(done)) == (1, True)
    (kept,) = json.loads((tmp_path / "all.json").read_text())["conversations"]
    assert kept["name"] == "Whole."


def test_the_history_is_searched_and_conversations_are_renamed():
    number = written(chat, STEADY, ["Name a colour."])
    (hit,) = data("history", paragone("history", "search", "a", "COLOUR", "--json"))["hits"]
    assert (hit["id"], hit["engine"], hit["text"]) == (f"c{number}", "", "Name a colour.")
    assert "word0" in paragone("history", "search", "word0").stdout.decode()
    assert "No prompt, no answer and no title" in said(paragone("history", "search", "nowhere"))
    done = paragone("history", "rename", f"c{number}", "The", "colours", "--json")
    assert data("history", done) == {"id": f"c{number}", "title": "The colours"}
    done = paragone("history", "tag", f"c{number}", "Work", "later", "--json")
    assert data("history", done) == {"id": f"c{number}", "tags": ["later", "work"]}
    assert data("history", paragone("history", "pin", f"c{number}", "--json"))["pinned"]
    (listed,) = data("history", paragone("history", "list", "tag:work", "--json"))["conversations"]
    assert (listed["title"], listed["tags"], listed["pinned"]) == ("The colours", ["later", "work"], True)
    assert (
        "The colours #later #work (pinned)\n" in paragone("history", "list", "engine:steady").stdout.decode()
    )
    assert (
        said(paragone("history", "list", "model:nothing"))
        == "paragone: No conversation fits these filters.\n"
    )
    assert said(paragone("history", "tag", f"c{number}")) == f"paragone: c{number} has no tags.\n"


def test_a_conversation_becomes_a_suite_and_a_prompt_of_an_experiment_a_conversation(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    number = written(chat, STEADY, ["Hi.", "Again."], 2)
    command = ("suite", "from-history", "-o", "new.jsonl", "--force", "--json")
    done = paragone(*command, f"c{number}")
    result = {"file": "new.jsonl", "prompts": 2, "answers": 2, "refused": 0}
    others = {"lanes beside the first one, which --lane NAME chooses": 1}
    assert data("suite from-history", done) == {**result, "skipped": others}
    assert "has no open lane 'huge'. Known names: steady, steady-2." in said(
        paragone(*command, "--lane", "huge")
    )
    assert data("suite from-history", paragone(*command, "Hi", "--lane", "steady-2")) == {
        **result,
        "skipped": {},
    }
    assert [json.loads(line) for line in (tmp_path / "new.jsonl").read_text().splitlines()] == [
        {
            "system": "Be brief.",
            "prompt": "Hi.",
            "answer": "word0 word1 word2 ",
            "conversation": f"c{number}",
        },
        {
            "system": "Be brief.",
            "messages": [
                {"role": "user", "content": "Hi."},
                {"role": "assistant", "content": "word0 word1 word2 "},
                {"role": "user", "content": "Again."},
            ],
            "answer": "word0 word1 word2 ",
            "conversation": f"c{number}",
        },
    ]
    assert "No conversation of the history fits." in said(paragone(*command, "tag:none"))
    experiment = written(run_experiment, [STEADY, dataclasses.replace(STEADY, name="two")], ["One.", "Two."])
    done = paragone("history", "import", f"e{experiment}/2", "--json")
    (opened,) = data("history", done)["imported"]
    assert opened["title"] == f"e{experiment} #1: Two."
    again = data("history", paragone("history", "import", f"e{experiment}/4", "--json"))
    assert again["imported"] == [{**opened, "new": False}]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("export", "c1", "--to", "x.html"), "exported as .jsonl, .json or .md, not as .html"),
        (("export", "c9", "--to", "x.json"), "Conversation c9 no longer exists"),
        (("export", "--to", "x.json"), "Name the conversations to export, such as c7, or write --all."),
        (("rename", "c1"), "The new title is needed."),
        (("list", "c9"), "'c9' is not a filter."),
    ],
)
def test_wrong_actions_on_the_history_are_refused(argv, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = paragone("history", *argv)
    assert done.returncode == 2
    assert message in said(done)
    assert not list(tmp_path.glob("x.*"))


def test_conversations_are_deleted_after_a_confirmation():
    numbers = [written(chat, STEADY, [text]) for text in ("One.", "Two.", "Three.")]
    done = paragone("history", "delete", f"c{numbers[0]}")
    assert (done.returncode, "Confirm with --yes." in said(done)) == (2, True)
    done = paragone("history", "delete", f"c{numbers[0]}", "c99", "--yes")
    assert done.returncode == 2, "all or none"
    assert len(data("history", paragone("history", "--json"))["conversations"]) == 3
    done = paragone("history", "delete", *(f"c{number}" for number in numbers[:2]), "--yes", "--json")
    assert data("history", done) == {"deleted": ["c1", "c2"]}
    (left,) = data("history", paragone("history", "--json"))["conversations"]
    assert left["title"] == "Three."


def test_an_import_needs_consent_to_its_engines_actions(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written(chat, STEADY, ["Hi."])
    assert paragone("history", "export", "c1", "--to", "chat.json").returncode == 0
    document = json.loads((tmp_path / "chat.json").read_text())
    document["engines"][0] = {
        "name": "far",
        "backend": "openai",
        "model": "m",
        "address": "http://stranger.example",
    }
    (tmp_path / "chat.json").write_text(json.dumps(document))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "elsewhere"))
    done = paragone("history", "import", "chat.json")
    assert (done.returncode, "the engine far contacts http://stranger.example" in said(done)) == (2, True)
    assert paragone("history").stdout == b""
    assert paragone("history", "import", "chat.json", "--trust").returncode == 0
