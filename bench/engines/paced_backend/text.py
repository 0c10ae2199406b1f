"""The streamed text, in tokens of about four characters, like those of models."""

import re
from pathlib import Path

TOKENS = re.findall(
    r"\n+| ?[A-Za-z]{1,8}| ?\d{1,3}| ?[^\w\s]{1,3}| +",
    Path(__file__).with_name("answer.md").read_text(encoding="utf-8"),
)
