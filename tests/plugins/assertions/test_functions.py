"""The assertion `python`, whose functions run in a process of their own."""

import pytest

from paragone import InputError, Message
from paragone.assertions import Answer, NoVerdict
from paragone_assertions import functions, limited


@pytest.fixture
def python():
    assertion = functions.Python()
    yield assertion
    assertion.close()


@pytest.fixture
def call(python, tmp_path):
    """A function that writes a file of code, and checks an answer with the function `check` in it."""

    async def called(code: str, answer: str | Answer = "blue", **options):
        (tmp_path / "checks.py").write_text(code)
        located = python.located(functions.PythonOptions(file="checks.py", **options), tmp_path)
        given = answer if isinstance(answer, Answer) else Answer(text=answer)
        return await python.check(given, located, None)

    return called


@pytest.mark.parametrize(
    ("result", "options", "found"),
    [
        ("True", {}, (True, None, "check in checks.py returned True.")),
        ("0.25", {}, (True, 0.25, "check in checks.py returned 0.25.")),
        ("0.25", {"minimum": 0.5}, (False, 0.25, "check in checks.py returned 0.25.")),
        ("0", {}, (False, 0.0, "check in checks.py returned 0.")),
        ("{'passed': False, 'score': 0.9, 'reason': 'Too loud.'}", {}, (False, 0.9, "Too loud.")),
        (
            "{'pass': True, 'score': 0}",
            {},
            (True, 0.0, "check in checks.py returned {'pass': True, 'score': 0}."),
        ),
        ("__import__('numpy').float32(0.5)", {}, (True, 0.5, "check in checks.py returned 0.5.")),
    ],
)
async def test_a_function_returns_a_verdict(call, result, options, found):
    verdict = await call(f"def check(answer, context):\n    return {result}\n", **options)
    assert (verdict.passed, verdict.score, verdict.reason) == found


async def test_a_function_gets_plain_data(call):
    code = "import json\ndef seen(answer, context):\n    return {'passed': True, 'reason': json.dumps([answer, context])}\n"
    answer = Answer(
        text="blue", messages=(Message(role="user", text="Sky?"),), expected="b", variables={"n": 1}
    )
    verdict = await call(code, answer, function="seen")
    assert verdict.reason == (
        '["blue", {"prompt": "Sky?", "messages": [{"role": "user", "content": "Sky?"}], "expected": "b", '
        '"variables": {"n": 1}, "vars": {"n": 1}}]'
    )


HELPER = "def check(answer, context):\n    return help(answer)\n\ndef help(answer):\n    "


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (HELPER + "return 1 / 0\n", "checks.py:5: ZeroDivisionError: division by zero"),
        (HELPER + "raise SystemExit(3)\n", "checks.py:5: SystemExit: 3"),
        (HELPER + "import socket; socket.socket()\n", "checks.py:5: PermissionError: [Errno 13] Permission denied"),
        ("\nimport nothing_of_this_name\n", "checks.py:2: ModuleNotFoundError: No module named 'nothing_of_this_name'"),
        ("def check(answer):\n    return True\n", "checks.py: TypeError: check() takes 1 positional"),
        ("x = 1\n", "checks.py has no function 'check'"),
        ("def check(answer, context):\n    return 1.5\n", "check in checks.py returned '1.5'"),
        ("def check(answer, context):\n    return object()\n", "check in checks.py returned a object, which is not"),
    ],
)  # fmt: skip
async def test_an_error_gives_no_verdict_and_names_the_line(call, code, reason):
    with pytest.raises(NoVerdict) as caught:
        await call(code)
    assert caught.value.message.startswith(reason)


async def test_a_function_that_prints_or_reads_does_not_disturb(call):
    assert (
        await call(
            "import sys\ndef check(answer, context):\n    print(1)\n    return sys.stdin.read() == ''\n"
        )
    ).passed


async def test_a_function_that_waits_or_computes_for_too_long_is_stopped(call, monkeypatch):
    monkeypatch.setattr(limited, "SECONDS", 0.2)
    with pytest.raises(NoVerdict, match=r"more than 0\.2 seconds of CPU time"):
        await call("def check(answer, context):\n    while True: pass\n")
    monkeypatch.setattr(limited, "PATIENCE", 0.2)
    with pytest.raises(NoVerdict, match=r"more than 0\.2 seconds and was stopped"):
        await call("import signal\ndef check(answer, context):\n    signal.pause()\n")


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("../checks.py", "is not in the folder of the suite"),
        ("nothing.py", "nothing.py"),
        ("wrong.py", "wrong.py:2: This is not valid Python: invalid syntax"),
    ],
)
def test_a_wrong_file_is_refused(python, tmp_path, file, message):
    (tmp_path / "wrong.py").write_text("x = 1\ny = = 2\n")
    with pytest.raises(InputError, match=message):
        python.located(functions.PythonOptions(file=file), tmp_path)


async def test_a_file_that_changes_after_consent_is_not_run(python, tmp_path):
    file = tmp_path / "checks.py"
    file.write_text("def check(answer, context):\n    return True\n")
    located = python.located(functions.PythonOptions(file="checks.py"), tmp_path)
    (action,) = python.actions(located)
    assert action.startswith("runs Python code in checks.py (SHA-256 ")
    file.write_text("def check(answer, context):\n    return False\n")
    with pytest.raises(NoVerdict, match=r"checks\.py has changed since the suite was read"):
        await python.check(Answer(text=""), located, None)
    assert python.actions(python.located(functions.PythonOptions(file="checks.py"), tmp_path)) != (action,)
