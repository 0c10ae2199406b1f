"""The messages of a worker: one table for both ends."""

import socket
from typing import get_args

import pytest

import paragone
from paragone.worker import protocol, serve
from paragone.worker.serve import JobRunner

MESSAGES = [
    protocol.WorkerMessage(version=7),
    protocol.WorkerMessage(4),
    protocol.WorkerMessage(1, items=(paragone.LoadProgress(fraction=0.5),)),
    protocol.WorkerMessage(
        2, items=(paragone.Token(text="a", id=3, time=1.0), paragone.Finish(reason="stop", time=2.0))
    ),
    protocol.WorkerMessage(3, items=(protocol.FilledSlot(slot=1, start=0, rows=2, vocab_size=16),)),
    protocol.WorkerMessage(4, answer={"size": 16}),
    protocol.WorkerMessage(4, answer={}),
]
COMMANDS: list[protocol.WorkerCommand] = [("probe", 1, {}), ("stop", 2, None)]


def test_messages_and_commands_are_the_same_after_the_pipe():
    for message in MESSAGES:
        line = protocol.dump_message(message)
        assert line.count(b"\n") == 1
        assert line.endswith(b"\n")
        assert protocol.load_message(line) == message
    failed = protocol.load_message(
        protocol.dump_message(protocol.WorkerMessage(5, error=paragone.InputError("No.", hint="Yes.")))
    )
    assert (failed.job, type(failed.error)) == (5, paragone.InputError)
    assert (failed.error.message, failed.error.hint) == ("No.", "Yes.")
    for command in COMMANDS:
        assert protocol.load_command(protocol.dump_command(command)) == command


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[]",
        b'{"items": []}',
        b'{"job": 1, "items": [7]}',
        b'{"job": 1, "items": [{"item": "Novel"}]}',
        b'{"job": 1, "error": {"kind": "odd"}}',
    ],
)
def test_invalid_messages_are_refused(line):
    with pytest.raises((ValueError, TypeError, KeyError)):
        protocol.load_message(line)


def test_a_worker_does_every_kind_of_job():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert set(JobRunner(ours, "none:None")._handlers) == set(get_args(protocol.JobName))


def test_commands_split_anywhere_are_read():
    ours, theirs = socket.socketpair()
    line = protocol.dump_command(COMMANDS[0])
    with ours:
        commands = JobRunner(ours, "none:None")._commands()
        for piece in (line[:5], line[5:] + line, line[:9]):
            theirs.sendall(piece)
        assert [next(commands), next(commands)] == [COMMANDS[0]] * 2
        theirs.sendall(line[9:])
        theirs.close()
        assert list(commands) == COMMANDS[:1]


def test_the_first_token_is_sent_immediately_and_later_ones_together(monkeypatch):
    said: list[list[type]] = []
    monkeypatch.setattr(serve, "FRAME", 3600)
    monkeypatch.setattr(serve, "LATE", 3600)

    def events():
        yield paragone.RunSettings()
        yield paragone.PromptProgress(done=1, total=1, time=1.0)
        assert said == [[paragone.RunSettings]]
        for text in "abc":
            yield paragone.Token(text=text, time=1.0)
        assert said == [[paragone.RunSettings], [paragone.PromptProgress, paragone.Token]]

    serve.Job(("run", 1, None), lambda it: said.append([type(item) for item in it.items])).send(events())
    assert said[2:] == [[paragone.Token, paragone.Token]]
