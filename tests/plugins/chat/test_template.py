"""Chat templates: their variables, and limits for hostile templates."""

import signal
import subprocess
import sys
import time

import pytest

from paragone import InputError, Message
from paragone.crash_causes import find_cause

pytest.importorskip("jinja2")
from paragone.chat_template import ChatTemplate

USER = Message(role="user", text="Hello <b>")


def render(source, messages=(USER,), *, generate=True, thinking=None):
    template = ChatTemplate(source, bos="<s>", eos="</s>", owner="model.gguf")
    return template.render(messages, generate=generate, thinking=thinking)


def test_a_template_has_the_variables_of_hugging_face():
    source = (
        "{{ bos_token }}\n"
        "{% for m in messages %}\n"
        "  {% if loop.last %}[{{ m['role'] }}|{{ m.content }}|{{ m | tojson }}]{{ eos_token }}{% break %}{% endif %}\n"
        "{% endfor %}\n"
        "{% generation %}{{ add_generation_prompt }}{% endgeneration %}{{ strftime_now('%Y') }}"
    )
    year = time.strftime("%Y")
    assert render(source) == '<s>\n[user|Hello <b>|{"role": "user", "content": "Hello <b>"}]</s>True' + year


@pytest.mark.parametrize(
    ("value", "variables"),
    [
        (None, "- - - -"),
        (False, "False False - -"),
        (True, "True True - -"),
        ("low", "True True low -"),
        (64, "True True - 64"),
    ],
)
def test_thinking_can_be_an_effort_or_a_budget(value, variables):
    names = ("enable_thinking", "thinking", "reasoning_effort", "thinking_budget")
    source = " ".join(f"{{{{ {name} if {name} is defined else '-' }}}}" for name in names)
    assert render(source, thinking=value) == variables


def test_the_template_gets_earlier_thinking():
    turn = Message(role="assistant", text="Yes", thinking="hm")
    assert render("{{ messages[0].reasoning_content }}{{ messages[0].thinking }}", [turn]) == "hmhm"


def test_a_template_may_refuse_the_messages():
    with pytest.raises(InputError, match=r"refuses these messages: No system please\.$"):
        render("{{ raise_exception('No system please.') }}")


@pytest.mark.parametrize(
    "source",
    [
        "{% for x in",
        "{{ messages[9].content.upper() }}",
        "{{ messages.append(1) }}",
        "{% include '/etc/passwd' %}",
        "{{ '(' * 100 }}{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
        "{{ 'a' * 10000000000 }}",
        "{{ 9 ** 9 ** 9 }}",
        "{{ 1.5 | round(1000000000, 'ceil') }}",
        "{% set ns = namespace(s='aaaaaaaa') %}{% for i in range(64) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
        "x" * 3_000_000,
    ],
    ids=lambda source: source[:32],
)
def test_a_faulty_or_hostile_template_is_an_input_error_that_names_the_model(source):
    with pytest.raises(InputError, match=r"chat template of model\.gguf") as caught:
        render(source)
    assert "chat_template" in caught.value.hint
    assert len(caught.value.message) < 500


def test_an_endless_template_is_interrupted(monkeypatch):
    from paragone import chat_template

    monkeypatch.setattr(chat_template, "SECONDS", 0.3)
    with pytest.raises(InputError, match="takes too long"):
        render("{% for i in range(99999) %}{% for j in range(99999) %}{{ '' }}{% endfor %}{% endfor %}")
    assert render("{{ messages[0].content }}") == "Hello <b>"


def test_the_length_of_a_prompt_is_limited_while_rendering(monkeypatch):
    from paragone import chat_template

    monkeypatch.setattr(chat_template, "MEMORY", 2**40)  # as where the system limits no memory
    with pytest.raises(InputError, match="takes too much memory to render"):
        render("{% for i in range(99999) %}{{ 'a' * 1000000 }}{% endfor %}")


@pytest.mark.thorough
def test_a_single_call_that_never_ends_ends_its_process():
    program = (
        "from paragone import Message\n"
        "from paragone import chat_template\n"
        "from paragone.chat_template import ChatTemplate\n"
        "chat_template.CPU_SECONDS = 0.2\n"
        "chat_template.SECONDS = 3600.0\n"  # on a busy machine it may come first
        "template = ChatTemplate(SOURCE, bos='', eos='', owner='m')\n"
        "template.render([Message(role='user', text='x')], generate=True, thinking=None)\n"
    )
    # a million comparisons of equal texts of a megabyte, in one comparison of lists
    source = (
        "{% set a = 'a' * 1000000 ~ messages[0].content %}{% set b = 'a' * 1000000 ~ messages[0].content %}"
        "{{ [a] * 1000000 == [b] * 1000000 }}"
    )
    done = subprocess.run([sys.executable, "-c", f"SOURCE = {source!r}\n{program}"], capture_output=True)
    assert (done.returncode, done.stderr) == (-signal.SIGPROF, b"")
    cause = find_cause((), output="", number=signal.SIGPROF)
    assert (cause.cause, cause.cure) == (
        "its chat template computes too long",
        "Set another chat template with the option chat_template.",
    )


@pytest.mark.parametrize("opening", ["{{", "{{(", "{% raw %}", "{% if x %}"])
def test_a_template_of_only_opening_tags_is_refused(opening):
    """Each opening is read once: a thousand times as many as in a real template are refused like a few."""
    with pytest.raises(InputError, match="cannot be parsed"):
        render(opening * ((1 << 20) // len(opening)))


def test_the_limits_are_removed_after_rendering():
    import resource

    before = resource.getrlimit(resource.RLIMIT_AS)
    with pytest.raises(InputError):
        render("{{ 'a' | center(10000000000) }}")
    assert resource.getrlimit(resource.RLIMIT_AS) == before
    assert signal.getitimer(signal.ITIMER_PROF) == (0, 0)
