from __future__ import annotations

from .conftest import data, paragone, said


def test_path(home, settings, run_here):
    path = home / "config" / "paragone" / "config.toml"
    assert run_here("config", "path").stdout.decode() == f"{path}\n"
    assert data("config path", run_here("config", "path", "--json")) == {"file": str(path), "exists": False}
    settings("")
    assert data("config path", run_here("config", "path", "--json"))["exists"] is True


def test_init_then_check(home, run_here):
    path = home / "config" / "paragone" / "config.toml"
    done = run_here("config", "init")
    assert (done.returncode, done.stdout.decode(), said(done)) == (0, f"{path}\n", "")
    assert "[engines.small]" in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600, "the file may later hold keys"
    again = run_here("config", "init")
    assert again.returncode == 2
    assert "already exists; nothing was changed." in said(again)
    checked = run_here("config", "check")
    assert (checked.returncode, checked.stdout.decode()) == (0, f"{path}: no problems found.\n")


def test_check_lists_every_problem_with_its_line(settings, run_here):
    path = settings(
        "[lane]\nmode = 'parallel'\n\n[engines.odd]\nbackend = 'rogue'\nmodel = 'steady'\nrat = 5\nrate = 'fast'\n"
    )
    done = run_here("config", "check")
    assert done.returncode == 2
    assert done.stdout.decode().splitlines() == [
        f"{path}:1: There is no section [lane]. Did you mean 'lanes'?",
        f"{path}:7: The engine 'odd' has no option 'rat': its backend rogue does not declare it. Did you mean 'rate'?",
        f"{path}:8: The option 'rate' of the engine 'odd' cannot be 'fast'. It takes a number.",
    ]
    found = data("config check", run_here("config", "check", "--json"))
    assert [problem["line"] for problem in found["problems"]] == [1, 7, 8]
    assert found["problems"][1]["key"] == "engines.odd.rat"


def test_the_command_that_lists_all_problems_names_the_file(settings, tmp_path, run_here):
    text = "[lane]\nmode = 'parallel'\n\n[engines.odd]\nbackend = 'rouge'\nmodel = 'steady'\n[chat]\nsytem = 'x'\n"
    path = tmp_path / "m.toml"
    path.write_text(text)
    done = paragone("--config", str(path), "engines")
    assert done.returncode == 2
    assert f"`paragone config check --config {path}` lists all problems in the file." in said(done)
    checked = run_here("config", "check", "--config", str(path))
    assert (
        f"{path}:5: There is no backend 'rouge'. Did you mean 'rogue'?"
        in checked.stdout.decode().splitlines()
    )
    settings(text)
    assert "`paragone config check` lists all problems in the file." in said(paragone("engines"))


def test_what_the_program_had_saved_is_told_of_when_it_cannot_be_read(home, run_here):
    path = home / "state" / "paragone" / "state.toml"
    path.parent.mkdir(parents=True)
    path.write_text("[engines")
    assert "paragone: warning: The program's saved state could not be read" in said(paragone("engines"))
    assert "saved" not in said(paragone("engines"))  # it was set aside


def test_check_knows_the_screen_s_settings(settings, run_here):
    path = settings(
        "[keys]\nstop = 'ctrl+c, f1'\nsent = 'f12'\n\n[ui]\ntheme = 'nord-'\n\n[lanes]\nmode = 'paralel'\n"
    )
    done = run_here("config", "check")
    assert done.returncode == 2
    assert done.stdout.decode().splitlines() == [
        f"{path}:2: The key f1 is set for stop and help; one will not work. Give one of them another key.",
        f"{path}:3: No command is called 'sent'. Did you mean 'send'?",
        f"{path}:6: 'theme' of [ui] cannot be 'nord-': there is no such theme. Did you mean 'nord'?",
        f"{path}:9: The option 'mode' of [lanes] cannot be 'paralel'. It is one of: parallel, sequential, swap, auto.",
    ]


def test_check_sees_keys_that_no_terminal_sends_and_broken_templates(settings, run_here):
    path = settings(
        "[keys]\nsend = 'zork+q, f17'\nstop = 'ctrl+Q'\nhelp = 'question_mark, alt+f7, ctrl+f24'\n\n"
        "[templates]\nwhole = '{{ prompt }} {{ tone }}'\nbroken = 'Say {{ prompt | nothing }}'\n"
    )
    done = run_here("config", "check")
    assert done.returncode == 2
    hint = "Write a character, or names such as ctrl+k, f5, alt+left or question_mark."
    first, second, third = done.stdout.decode().splitlines()
    assert first == f"{path}:2: No terminal sends a key 'zork+q', which is set for send. {hint}"
    assert second == f"{path}:3: No terminal sends a key 'ctrl+Q', which is set for stop. {hint}"
    assert third.startswith(
        f"{path}:8: The template 'broken' is broken: {{{{ prompt | nothing }}}} cannot be read: "
    )
    assert "'nothing'. Write" in third


def test_check_sees_what_can_reach_no_server(settings, run_here):
    path = settings(
        "[engines.nowhere]\nbackend = 'openai'\nmodel = 'm'\n\n"
        "[engines.open]\nbackend = 'ollama'\nmodel = 'm'\nheaders = ['Authorization: Bearer abc']\n"
    )
    done = run_here("config", "check")
    assert done.returncode == 2
    assert done.stdout.decode().splitlines() == [
        f"{path}:1: The engine 'nowhere': The address of the server is not set. Set url, such as http://127.0.0.1:8000.",
        f"{path}:5: The engine 'open': The value of the header Authorization may be a secret, which would be recorded. "
        "Put the value into an environment variable and write `Authorization: $VARIABLE`.",
    ]
    listed = paragone("engines").stdout.decode().splitlines()
    assert [line.split()[0] for line in listed] == ["nowhere", "open"]
    assert all("not usable: " in line for line in listed)


def test_check_of_a_wrong_template_no_toml_and_no_file(settings, run_here):
    path = settings("[templates]\nx = ['a']\n")
    done = run_here("config", "check")
    assert done.returncode == 2
    assert "The template 'x' is not text." in done.stdout.decode()
    settings("[lanes\n")
    done = run_here("config", "check")
    assert done.returncode == 2
    assert done.stdout.decode().startswith(f"{path}:1: The file is not valid TOML: ")
    path.unlink()
    assert "does not exist; the defaults are in force." in run_here("config", "check").stdout.decode()
    done = run_here("config", "check", "--config", "/nowhere/config.toml")
    assert done.returncode == 2
    assert "/nowhere/config.toml cannot be read" in said(done)
