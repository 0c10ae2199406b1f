"""Files that the user names are opened by `paragone.files` alone, where no pipe and no device can block."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]

OTHERS = {
    "backends/paragone_exllama/probe.py": "modules of installed libraries",
    "backends/paragone_llama_cpp/library.py": "/proc",
    "backends/paragone_llama_cpp/model.py": "/proc and cgroups",
    "backends/paragone_llama_cpp/demo.py": "the file that it has just made",
    "backends/paragone_remote/llama_server/process.py": "/proc",
    "plugins/paragone/chat_template.py": "/proc",
    "plugins/paragone/discovery.py": "what it remembers of plugins",
    "plugins/paragone/threads.py": "/sys",
    "plugins/paragone/files.py": "this is the reader",
    "plugins/paragone_assertions/limited_jobs.py": "the pipes of its process, and /dev/null",
    "plugins/paragone/worker/process.py": "the log of a worker, and the output of a command",
    "plugins/paragone/worker/protocol.py": "memory that a worker shares",
    "tui/paragone_cli/main.py": "/dev/null",
    "tui/paragone_cli/command_line/output.py": "/dev/null",
    "workbench/paragone_workbench/measure/fidelity.py": "a file of the package",
    "workbench/paragone_workbench/config/read.py": "a file of the package, and one that it makes",
    "workbench/paragone_workbench/engines/environments.py": "the program's own mark and lock, and /proc",
    "workbench/paragone_workbench/paths.py": "a file that it makes",
    "workbench/paragone_workbench/machine.py": "/proc and cgroups",
    "workbench/paragone_workbench/store/database.py": "the schema of the package, and the program's own locks",
}
"""The other modules that open files, and what those are."""

NAMES = re.compile(r"\b(open|fdopen|read_text|read_bytes)\(")
MODE = re.compile(r"[rwxa][bt+]{0,2}")


def opens_a_file(call):
    """Say whether a call opens or reads a file. `engine.open(…)` does not: it has neither a mode nor an encoding."""
    function = call.func
    if isinstance(function, ast.Name):
        return function.id == "open"
    if not isinstance(function, ast.Attribute):
        return False
    if function.attr != "open":
        return function.attr in ("read_text", "read_bytes", "fdopen")
    modes = [it.value for it in call.args if isinstance(it, ast.Constant) and isinstance(it.value, str)]
    named = {keyword.arg for keyword in call.keywords} & {"mode", "encoding"}
    return ast.unparse(function) in ("os.open", "io.open") or bool(named) or any(map(MODE.fullmatch, modes))


def test_only_listed_modules_open_files():
    found = set()
    for folder in ("plugins", "workbench", "tui", "backends"):
        for module in (ROOT / folder).rglob("*.py"):
            text = module.read_text()
            if not NAMES.search(text):  # parsing takes much longer than reading
                continue
            calls = (it for it in ast.walk(ast.parse(text)) if isinstance(it, ast.Call))
            if any(map(opens_a_file, calls)):
                found.add(str(module.relative_to(ROOT)))
    assert found == OTHERS.keys()
