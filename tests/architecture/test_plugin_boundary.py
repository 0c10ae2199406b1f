"""One module asks backends, and one opens their engines."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
ENGINES = ROOT / "workbench/paragone_workbench/engines"
QUESTIONS = {"probe", "models", "model_folders", "demo", "estimate", "endpoint"}
"""The methods of a backend that only `questions.py` calls."""
ASKED = {"questions", "self"}
"""What else has methods of these names."""


def calls_of(module: Path) -> set[str]:
    """The questions that a module asks of something else than those."""
    text = module.read_text()
    if not any(f".{question}" in text for question in QUESTIONS):  # parsing takes much longer than reading
        return set()
    calls = (node.func for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call))
    return {
        call.attr
        for call in calls
        if isinstance(call, ast.Attribute)
        and call.attr in QUESTIONS
        and not (isinstance(call.value, ast.Name) and call.value.id in ASKED)
    }


def test_only_one_module_queries_backends_without_consent():
    modules = [module for folder in ("workbench", "tui") for module in (ROOT / folder).rglob("*.py")]
    asking = {module.name: calls for module in modules if (calls := calls_of(module))}
    known = {"questions.py": QUESTIONS, "consent.py": {"model_folders"}, "environments.py": {"probe"}}
    assert asking == known, "a question before consent"


def test_only_one_module_opens_engines():
    modules = (ROOT / "workbench").rglob("*.py")
    opening = {
        str(module.relative_to(ENGINES))
        for module in modules
        if re.search(r"\bbackend\.open\(", module.read_text())
    }
    assert opening == {"engine.py"}
