import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual import events

from paragone_tui.keys import active_keys, is_sent_by_terminals, without_alt
from paragone_tui.terminal.driver import KeyParser

PASTE = b"\x1b[200~one\r\n\x1b[2J\x00tw\xc3\xb6\x1b[201~"
SEQUENCES = st.one_of(
    st.binary(max_size=20),
    st.from_regex(rb"\x1b\[[<?=0-9:;~uMRAt]{1,20}", fullmatch=True),
    st.sampled_from([b"\x1b[48;0;0;0;0t", b"\x1b[48;9;9;0;0t", b"\x1b[<0;5;5M", b"\x1b[1114112u", PASTE]),
)


def told(*pieces: bytes) -> list[str]:
    """The keys and pastes of what a terminal sends in these pieces."""
    parser = KeyParser()
    return [
        message.text if isinstance(message, events.Paste) else message.key
        for piece in pieces
        for message in parser.feed(piece)
        if isinstance(message, (events.Key, events.Paste))
    ]


def test_a_character_split_into_two_reads_is_one_key():
    assert told(b"a\xc3", b"\xa9b") == ["a", "é", "b"]


@pytest.mark.parametrize(
    "text",
    ["می\u200cخواهم", "क्\u200dष", "👨\u200d👩\u200d👧", "1\u202f000\u00a0€", "\u200fא", "\U0001fae8"],
    ids=["persian", "hindi", "family", "spaces", "mark", "new emoji"],
)
def test_characters_that_python_calls_unprintable_are_text(text):
    typed = [
        message.text if isinstance(message, events.Paste) else message.character
        for message in KeyParser().feed(text.encode())
        if isinstance(message, events.Paste) or (isinstance(message, events.Key) and message.is_printable)
    ]
    assert "".join(it or "" for it in typed) == text


@pytest.mark.parametrize(
    "sequence", [b"\x1b[9999999999u", b"\x1b[1114112u", b"\x1b[1:2;1u", b"\x1b[48;0;0;0;0t\x1b[<0;5;5M"]
)
def test_an_unknown_sequence_does_not_swallow_other_keys(sequence):
    assert told(b"a" + sequence + b"bc") == ["a", "b", "c"]


@pytest.mark.parametrize("report", [b"\x1b[?2026;2$y", b"\x1b[?2048;0$y", b"\x1b[I", b"\x1b[<35;5;5M"])
def test_a_key_right_before_a_terminal_report_takes_effect_immediately(report):
    assert told(b"\x1bu" + report + b"b") == ["escape", "u", "b"]
    assert told(b"\x1b", b"u", report) == ["escape", "u"]
    assert told(b"\x1b" + report) == ["escape"]
    for cut in range(len(report)):
        assert told(b"\x1b" + report[:cut], report[cut:]) == ["escape"]


def test_alt_with_a_character_is_escape_and_the_character():
    sent = b"\x1bu\x1b=\x1b[A" + b"h" * 40 + b"\x1bU\x1b\xc3\xa9\x1b\t\x1b\x0f\x1b\r\x1b\x7f"
    keys = ["escape", "u", "escape", "equals_sign", "up", *"h" * 40, "escape", "U", "escape", "é"]
    keys += ["escape", "tab", "escape", "ctrl+o", "escape", "enter", "escape", "backspace"]
    assert told(sent) == keys
    assert told(b"\x1b[L\x1b[?i") == [
        *("escape", "left_square_bracket", "L", "escape", "left_square_bracket", "question_mark", "i")
    ]
    assert told(b"\x1b\\a") == ["backslash", "a"], "the end of an answer does not begin lane mode"


def test_a_character_with_alt_is_a_key_of_lane_mode():
    for setting, key in (("alt+q", "q"), ("alt+shift+q", "Q"), ("alt+Q", "Q")):
        zoom = active_keys({"zoom": setting})["zoom"]
        assert (zoom.both, zoom.lane) == (("f2",), (key,))
    assert active_keys({"zoom": "alt+f5"})["zoom"].both == ("alt+f5",)
    assert active_keys({})["settings"].first == "alt+o"


def test_terminals_send_every_bound_key():
    for command, keys in active_keys({}).items():
        assert [key for key in keys.all if not is_sent_by_terminals(key)] == [], command


def test_keys_that_terminals_cannot_send_are_refused():
    keys = ("zork+q", "Ctrl+q", "ctrl+Q", "shift+a", "f25", "f0", "ctrl+", "", "ctrl+ctrl+a", "pgup")
    assert not any(map(is_sent_by_terminals, (*keys, "alt+enter")))


@pytest.mark.parametrize("answer", [b"\x1b[?2026;2$y", b"\x1b[A", b"\x1b[200~x\x1b[201~"])
@pytest.mark.parametrize(
    ("character", "key"), [(b"O", "O"), (b"[", "left_square_bracket"), (b"_", "underscore")]
)
def test_a_character_with_alt_that_leads_sequences_is_a_key_right_before_another_sequence(
    character, key, answer
):
    rest = told(answer)
    assert told(b"\x1b" + character + answer) == ["escape", key, *rest]
    assert told(b"\x1b" + character, answer) == ["escape", key, *rest]


def test_no_command_has_a_character_with_alt_that_means_something_else_in_lane_mode():
    for command, keys in active_keys({}).items():
        for key in keys.both:
            assert without_alt(key) == key, (
                f"{command}: declare {without_alt(key)} as a key of lane mode instead"
            )


def test_a_paste_split_anywhere_is_one_paste():
    sent, wanted = b"a" + PASTE + b"b", ["a", "one\r\n\x1b[2Jtwö", "b"]
    assert told(*(sent[place : place + 1] for place in range(len(sent)))) == wanted
    for at in range(len(sent) + 1):
        assert told(sent[:at], sent[at:]) == wanted


@given(st.lists(SEQUENCES, max_size=12))
def test_a_key_after_any_input_arrives(pieces):
    parser = KeyParser()
    for piece in pieces:
        list(parser.feed(piece))
    list(parser.feed(b"\x1b[201~"))  # in case that a paste began
    list(parser.feed(b"." * 40))  # in case that a sequence did
    assert [getattr(message, "key", "") for message in parser.feed(b"x")] == ["x"]
