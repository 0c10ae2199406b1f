"""The streamed texts, in tokens of about four characters, like those of models."""

import re
from pathlib import Path

_TOKEN = re.compile(r"\n+| ?[A-Za-z]{1,8}| ?\d{1,3}| ?[^\w\s]{1,3}| +")


def _tokens(name: str) -> list[str]:
    return _TOKEN.findall(Path(__file__).with_name(name).read_text(encoding="utf-8"))


TOKENS = _tokens("answer.md")
OTHER_TOKENS = _tokens("other.md")
"""Another answer to the same question, which shares about half of its words."""
