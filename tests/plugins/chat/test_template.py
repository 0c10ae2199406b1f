"""Chat templates: their variables, and limits for hostile templates."""

import time

import pytest

from paragone import InputError, Message

pytest.importorskip("jinja2")
from paragone.chat.template import ChatTemplate

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


def test_thinking_sets_the_variable_that_the_template_uses():
    source = "{{ enable_thinking is defined }} {{ enable_thinking }}"
    assert [render(source, thinking=value) for value in (None, True, False)] == [
        "False ",
        "True True",
        "True False",
    ]


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
        "{{ 1 / 0 }}",
        "{{ messages[9].content.upper() }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}",
        "{{ '(' * 100 }}{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
        "{{ range(1000000) | list }}",
        "{{ 'a' * 10000000000 }}",
        "{{ 9 ** 9 ** 9 }}",
        "{{ 1.5 | round(1000000000, 'ceil') }}",
        "{{ '%9999999999d' % 1 }}",
        "{{ 'a' | center(10000000000) }}",
        "{% set ns = namespace(s='aaaaaaaa') %}{% for i in range(64) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
        "x" * 3_000_000,
    ],
    ids=lambda source: source[:32],
)
def test_a_faulty_or_hostile_template_is_an_input_error_that_names_the_model(source):
    with pytest.raises(InputError, match=r"chat template of model\.gguf") as caught:
        render(source)
    assert "chat_template" in caught.value.hint
    assert len(caught.value.sentence) < 500


def test_an_endless_template_is_interrupted(monkeypatch):
    from paragone.chat import guard

    monkeypatch.setattr(guard, "SECONDS", 0.3)
    with pytest.raises(InputError, match="takes too long"):
        render("{% for i in range(99999) %}{% for j in range(99999) %}{{ '' }}{% endfor %}{% endfor %}")
    assert render("{{ messages[0].content }}") == "Hello <b>"


def test_the_memory_limit_is_removed_afterwards():
    import resource

    before = resource.getrlimit(resource.RLIMIT_AS)
    with pytest.raises(InputError):
        render("{{ 'a' | center(10000000000) }}")
    assert resource.getrlimit(resource.RLIMIT_AS) == before
