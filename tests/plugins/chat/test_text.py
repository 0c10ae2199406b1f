"""Converting the bytes of tokens to channels, whole characters and stop sequences, without a model."""

from hypothesis import given, settings
from hypothesis import strategies as st

from paragone import Token
from paragone.answer_text import THINKING_TAGS, AnswerText


def read(pieces, stops=(), inside=None):
    """Feed each piece as one token; return the text of each channel, the ids, and whether a stop sequence came."""
    answer = AnswerText(stops, inside=inside)
    tokens: list[Token] = []
    for number, piece in enumerate(pieces):
        tokens += answer.push(piece if isinstance(piece, bytes) else piece.encode(), number, float(number))
        if answer.stopped:
            break
    tokens += answer.finish()
    texts = {"answer": "", "thinking": ""}
    for token in tokens:
        texts[token.channel] += token.text
    return texts["answer"], texts["thinking"], [t.id for t in tokens if t.id is not None], answer.stopped


def test_a_thinking_block_goes_to_its_own_channel():
    answer, thinking, ids, _ = read(["<think>", "\n", "hm", "m", "\n", "</think>", "\n\n", "Yes", "."])
    assert (answer, thinking) == ("Yes.", "hmm\n")
    assert ids == list(range(9))


def test_gpt_oss_may_answer_without_thinking():
    assert read(["<|channel|>", "final", "<|message|>", "Yes"])[:2] == ("Yes", "")
    assert read(["<|channel|>", "fin", "e"])[:2] == ("<|channel|>fine", "")


def test_every_kind_of_tag_is_recognized():
    for tags in THINKING_TAGS:
        assert read([tags.open, "a", tags.close, "b"])[:2] == ("b", "a")
        assert read([tags.open + "a" + tags.close + "b"])[:2] == ("b", "a")
        assert read(["a", tags.close, "b"], inside=tags)[:2] == ("b", "a")
        assert read([*f"{tags.open}a<b{tags.close}c<d"])[:2] == ("c<d", "a<b")
        assert read([tags.open, "a", "b"])[:2] == ("", "ab")
    assert read(["Write ", "<think>", " so"])[:2] == ("Write <think> so", "")


def test_an_answer_that_only_begins_like_a_tag_is_text():
    assert read(["<th", "ead>"])[:2] == ("<thead>", "")
    assert read([" ", "\n<"])[:2] == (" \n<", "")


def test_white_space_at_the_start_is_not_held_back_for_long():
    """A model can answer with white space only: each token costs the same, and is shown and saved as it comes."""
    answer = AnswerText()
    shown = [token.text for number in range(1000) for token in answer.push(" \n", number, 0.0)]
    assert "".join(shown) == " \n" * 1000
    assert read([" " * 99, "<think>", "a", "</think>", "b"])[:2] == ("b", "a")


def test_stop_sequences_do_not_end_the_thinking():
    assert read(["<think>", "STOP", "</think>", "a", "STO", "P", "b"], stops=("STOP",)) == (
        "a",
        "STOP",
        list(range(6)),
        True,
    )


def test_the_first_of_several_stop_sequences_counts():
    assert read(["a", "bcd", "e"], stops=("cd", "b", "bc"))[0] == "a"


def test_a_token_is_one_event_even_if_its_text_comes_in_parts():
    answer = AnswerText(("aab",))
    tokens = [
        token for i, piece in enumerate(["xa", "aac", "d"]) for token in answer.push(piece.encode(), i, 0.0)
    ]
    tokens += answer.finish()
    assert [(token.id, token.text) for token in tokens] == [(0, "xa"), (1, "aac"), (2, "d")]


def test_a_token_is_held_back_only_while_its_text_could_begin_a_stop_sequence():
    answer = AnswerText(("\n\n",))
    seen = [
        [token.text for token in answer.push(piece, i, 0.0)]
        for i, piece in enumerate([b"a", b"\n", b"b", b"c"])
    ]
    assert seen == [["a"], [], ["\n", "b"], ["c"]]


def test_text_can_be_fed_without_bytes_and_ids():
    answer = AnswerText()
    pieces = ["<think>", "é", "</think>", "\n", "ü", "."]
    tokens = [(token.channel, token.text, token.id) for it in pieces for token in answer.push(it, None, 0.0)]
    assert [it for it in tokens if it[1]] == [
        ("thinking", "é", None),
        ("answer", "ü", None),
        ("answer", ".", None),
    ]
    assert len(tokens) == len(pieces)


def test_later_text_needs_no_processing_once_the_answer_has_begun():
    answer = AnswerText()
    settled = []
    for piece in ["<thi", "nk>", "hm", "</think>", "\n", "Yes", "."]:
        list(answer.push(piece, None, 0.0))
        settled.append(answer.settled)
    assert settled == [False] * 5 + [True] * 2
    stopping = AnswerText(("END",))
    list(stopping.push("Yes", None, 0.0))
    assert not stopping.settled


@settings(max_examples=40)
@given(st.text(max_size=40), st.lists(st.integers(1, 5), max_size=60))
def test_any_text_split_anywhere_arrives_completely(text, cuts):
    text = "." + text  # so that it does not start with a tag
    data = text.encode()
    pieces: list[bytes] = []
    for cut in cuts:
        pieces, data = [*pieces, data[:cut]], data[cut:]
    assert read([*pieces, data])[0] == text


@settings(max_examples=50)
@given(
    st.text("ab\n", max_size=20),
    st.lists(st.text("ab\n", min_size=1, max_size=4), max_size=3),
    st.integers(1, 4),
)
def test_an_answer_ends_before_its_first_stop_sequence_however_it_is_split(text, stops, size):
    text = "." + text
    found = [at for stop in stops if (at := text.find(stop)) >= 0]
    wanted = text[: min(found)] if found else text
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    answer, _, _, stopped = read(pieces, tuple(stops))
    assert stopped == bool(found)
    # The stop sequence that ends first is recognized, even if another one begins before it.
    assert answer == wanted or (
        stopped and wanted.startswith(answer[: min(found)]) and len(answer) - min(found) < 4
    )
