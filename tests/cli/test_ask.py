import json
import os
import signal
import subprocess
from pathlib import Path

import psutil
import pytest
from tests.pictures import picture
from tests.processes import engines_of

from .conftest import PROGRAM, all_gone, cut, data, ended, first, paragone, running, said, until

# More than anyone reads: what ends such an answer is not the engine.
ENDLESS = ("--set", "max_tokens=10000000")
SLOW = ("--set", "rate=50")


@pytest.mark.model
def test_only_the_answer_is_printed_to_standard_output(smol, home):
    plain = paragone("ask", *smol, "Name three colours.")
    assert (plain.returncode, said(plain)) == (0, cut(16))
    as_json = paragone("ask", *smol, "Name three colours.", "--json", "--logprobs", "2")
    assert as_json.returncode == 0
    answer = data("ask", as_json)
    assert answer["text"] == plain.stdout.decode().removesuffix("\n")
    assert len(answer["text"]) > 20
    assert (answer["finish"], answer["error"], answer["usage"]["completion_tokens"]) == ("length", None, 16)
    assert answer["timings"]["ttft_s"] > 0
    assert answer["timings"]["load_s"] > 0
    assert "".join(token["text"] for token in answer["tokens"]) == answer["text"]
    for token in answer["tokens"]:
        assert len(token["top"]) == 2
        assert token["logprob"] == max(it["logprob"] for it in token["top"]), (
            "at temperature 0 the most likely"
        )
        assert token["id"] == token["top"][0]["id"]
    assert not (home / "data").exists(), "nothing is recorded"


def prompt_words(*argv: str, stdin: str | bytes = b"") -> int:
    """How many words the prompt had: the rogue engine counts them, and one more for each message."""
    done = paragone("ask", "rogue:steady", "--json", *argv, stdin=stdin)
    assert done.returncode == 0, said(done)
    return data("ask", done)["usage"]["prompt_tokens"] - 1


def test_the_prompt_comes_from_the_command_line_and_a_pipe():
    assert prompt_words("-", stdin="three small words\n") == 3
    assert prompt_words("two words", stdin="and three more\n") == 5
    assert prompt_words("-p", "two words", stdin="and three more\n") == 5
    assert prompt_words("--system", "one two", "--", "--json is what?", stdin="\n") == 3 + 2 + 1
    done = paragone("ask", "rogue:steady", "Count.", "--begin", "word0 word1 ", "--set", "max_tokens=2")
    assert done.stdout.decode() == "word0 word1 word2 word3 \n"


def test_endless_standard_input_is_refused():
    with Path("/dev/zero").open("rb") as endless, running("ask", "rogue:steady", stdin=endless) as process:
        done = ended(process)
    assert (done.returncode, done.stdout) == (2, b"")
    assert said(done).startswith("paragone: Standard input is longer than 16 MiB.\n")


@pytest.mark.parametrize(
    ("stdin", "argv", "message"),
    [
        (b"", (), "The prompt is empty."),
        (b"\xff\xfe", (), "Standard input is not UTF-8 text."),
        (b"hi", ("--system", b"caf\xe9"), "Argument --system: 'caf�' is not UTF-8 text."),
        (b"hi", (b"caf\xe9",), "The prompt is not UTF-8 text."),
        (b"hi", ("--logprobs", "2"), "--logprobs needs --json."),
        (b"", ("hi", "-p", "ho"), "Two prompts were given."),
    ],
)
def test_an_empty_prompt_is_refused(stdin, argv, message):
    done = paragone("ask", "rogue:steady", *map(os.fsdecode, argv), stdin=stdin)
    assert done.returncode == 2
    assert message in said(done)


def test_a_terminal_is_asked_for_the_prompt(terminal):
    with running("ask", "rogue:steady", stdin=terminal.theirs) as process:
        _, error = process.communicate()
    assert process.returncode == 2
    assert error.decode().startswith("paragone: There is no prompt.\n")


def test_closed_standard_streams_are_handled():
    all_of_them = subprocess.run(["sh", "-c", f"'{PROGRAM}' ask rogue:steady hi <&- >&- 2>&-"])
    assert all_of_them.returncode == 1
    output = subprocess.run(["sh", "-c", f"'{PROGRAM}' ask rogue:steady hi >&-"], stderr=subprocess.PIPE)
    assert output.returncode == 1
    assert output.stderr == b"paragone: The output cannot be written: Bad file descriptor.\n"


# What goes wrong


def test_a_crash_during_an_answer_keeps_the_text_so_far():
    done = paragone("ask", "rogue:abort", "hi", *SLOW)
    assert done.returncode == 1
    assert done.stdout == b"word0 word1 word2 word3 word4 \n"
    lines = said(done).splitlines()
    assert lines[0] == "paragone: The engine's process was ended by SIGABRT: Aborted."
    assert lines[1] == "  | GGML_ASSERT(false) failed: this is what a library says before it aborts"
    assert lines[-1].startswith("The engine's output is in ")


def test_an_unknown_engine_is_refused(settings):
    settings("[engines.small]\nbackend = 'rogue'\nmodel = 'steady'\n")
    done = paragone("ask", "smal", "hi")
    assert done.returncode == 2
    assert said(done).startswith("paragone: There is no engine 'smal'.\nDid you mean 'small'?")


@pytest.mark.model
def test_a_path_instead_of_an_engine_gets_a_hint(smollm2):
    done = paragone("ask", str(smollm2), "hi")
    assert done.returncode == 2
    assert said(done) == (
        f"paragone: There is no engine {str(smollm2)!r}.\n"
        f"To use the model in this file, write: llama_cpp:{smollm2} or llama_server:{smollm2}\n"
    )


def test_an_invalid_setting_is_refused():
    for setting, message in (
        ("rat=1", "Did you mean 'rate'?"),
        ("rate=fast", "of the engine 'steady' cannot be 'fast'.\nIt takes a number."),
        ("rate=-1", "at least 0.001."),
        ("rate", "Write key=value"),
    ):
        done = paragone("ask", "rogue:steady", "hi", "--set", setting)
        assert (done.returncode, done.stdout) == (2, b"")
        assert message in said(done)


def test_warnings_go_to_standard_error():
    done = paragone("ask", "rogue:cautious", "hi", "--set", "max_tokens=1")
    assert (done.returncode, done.stdout) == (0, b"word0 \n")
    assert said(done) == "paragone: warning: This engine fails on cue.\n" + cut(1)


@pytest.mark.model
def test_the_reported_seed_gives_the_same_text_again(smol):
    at = smol.index("seed=1")
    engine = (*smol[: at - 1], *smol[at + 1 :], "--set", "temperature=1")
    drawn = data("ask", paragone("ask", *engine, "Tell me of the sea.", "--json"))
    assert drawn["sampling"]["temperature"] == 1
    assert drawn["sampling"]["max_tokens"] == 16
    again = data(
        "ask", paragone("ask", *engine, "Tell me of the sea.", "--json", "--set", f"seed={drawn['seed']}")
    )
    assert (again["seed"], again["text"]) == (drawn["seed"], drawn["text"])


# Whoever reads


def test_a_closed_pipe_ends_the_command():
    with running("ask", "rogue:steady", "hi", *ENDLESS, *SLOW) as process:
        assert first(process, 1) == b"w"
        engines = engines_of(process.pid)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 141
    assert len(engines) == 1
    assert all_gone(engines)


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_a_full_disk_is_reported(more):
    with open("/dev/full", "wb") as full, running("ask", "rogue:steady", "hi", *more, stdout=full) as process:
        done = ended(process)
    assert done.returncode == 1
    assert said(done) == "paragone: The output cannot be written: No space left on device.\n"


# Ctrl+C


def test_ctrl_c_stops_the_engine_and_keeps_the_text_so_far():
    with running("ask", "rogue:steady", "hi", *ENDLESS, *SLOW) as process:
        start = first(process, 6)
        engines = engines_of(process.pid)
        process.send_signal(signal.SIGINT)
        rest, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert error == b""
    words = (start + rest).decode().split()
    assert words == [f"word{number}" for number in range(len(words))]
    assert len(engines) == 1
    assert all_gone(engines)


def test_ctrl_c_prints_complete_json():
    with running("ask", "rogue:steady", "hi", "--json", *ENDLESS, *SLOW) as process:
        until(lambda: engines_of(process.pid), "the engine's process is there")
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    done = subprocess.CompletedProcess((), 130, output)
    assert data("ask", done)["finish"] == "cancelled"


def test_ctrl_c_during_loading_ends_the_command():
    with running("ask", "rogue:steady", "hi", "--set", "load_s=600") as process:
        until(lambda: engines_of(process.pid), "the engine's process is there")
        engines = engines_of(process.pid)
        process.send_signal(signal.SIGINT)
        output, error = process.communicate(timeout=60)
    assert (process.returncode, output, error) == (130, b"", b"")
    assert all_gone(engines)


def test_ctrl_c_ends_an_engine_that_ignores_it():
    with running("ask", "rogue:deaf", "hi", *SLOW) as process:
        start = first(process, len("word0 word1 word2 word3 word4 "))
        process.send_signal(signal.SIGINT)
        rest, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert start + rest == b"word0 word1 word2 word3 word4 \n"
    assert b"did not stop within" in error


def test_ctrl_c_stays_ignored_if_the_parent_ignores_it():
    argv = " ".join((f"'{PROGRAM}' ask rogue:steady hi", *SLOW))
    command = ["sh", "-c", f"trap '' INT; exec {argv}"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, bufsize=0) as process:
        start = first(process, 1)
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert len((start + rest).split()) == 20


def test_ctrl_c_works_although_the_output_is_not_read(tmp_path):
    gate = tmp_path / "gate"
    paused = ("--set", "at=1", "--set", f"gate={gate}")  # the program must not write while the pipe is filled
    with running("ask", "rogue:steady", "hi", *ENDLESS, *paused) as process:
        first(process, len("word0 "))
        fill(process.stdout.fileno())
        engines = engines_of(process.pid)
        before = cpu_s(engines)
        gate.touch()
        until(lambda: cpu_s(engines) > before + 0.05, "the engine goes on")
        process.send_signal(signal.SIGINT)
        until(lambda: handles_by_default(process.pid, signal.SIGINT), "the first is taken")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == -signal.SIGINT
        until(lambda: all_gone(engines), "the engine ends with the program")


def test_ctrl_c_works_during_a_large_unread_output(tmp_path):
    """The event loop, and the end of the process, wait in a write."""
    long = tmp_path / "long.txt"
    long.write_text("word " * 50_000)
    with long.open() as prompt, running("compare", "rogue:steady", "--json", stdin=prompt) as process:
        first(process, 1)
        process.send_signal(signal.SIGINT)
        until(lambda: handles_by_default(process.pid, signal.SIGINT), "the first is taken")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == -signal.SIGINT
    messages = [{"role": "user", "content": f"{number} {'x' * 60}"} for number in range(2000)]
    (tmp_path / "chat.json").write_text(json.dumps(messages))
    assert paragone("history", "import", str(tmp_path / "chat.json")).returncode == 0
    with running("history", "show", "c1") as process:
        first(process, 1)
        fill(process.stdout.fileno())
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130


def fill(pipe: int) -> None:
    """Write into a pipe, from which nobody reads, until it takes nothing more."""
    with open(f"/proc/self/fd/{pipe}", "wb", buffering=0) as writer:
        os.set_blocking(writer.fileno(), False)
        for piece in (b"x" * 65536, b"x"):
            while writer.write(piece):
                pass


def cpu_s(processes: list[psutil.Process]) -> float:
    return sum(process.cpu_times().user for process in processes)


def handles_by_default(pid: int, number: int) -> bool:
    """Whether a process neither catches nor ignores a signal."""
    with open(f"/proc/{pid}/status") as file:
        fields = dict(line.split(":\t") for line in file)
    caught = int(fields["SigCgt"], 16) | int(fields["SigIgn"], 16)
    return not caught >> (number - 1) & 1


# Terminals


def test_control_sequences_of_answers_do_not_reach_the_terminal(terminal):
    with running("ask", "rogue:escapes", "hi", stdout=terminal.theirs) as process:
        written = terminal.read(process).decode()
    assert process.returncode == 0
    assert not any(sign in written for sign in "\x1b\x07\x9b\u202e")
    assert "␛]0;owned␇␛[2J␛[31mred␛[5m[bold]mark[/bold]" in written
    assert written.endswith("evil \r\n")  # the shell's next line is its own
    done = paragone("ask", "rogue:escapes", "hi", "--set", "max_tokens=1")
    exact = "\x1b]0;owned\x07\x1b[2J\x1b[31mred\x9b5m[bold]mark[/bold] \x1b[?1049l\u202eevil \n"
    assert done.stdout.decode() == exact


def test_json_is_exact_and_safe_on_a_terminal(terminal):
    with running(
        "ask", "rogue:escapes", "hi", "--json", "--set", "max_tokens=1", stdout=terminal.theirs
    ) as process:
        written = terminal.read(process)
    assert not any(sign in written.decode() for sign in "\x1b\x07\x9b\u202e")
    done = subprocess.CompletedProcess((), 0, written)
    assert data("ask", done)["text"].startswith("\x1b]0;owned\x07\x1b[2J\x1b[31mred\x9b5m")
    assert data("ask", done)["text"].endswith("\u202eevil ")


def test_control_characters_in_names_are_removed():
    done = paragone("ask", "rogue:\x1b[31mred\nline", "hi")
    assert done.returncode == 2
    assert "\x1b" not in said(done)
    assert "There is no model '\\x1b[31mred\\nline'." in said(done)
    done = paragone("ask", "\x1b[31m", "hi")
    assert "\x1b" not in said(done)


def test_a_terminal_shows_a_progress_line_and_removes_it(terminal, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    with running(
        "ask", "rogue:steady", "hi", "--set", "load_s=0.5", stdout=terminal.theirs, stderr=terminal.theirs
    ) as process:
        written = terminal.read(process).decode()
    before, _, after = written.partition("word0")
    assert "\rloading " in before
    assert before.endswith("\r\x1b[K")
    assert "\x1b" not in after


def test_a_locale_without_unicode_gets_readable_output(terminal, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    with running("ask", "rogue:wide", "hi", "--set", "max_tokens=1", stdout=terminal.theirs) as process:
        assert terminal.read(process) == b"?0? \r\n"
    assert process.returncode == 0
    done = paragone("ask", "rogue:wide", "hi", "--set", "max_tokens=1")
    assert done.stdout.decode() == "語0😀 \n"


def test_a_prompt_can_be_typed_at_a_terminal(terminal):
    with running("ask", "rogue:steady", "-", "--json", stdin=terminal.theirs) as process:
        terminal.type("four words are typed\n\x04")
        output, _ = process.communicate(timeout=60)
    assert data("ask", subprocess.CompletedProcess((), 0, output))["usage"]["prompt_tokens"] == 4 + 1


def test_images_are_sent_with_the_prompt(tmp_path):
    one, two = picture(tmp_path / "one.png"), picture(tmp_path / "two.png")
    done = paragone(
        "ask", "rogue:seeing", "Which?", "--attach", str(one), "--attach", str(two), "--set", "max_tokens=1"
    )
    assert (done.returncode, done.stdout.decode().strip(), said(done)) == (0, "one.png two.png", cut(1))


def test_a_model_without_vision_refuses_images(tmp_path):
    done = paragone("ask", "rogue:steady", "Which?", "--attach", str(picture(tmp_path / "one.png")))
    assert (done.returncode, done.stdout) == (2, b"")
    assert "steady does not accept images.\n" in said(done)


def test_a_file_that_is_not_an_image_is_refused_before_loading(tmp_path):
    done = paragone("ask", "rogue:seeing", "Which?", "--attach", str(tmp_path / "nowhere.png"))
    assert (done.returncode, done.stdout) == (2, b"")
    assert "There is no file" in said(done)


def test_a_preset_and_a_template_are_applied(home):
    config = home / "config" / "paragone" / "config.toml"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(
        "[presets.brief]\nmax_tokens = 2\n[templates]\ntranslate = 'Say in {{ language }}: {{ prompt }}'\n"
    )
    asked = ("compare", "rogue:steady", "--preset", "brief", "--template", "translate", "--json")
    found = data("compare", paragone(*asked, "--var", "language=German", stdin="hello"))
    assert found["prompt"] == "Say in German: hello"
    assert found["lanes"][0]["text"] == "word0 word1 "
    for wrong, reason in (
        (("--preset", "breif", "hi"), "There is no preset 'breif'.\nDid you mean 'brief'?"),
        (("--template", "translate", "hi"), "The template 'translate' needs a value for: language."),
        (("--var", "a=b", "hi"), "--var needs --template."),
    ):
        done = paragone("ask", "rogue:steady", *wrong)
        assert done.returncode == 2
        assert reason in said(done)


def test_a_text_file_is_sent_with_the_prompt(tmp_path):
    (tmp_path / "notes.md").write_text("one two three")
    (tmp_path / "notes.bin").write_bytes(b"\0")
    argv = ("ask", "rogue:steady", "Sum up", "--set", "max_tokens=1", "--json")
    alone, done = paragone(*argv), paragone(*argv, "--attach", str(tmp_path / "notes.*"))
    assert "notes.bin is not UTF-8 text." in said(done)
    alone, with_file = (data("ask", one)["usage"]["prompt_tokens"] for one in (alone, done))
    assert with_file == alone + len(["notes.md:", "```", "one", "two", "three", "```"])
