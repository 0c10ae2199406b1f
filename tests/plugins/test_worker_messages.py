"""The messages of a worker: one table for both ends."""

import socket
from typing import get_args

import pytest

import paragone
from paragone.worker import protocol
from paragone.worker import protocol as jobs
from paragone.worker.child_process import serve as pipe
from paragone.worker.child_process.serve import JobRunner, Pipe

KINDS = [value for value in vars(jobs).values() if isinstance(value, protocol.JobKind)]

MESSAGES: list[protocol.WorkerMessage] = [
    protocol.Pong(job=4),
    protocol.Hello(version=7),
    protocol.Progress(job=1, fraction=0.5),
    protocol.Events(
        job=2, events=(paragone.Token(text="a", id=3, time=1.0), paragone.Finish(reason="stop", time=2.0))
    ),
    protocol.FilledSlot(job=3, slot=1, start=0, rows=2, vocab_size=16),
    protocol.Completed(job=4, answer={"size": 16}),
]
COMMANDS = [
    protocol.WorkerCommand(do="probe", job=1, request={}),
    protocol.WorkerCommand(do="stop", job=2),
    protocol.WorkerCommand(do="taken", job=3),
    protocol.WorkerCommand(do="ping", job=4),
]


def test_messages_and_commands_are_the_same_after_the_pipe():
    for message in MESSAGES:
        line = protocol.dump_message(message)
        assert line.count(b"\n") == 1
        assert line.endswith(b"\n")
        assert protocol.load_message(line) == message
    failed = protocol.load_message(
        protocol.dump_message(protocol.Failed(job=5, error=paragone.InputError("No.", hint="Yes.")))
    )
    assert isinstance(failed, protocol.Failed)
    assert (failed.job, type(failed.error)) == (5, paragone.InputError)
    assert (failed.error.sentence, failed.error.hint) == ("No.", "Yes.")
    for command in COMMANDS:
        assert protocol.load_command(protocol.dump_command(command)) == command


def test_these_are_all_messages():
    assert {type(message) for message in MESSAGES} | {protocol.Failed} == set(
        get_args(protocol.WorkerMessage)
    )


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b'{"say": "novel", "job": 1}',
        b'{"say": "events", "job": 1, "events": [7]}',
        b'{"say": "failed", "job": 1, "error": {"error": "odd"}}',
    ],
)
def test_what_is_no_message_is_refused(line):
    with pytest.raises((ValueError, TypeError, KeyError)):
        protocol.load_message(line)


def test_the_hello_of_an_older_worker_says_its_version():
    line = b'{"say":"hello","version":2,"pid":7,"python":"3.11.2"}\n'
    assert protocol.load_message(line) == protocol.Hello(version=2)


def test_a_worker_does_every_kind_of_job():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert set(JobRunner(Pipe(ours), "none:None")._handlers) == {kind.name for kind in KINDS}
    assert len({kind.name for kind in KINDS}) == len(KINDS)


def test_the_first_token_is_sent_at_once_and_the_next_ones_together(monkeypatch):
    class Recorder(Pipe):
        """A test double: keeps what is said."""

        def __init__(self):
            self.said = []

        def say(self, message):
            assert isinstance(message, protocol.Events)
            self.said.append([type(event) for event in message.events])

    monkeypatch.setattr(pipe, "FRAME", 3600)
    monkeypatch.setattr(pipe, "LATE", 3600)
    recorder = Recorder()
    frames = pipe.Frames(recorder, 1)
    for event in (paragone.RunSettings(), paragone.PromptProgress(done=1, total=1, time=1.0)):
        frames.add(event)
    assert recorder.said == [[paragone.RunSettings]]
    for text in "abc":
        frames.add(paragone.Token(text=text, time=1.0))
    assert recorder.said == [[paragone.RunSettings], [paragone.PromptProgress, paragone.Token]]
    frames.close()
    assert recorder.said == [
        [paragone.RunSettings],
        [paragone.PromptProgress, paragone.Token],
        [paragone.Token, paragone.Token],
    ]
