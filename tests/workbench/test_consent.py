"""Consent: what documents name that reaches beyond their folder, and when the user is asked."""

from pathlib import Path

import pytest

from paragone.options import describe
from paragone_workbench.config.read import load
from paragone_workbench.config.state import State
from paragone_workbench.consent import Consent, config_actions, engine_actions
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.registry import Registry
from paragone_workbench.paths import cache_folder

REGISTRY = Registry()


@pytest.fixture
def document(tmp_path):
    """The path of a document in a folder of its own."""
    (tmp_path / "project").mkdir()
    return tmp_path / "project" / "document.json"


def actions(document, backend, model="m", *, python=None, address=None, folders=(), **options):
    engine = EngineDefinition(
        name="e", backend=backend, model=model, python=python, address=address, options=options
    )
    return engine_actions(engine, REGISTRY.get(backend), document, folders)


# ── What reaches beyond the folder ───────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("backend", "options", "expected"),
    [
        ("openai", {"url": "http://evil.example/v1"}, "contacts http://evil.example:80"),
        ("openai", {"url": "http://h:1", "key_command": "cat x"}, "runs the command cat x"),
        ("openai", {"url": "http://h:1", "headers": ["A: $B"]}, "sends to its server: headers = A: $B"),
        ("llama_cpp", {"chat_template": "@/etc/passwd"}, "reads /etc/passwd"),
        ("llama_cpp", {"lora": "../lora.gguf"}, "reads ../lora.gguf"),
        ("llama_server", {"program": "/bin/evil"}, "starts the program /bin/evil"),
        ("llama_server", {"arguments": ["--log-file"]}, "starts its program with the argument --log-file"),
    ],
)
def test_actions_of_options_outside_the_folder_are_listed(document, backend, options, expected):
    assert expected in actions(document, backend, **options)


def test_every_option_of_a_backend_that_takes_a_path_or_a_command_declares_what_it_names():
    for backend in ("llama_cpp", "llama_server", "exllamav2", "exllamav3", "openai", "ollama"):
        found = REGISTRY.get(backend)
        for info in (*describe(found.load_options), *describe(found.sampling)):
            if info.kind in ("path", "command", "name", "text or @path") or "list of" in info.kind:
                assert info.outside or info.name in ("rpc_servers", "stop", "tensor_split", "gpu_split"), info


def test_files_in_the_folder_of_the_document_need_no_consent(document, monkeypatch):
    monkeypatch.chdir(document.parent)
    (document.parent / "model.gguf").touch()
    assert actions(document, "llama_cpp", "model.gguf", chat_template="@sub/template.jinja") == ()
    (document.parent / "link").symlink_to("/etc")
    assert actions(document, "llama_cpp", chat_template="@link/passwd") == ("reads link/passwd",)
    assert actions(document, "llama_cpp", chat_template="@../other") == ("reads ../other",)
    assert actions(document, "llama_cpp", chat_template="{{ a }}/@x", grammar='root ::= "@"') == ()


def test_files_beside_a_document_in_the_home_folder_need_consent(home):
    (home / ".ssh").mkdir()
    secret = f"@{home}/.ssh/id"
    assert actions(home / "document.json", "llama_cpp", chat_template=secret) == (f"reads {home}/.ssh/id",)


def test_models_in_the_users_folders_need_no_consent(document, home, tmp_path):
    for folder in ("models", "srv", "elsewhere"):
        (home / folder).mkdir()
        (home / folder / "m.gguf").touch()
    assert actions(document, "llama_cpp", "~/models/m.gguf") == ()
    assert actions(document, "llama_cpp", f"{home}/srv/m.gguf", folders=[f"{home}/srv"]) == ()
    assert actions(document, "llama_cpp", "~/elsewhere/m.gguf") == ("reads ~/elsewhere/m.gguf",)


def test_only_links_in_the_cache_need_no_consent(document, home):
    cache = cache_folder()
    for folder in (cache, home / "environment", home / "models"):
        folder.mkdir(parents=True, exist_ok=True)
    (home / "environment" / "m.gguf").touch()
    for folder in (cache, home / "models"):
        (folder / "link.gguf").symlink_to(home / "environment" / "m.gguf")
    assert actions(document, "llama_cpp", f"{cache}/link.gguf") == ()
    assert actions(document, "llama_cpp", "~/models/link.gguf") == ("reads ~/models/link.gguf",)
    outside = f"{cache}/../../{home.name}/environment/m.gguf"
    assert Path(outside).exists()
    assert actions(document, "llama_cpp", outside) == (f"reads {outside}",)


# ── Config files ─────────────────────────────────────────────────────────────────────────────


def test_actions_of_a_config_file_are_listed(document):
    document.write_text(
        "[engines.box]\nbackend = 'openai'\nmodel = 'm'\nurl = 'http://h:1'\nkey_command = 'touch owned'\n"
        "temperature = 'nonsense'\n"
        "[engines.local]\nbackend = 'llama_cpp'\nmodel = 'm'\npython = '/tmp/evil'\n"
        "[engines.gone]\nbackend = 'gone'\nmodel = 'm'\n"
        "[models]\nfolders = ['/', 'beside']\n"
        "[presets.p]\njson_schema = '@/etc/passwd'\nstop = ['@']\n"
        "[lanes]\nstart = ['ollama:x@http://evil.example:1', 'box']\n"
    )
    assert config_actions(load(document), REGISTRY) == (
        "searches for models in /",
        "searches for models in beside",
        "the engine box contacts http://h:1",
        "the engine box runs the command touch owned",
        "the engine local starts the interpreter /tmp/evil",
        "the engine x contacts http://evil.example:1",
        "the preset p reads /etc/passwd",
    )


# ── The question ─────────────────────────────────────────────────────────────────────────────


class User:
    """A test double of a person who answers questions."""

    def __init__(self, answer):
        self.answer = answer
        self.questions = []

    def __call__(self, shown):
        self.questions.append(tuple(shown))
        return self.answer


def consent(document, user=None, **fields):
    return Consent(document=document, state=State(document.parent / "state.toml"), ask=user, **fields)


def test_consent_is_remembered_for_the_document_and_its_actions(document):
    user = User(True)
    for _ in range(2):
        consent(document, user).require(["contacts a", "reads b"])
    assert user.questions == [("contacts a", "reads b")]
    consent(document, user).require(["contacts a"])
    consent(document.with_name("other.json"), user).require(["contacts a"])
    assert len(user.questions) == 3
    assert "contacts" not in (document.parent / "state.toml").read_text()


def test_consent_questions_do_not_show_keys(document):
    user = User(True)
    consent(document, user).require(["sends: headers = Authorization: Bearer sk-0123456789ab", "reads /a/b"])
    assert user.questions == [("sends: headers = Authorization: Bearer •••", "reads /a/b")]
