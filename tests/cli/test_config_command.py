from .conftest import data, paragone, said


def test_the_sample_config_has_no_problems(home):
    path = home / "config" / "paragone" / "config.toml"
    assert paragone("config", "path").stdout.decode() == f"{path}\n"
    assert data("config path", paragone("config", "path", "--json")) == {"file": str(path), "exists": False}
    done = paragone("config", "init")
    assert (done.returncode, done.stdout.decode(), said(done)) == (0, f"{path}\n", "")
    assert data("config path", paragone("config", "path", "--json"))["exists"] is True
    assert "[engines.small]" in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600, "the file may later hold keys"
    again = paragone("config", "init")
    assert again.returncode == 2
    assert "already exists; nothing was changed." in said(again)
    checked = paragone("config", "check")
    assert (checked.returncode, checked.stdout.decode()) == (0, f"{path}: no problems found.\n")


WRONG = """\
[lane]
mode = 'parallel'
[engines.odd]
backend = 'rogue'
model = 'steady'
rat = 5
rate = 'fast'
[engines.nowhere]
backend = 'openai'
model = 'm'
[engines.open]
backend = 'ollama'
model = 'm'
headers = ['Authorization: Bearer abc']
[engines.away]
backend = 'rouge'
modle = 'steady'
[keys]
send = 'zork+q, f17, question_mark, alt+f7, ctrl+f24'
stop = 'ctrl+c, f1'
sent = 'f12'
quit = 'ctrl+Q'
new = 1
[templates]
whole = '{{ prompt }} {{ tone }}'
broken = 'Say {{ prompt | nothing }}'
[ui]
theme = 'nord-'
[themes.mine]
accent = 'bluish'
[lanes]
mode = 'paralel'
start = ['a:b', 'smoll']
[chat]
resume = 'yes'
"""


def test_check_lists_every_problem_with_its_line(settings):
    path = settings(WRONG)
    done = paragone("config", "check")
    assert done.returncode == 2
    expected = {
        1: "There is no section [lane]. Did you mean 'lanes'?",
        6: "The engine 'odd' has no option 'rat': its backend rogue does not declare it. Did you mean 'rate'?",
        7: "The option 'rate' of the engine 'odd' cannot be 'fast'. It takes a number.",
        8: "The engine 'nowhere': The address of the server is not set. Set `url`, such as http://127.0.0.1:8000; in a spec, write BACKEND:MODEL@URL.",
        11: "The engine 'open': The value of the header Authorization may be a secret, which would be recorded. "
        "Put the value into an environment variable and write `Authorization: $VARIABLE`.",
        15: "The engine 'away' has no model. Did you mean 'model' instead of 'modle'?",
        16: "There is no backend 'rouge'. Did you mean 'rogue'?",
        19: "No terminal sends a key 'zork+q', which is set for send. Write a character, or names such as ctrl+k, f5, "
        "alt+left or question_mark.",
        20: "The key f1 is set for stop and help; one will not work. Give one of them another key.",
        21: "There is no command 'sent'. Did you mean 'send'?",
        22: "No terminal sends a key 'ctrl+Q', which is set for quit.",
        23: "'new' in [keys] cannot be 1. Keys are a string, for example \"ctrl+x,f5\".",
        26: "The template 'broken' is broken: {{ prompt | nothing }} cannot be read: ",
        28: "'theme' of [ui] cannot be 'nord-': there is no such theme. Did you mean 'nord'?",
        30: "The colour 'accent' cannot be 'bluish'. It is written as \"#1e90ff\".",
        32: "The option 'mode' of [lanes] cannot be 'paralel'. It is one of: parallel, sequential, swap, auto.",
        33: "There is no engine 'smoll'.",
        35: "The option 'resume' of [chat] cannot be 'yes'. It takes true or false.",
    }
    lines = done.stdout.decode().splitlines()
    for line, (number, message) in zip(lines, expected.items(), strict=True):
        assert line.startswith(f"{path}:{number}: {message}")
    found = data("config check", paragone("config", "check", "--json"))
    assert [problem["line"] for problem in found["problems"]] == list(expected)
    assert found["problems"][1]["key"] == "engines.odd.rat"


def test_the_command_that_lists_all_problems_names_the_file(settings, tmp_path):
    path = tmp_path / "m.toml"
    path.write_text(WRONG)
    done = paragone("--config", str(path), "engines")
    assert done.returncode == 2
    assert f"`paragone config check --config {path}` lists all problems in the file." in said(done)
    settings(WRONG)
    assert "`paragone config check` lists all problems in the file." in said(paragone("engines"))
    settings("[engines.nowhere]\nbackend = 'openai'\nmodel = 'm'\n")
    assert "not usable: " in paragone("engines").stdout.decode()


def test_an_unreadable_state_file_is_reported(home):
    path = home / "state" / "paragone" / "state.toml"
    path.parent.mkdir(parents=True)
    path.write_text("[engines")
    assert "paragone: warning: The program's saved state could not be read" in said(paragone("engines"))
    assert "saved" not in said(paragone("engines"))  # it was set aside


def test_check_reports_invalid_toml_and_a_missing_file(settings):
    path = settings("[lanes\n")
    done = paragone("config", "check")
    assert done.returncode == 2
    assert done.stdout.decode().startswith(f"{path}:1: The file is not valid TOML: ")
    path.unlink()
    assert "does not exist; the defaults are active." in paragone("config", "check").stdout.decode()
    done = paragone("config", "check", "--config", "/nowhere/config.toml")
    assert done.returncode == 2
    assert "/nowhere/config.toml cannot be read" in said(done)
