"""Detection of truncated prompts: a lower bound of the tokens of a text, and a caution for a cut prompt."""

from pathlib import Path

from paragone import Message
from paragone_remote.answers import TruncationAlarm, least_tokens

from .conftest import vocab_of

CONTRACT = (
    "The undersigned representatives, being duly authorized by their respective governments, have agreed "
    "that notwithstanding the provisions of the aforementioned international convention concerning "
    "telecommunications infrastructure, the administration shall independently determine appropriate "
    "environmental characteristics. "
)
TEXTS = {
    "contract": CONTRACT * 10,
    "code": Path(__file__).read_text(),
    "rules": "name: " + "_" * 3000 + "\n" + "-=" * 500 + "=" * 3000 + "." * 3000,
    "tables": "|---|---|\n| a | b |\n" * 50 + "┌────┬────┐\n│    │    │\n" * 50,
    "base64": "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo=" * 40,
    "Chinese": "这是一个很长的中文句子，用来测试分词器。" * 40,
    "German": "Geschwindigkeitsbegrenzungen für Donaudampfschiffe. " * 40,
    "pictures": "😀👩‍👩‍👧 " * 100,
}


def test_the_fewest_tokens_of_a_text_are_estimated_never_too_high(whole_smollm2):
    vocab = vocab_of(whole_smollm2)
    noticed = {"contract": 0.8, "code": 0.3, "Chinese": 0.1, "German": 0.1}
    for kind, text in TEXTS.items():
        count = len(vocab.tokenize(text, special=False))
        assert noticed.get(kind, 0) * count <= least_tokens(text) <= count, kind


def test_thinking_omitted_by_a_template_is_not_a_cut():
    """It stands in the answer where neither the server nor anybody else knew where it began."""
    answer = "I am asked for a colour, and there are many to choose from. " * 30 + "</think>Red."
    question = Message(role="user", text="A colour?")
    talk = [question, Message(role="assistant", text=answer), Message(role="user", text="Another?")]
    alarm = TruncationAlarm("The server")
    assert alarm.check([question], 12, 400) is None
    assert alarm.check(talk, 30, 5) is None
    assert alarm.check([*talk[:2], Message(role="user", text=answer)], 40, 5).code == "truncated"


def said(*texts):
    """Return a conversation of these texts, by turns."""
    return [
        Message(role="assistant" if number % 2 else "user", text=text) for number, text in enumerate(texts)
    ]


TELL = "Tell me something about this number, please."
CODE = "x=[(1,2),(3,4)];" * 10
"""An answer of many more tokens than words."""


def test_an_earlier_answer_counts_with_its_generated_tokens():
    """The counts are those of Ollama at /v1 with SmolLM2: 22 tokens for each prompt and its control tokens."""
    alarm = TruncationAlarm("The server")
    assert alarm.check(said(TELL), 20, 90, answer=CODE) is None
    assert alarm.check(said(TELL, CODE, TELL), 132, 90, answer=CODE) is None
    caution = alarm.check(said(TELL, CODE, TELL, CODE, TELL), 152, 90, answer=CODE)
    assert caution is not None, "132 were read before, then 90 written; 152 is more than 132"
    assert caution.code == "truncated"
    assert "read 152" in caution.sentence


def test_the_tokens_of_an_edited_prompt_are_compared_with_the_turns_before_it():
    alarm = TruncationAlarm("The server")
    for turns, read in ((said(TELL), 20), (said(TELL, CODE, TELL), 132)):
        assert alarm.check(turns, read, 90, answer=CODE) is None
    assert alarm.check(said(TELL, CODE, "Other?"), 40, 90, answer=CODE).code == "truncated"
    assert alarm.check(said("Other?"), 12, 90, answer=CODE) is None, "another conversation"


def test_thinking_that_a_template_may_omit_is_not_counted():
    """The server counts 400 tokens for thinking and answer; only the answer is in the next prompt."""
    alarm = TruncationAlarm("The server")
    assert alarm.check(said(TELL), 20, 400, answer=None) is None
    assert alarm.check(said(TELL, "Red.", TELL), 46, 5, answer="Blue.") is None


def test_a_continued_answer_is_not_used_for_the_comparison():
    """A template shows the thinking of the last answer only."""
    alarm = TruncationAlarm("The server")
    begun = [*said(TELL), Message(role="assistant", text="R", thinking="Hm. " * 200)]
    assert alarm.check(begun, 420, 5, answer="ed.") is None
    assert alarm.check([*begun, Message(role="user", text=TELL)], 50, 5, answer="") is None


def test_the_servers_own_token_count_is_used():
    alarm = TruncationAlarm("The server")
    assert alarm.check(said(TELL), 20, 5, sent_tokens=20) is None
    caution = alarm.check(said(TELL), 17, 5, sent_tokens=20)
    assert "20 tokens were sent, and the server read 17" in caution.sentence


def test_a_context_shifted_during_the_answer_causes_a_warning():
    alarm = TruncationAlarm("The server", context=256)
    assert alarm.check(said(TELL), 20, 237) is None, "the last token is never read again"
    caution = alarm.check(said(TELL), 20, 238)
    assert caution.code == "context-shifted"
    assert "prompt and answer are 258 tokens, the context holds 256" in caution.sentence


def test_spaces_that_a_template_strips_are_not_counted():
    alarm = TruncationAlarm("The server")
    assert alarm.check(said(TELL), 20, 500, answer="Red." + "\n" * 490) is None
    assert alarm.check(said(TELL, "Red." + "\n" * 490, TELL), 52, 5, answer="") is None
