"""Texts for messages: counts, sizes, quotes, commands that install packages, and removal of secrets."""

import importlib.util
import re
import shlex
import sys
from urllib.parse import unquote

_QUOTED = 60
"""Largest number of characters of a text in quotation marks."""


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return a count with its noun: `1 prompt`, `2,000 prompts`. `plural` is the plural, if not just an s is added."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def shortened(text: str, length: int) -> str:
    """Return a text of at most `length` characters, with an ellipsis at the end if the text was longer."""
    return text if len(text) <= length else f"{text[: length - 1].rstrip()}…"


def quoted(text: str) -> str:
    """Return a text in quotation marks, on one line. A long text is shortened."""
    return "'" + shortened(text, _QUOTED).replace("\n", "\\n") + "'"


def size_text(size: float | None) -> str:
    """Return a number of bytes in decimal units: `97 MB`, `4.1 GB`, `12 B`; an empty text for None."""
    if size is None:
        return ""
    if size >= 1e9:
        return f"{size / 1e9:,.1f} GB"
    if size >= 1e6:
        return f"{size / 1e6:,.0f} MB"
    return f"{size / 1e3:,.0f} kB" if size >= 1e3 else f"{size:.0f} B"


def install_command(extra: str, *options: str) -> str:
    """Return the shell command that installs the packages of one of paragone's extras for this interpreter.

    The command names the packages instead of the extra, so it works wherever paragone was installed from. `options` are
    pip's options.
    """
    packages = _packages(extra)
    if not packages:
        return f"the packages of paragone's extra {extra}, for {sys.executable}"
    return pip_install(*options, *packages)


def pip_install(*arguments: str) -> str:
    """Return the shell command that installs packages for this interpreter. `arguments` are options and packages."""
    # uv creates environments without pip.
    installer = (
        [sys.executable, "-m", "pip", "install"]
        if importlib.util.find_spec("pip")
        else ["uv", "pip", "install", "--python", sys.executable]
    )
    return shlex.join([*installer, *arguments])


def installed_version(package: str) -> str | None:
    """Return the version of a package of this interpreter; None if it is not installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _packages(extra: str) -> list[str]:
    """Return the requirements of an extra, as the installed paragone declares them."""
    from importlib.metadata import PackageNotFoundError, requires

    try:
        declared = requires("paragone") or []
    except PackageNotFoundError:  # a worker with an interpreter of its own
        return []
    requirements = (line.partition(";") for line in declared)
    return [
        package.strip()
        for package, _, condition in requirements
        if condition.strip() in (f"extra == '{extra}'", f'extra == "{extra}"')
    ]


HIDDEN = "•••"
"""The replacement of a key."""

_PREFIXES = ("sk-", "pk-", "rk-", "hf_", "gsk_", "xai-", "ghp_")
"""The prefixes of keys of known services."""

_RANDOM = re.compile(r"(?=[A-Za-z0-9]*[0-9])(?=[A-Za-z0-9]*[A-Za-z])[A-Za-z0-9]{16,}|[0-9]{20,}")
"""Random characters: 16 or more letters and digits with at least one of each, or 20 or more digits."""

_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

_NEXT = r",[A-Za-z][\w+.-]*://"
"""The start of the next URL, in a text that names several servers."""

_URL = re.compile(
    rf"(?<=[\w+.-])://(?:[^/?#\s]*@)?(?P<host>(?:(?!{_NEXT})[^/?#\s'\"<>])*)(?P<path>(?:(?!{_NEXT})[^?#\s'\"<>])*)"
    rf"(?P<rest>[?#][^\s'\"<>]*?)?(?P<end>[.,;:!)]{{0,8}}(?=[\s'\"<>]|{_NEXT}|$))"
)
"""A URL in a text, from its `://` on. The group `end` is the punctuation after the URL.

The match begins at `://`, and `end` has at most 8 characters, so that the time is proportional to the length of the text.
"""

_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+(?=\S*\d)[\w.+/~=-]{8,}")

_WORD = re.compile(r"(?<![\w.+~/-])[\w.+~-]++={0,2}(?!/)")
"""A word of a text, with punctuation at its end. Parts of a path do not match: folders are often named after a digest.

The pattern does not backtrack, so that the time is proportional to the length of the text.
"""

_PUNCTUATION = ".+~-"
"""Characters that may end a key, or be punctuation after it."""


def is_key(text: str) -> bool:
    """Return whether a text without spaces, such as a part of a path or the value of a header, looks like a key."""
    text = unquote(text).strip()
    if HIDDEN in text or (text.lower().startswith(_PREFIXES) and len(text) >= 8) or _UUID.fullmatch(text):
        return True
    return any(_RANDOM.fullmatch(part) for part in re.split(r"[^A-Za-z0-9]+", text))


def without_keys(text: str) -> str:
    """Return a text without user names, passwords, queries, fragments and keys in its URLs."""
    return _URL.sub(_public, text)


def without_key_words(text: str) -> str:
    """Return a text of unknown origin without the keys in its URLs and among its words."""
    text = _BEARER.sub(rf"\1 {HIDDEN}", without_keys(text))
    return _WORD.sub(_hidden, text)


def _hidden(found: re.Match[str]) -> str:
    word = found[0].rstrip(_PUNCTUATION)
    return HIDDEN + found[0][len(word) :] if is_key(word) else found[0]


def _public(found: re.Match[str]) -> str:
    path = "/".join(HIDDEN if is_key(part) else part for part in found["path"].split("/"))
    return f"://{found['host']}{path}{found['end']}"
