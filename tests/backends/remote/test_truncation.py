"""Detection of truncated prompts: a lower bound of the tokens of a text, and a caution for a cut prompt."""

from pathlib import Path

import pytest

from paragone import Message
from paragone_remote.truncation import TruncationAlarm, least_tokens

CONTRACT = (
    "The undersigned representatives, being duly authorized by their respective governments, have agreed "
    "that notwithstanding the provisions of the aforementioned international convention concerning "
    "telecommunications infrastructure, the administration shall independently determine appropriate "
    "environmental characteristics. "
)
TEXTS = {
    "contract": CONTRACT * 10,
    "long words": "international responsibilities understanding telecommunications " * 40,
    "code": Path(__file__).read_text(),
    "names": "InternationalOrganizationResponsibilities" * 40,
    "rules": "name: " + "_" * 3000 + "\n" + "-=" * 500 + "=" * 3000 + "." * 3000,
    "one sign": "a" * 3000 + " " + "0" * 3000 + " " * 3000 + "\n" * 3000 + "\t" * 500,
    "tables": "|---|---|\n| a | b |\n" * 50 + "┌────┬────┐\n│    │    │\n" * 50,
    "csv": "0,0,0,0,0,0\n" * 100,
    "markup": '<div class="container"><span></span></div>\n' * 50,
    "addresses": "https://www.example.com/international/index.html\n" * 20,
    "base64": "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo=" * 40,
    "Chinese": "这是一个很长的中文句子，用来测试分词器。" * 40,
    "Japanese": "これはとても長い日本語の文章です。" * 40,
    "Korean": "이것은 매우 긴 한국어 문장입니다. " * 40,
    "German": "Geschwindigkeitsbegrenzungen für Donaudampfschiffe. " * 40,
    "Russian": "Международные организации несут ответственность. " * 40,
    "pictures": "😀👩‍👩‍👧 " * 100,
}


@pytest.fixture(scope="module")
def count(smollm2):
    """Return what counts a text's tokens as a real model does."""
    llama_cpp = pytest.importorskip("llama_cpp")
    model = llama_cpp.Llama(str(smollm2), vocab_only=True, verbose=False)
    yield lambda text: len(model.tokenize(text.encode(), add_bos=False))
    model.close()


@pytest.mark.parametrize("kind", TEXTS)
def test_no_text_is_taken_for_longer_than_it_is(count, kind):
    assert least_tokens(TEXTS[kind]) <= count(TEXTS[kind])


@pytest.mark.parametrize(
    ("kind", "part"), [("contract", 0.8), ("code", 0.3), ("Chinese", 0.1), ("German", 0.1)]
)
def test_much_of_a_text_cannot_be_cut_unnoticed(count, kind, part):
    assert least_tokens(TEXTS[kind]) >= part * count(TEXTS[kind])


# The numbers of tokens are those of common models' own tokenizers.
@pytest.mark.parametrize("read", [371, 375], ids=["Llama 3, Qwen, Gemma, Command R", "with a template"])
def test_a_contract_that_was_read_whole(read):
    alarm = TruncationAlarm("The server", context=4096)
    assert alarm.check([Message(role="user", text=TEXTS["contract"])], read, 5) is None


def test_a_contract_of_which_the_end_was_read():
    caution = TruncationAlarm("The server").check([Message(role="user", text=TEXTS["contract"])], 280, 5)
    assert caution.code == "truncated"


def test_thinking_that_a_template_leaves_out_was_not_cut():
    """It stands in the answer where neither the server nor anybody else knew where it began."""
    answer = "I am asked for a colour, and there are many to choose from. " * 30 + "</think>Red."
    question = Message(role="user", text="A colour?")
    talk = [question, Message(role="assistant", text=answer), Message(role="user", text="Another?")]
    alarm = TruncationAlarm("The server")
    assert alarm.check([question], 12, 400) is None
    assert alarm.check(talk, 30, 5) is None
    assert alarm.check([*talk[:2], Message(role="user", text=answer)], 40, 5).code == "truncated"


def test_a_server_that_counts_nothing():
    assert TruncationAlarm("The server").check([Message(role="user", text="How are you?")], 0, 5) is None
