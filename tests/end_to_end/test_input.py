"""What a terminal sends that is no plain key press: bytes that are not UTF-8, and keys before the first paint."""

import signal

import psutil
import pytest

MEANINGLESS = (
    b"\xe9",  # é in Latin-1
    b"\xe2\x82",  # a character that lacks its last byte
    b"\x1b[M\x80\xff\xff",  # a report of the mouse in X10's protocol, far to the right
    b"\x1b[M\x20\xe2\x90",  # another one, which looks like the beginning of a character
    b"\x1b[9999999999u",  # a key of the Kitty protocol whose character does not exist
    b"\x1b[1:2;1u",  # one with an alternate key
)


def test_input_that_means_nothing_leaves_the_keys_around_it(start):
    program = start("rogue:steady")
    program.sees("ready")
    for sent in MEANINGLESS:
        program.type(b"before" + sent + b"after")
        program.until(
            lambda text: "before" in text and "after" in text, f"the keys around {sent!r} are there"
        )
        program.type("\x15")
        program.until(lambda text: "before" not in text and "after" not in text, f"{sent!r} is deleted")
    program.type("and on\r")
    program.sees("and on", "done")
    assert program.leave() == 0
    assert b"Traceback" not in program.terminal.output


@pytest.mark.usefixtures("new_interpreters")
def test_a_prompt_sent_before_the_first_paint_is_answered(start):
    program = start("rogue:steady")
    program.type("typed early\r")
    program.sees("word19", "done", "typed early", "Ask ")
    assert program.leave() == 0


@pytest.mark.usefixtures("new_interpreters")
def test_keys_typed_before_the_picker_opens_by_itself_are_in_its_filter(start):
    program = start()
    program.type("typed ")
    program.sees("│ typed")
    program.type("early")
    program.sees("│ typed early")
    assert program.leave() == 0


@pytest.mark.usefixtures("new_interpreters")
def test_keys_typed_from_the_start_on_come_in_order(start):
    program = start("rogue:steady")
    text = ""
    while "ready" not in program.terminal.text:
        text += chr(ord("a") + len(text) % 26)
        program.type(text[-1])
        program.terminal.read(0.02)
    program.until(lambda shown: text in "".join(shown.split()), "all of it is in the composer")
    assert "Ask " not in program.terminal.text
    assert program.leave() == 0


def test_keys_in_one_write_go_where_the_keys_before_them_lead(start):
    program = start("rogue:steady")
    program.sees("ready")
    program.type("prompt\x1bORcare")  # f3 opens the picker
    program.sees("│ care ")
    program.type("\x1b")
    program.until(lambda text: "care" not in text, "the picker is closed")
    program.type("ed")
    program.sees("prompted")
    assert program.leave() == 0


@pytest.mark.parametrize("stop", [signal.SIGTSTP, signal.SIGSTOP])
def test_a_stopped_program_goes_on(start, stop):
    program = start("rogue:steady")
    program.sees("ready")
    for word in ("one", "two"):
        program.process.send_signal(stop)
        program.until(lambda text: program.process.status() == psutil.STATUS_STOPPED, "it stops")
        before = len(program.terminal.output)
        program.process.send_signal(signal.SIGCONT)
        program.until(
            lambda text, before=before: b"context 0" in program.terminal.output[before:], "it paints again"
        )
        program.type(word)
        program.sees(word)
    assert "onetwo" in program.terminal.text
    threads = program.process.num_threads()
    program.process.send_signal(signal.SIGCONT)  # it is not stopped
    program.type("three")
    program.sees("onetwothree")
    program.terminal.read_until_quiet(0.5)
    assert program.process.num_threads() == threads
    assert program.leave() == 0
