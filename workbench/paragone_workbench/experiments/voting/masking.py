"""Hides the names of models, makers of models and compared engines in answers of a blind vote."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

from paragone import LoadedModel
from paragone_workbench.engines.definitions import EngineDefinition, engine_for_model

MASK = "▒▒▒▒"
"""The text that replaces a name of any length."""

_COMMON = frozenset((
    "all", "and", "assistant", "awq", "base", "best", "beta", "big", "bit", "bits", "careful", "chat", "cheap",
    "code", "coder", "cpu", "creative", "default", "demo", "distill", "engine", "exl", "fast", "first", "for",
    "general", "gguf", "good", "gptq", "gpu", "home", "instruct", "instruction", "large", "last", "latest", "left",
    "little", "local", "long", "main", "math", "medium", "merged", "mini", "model", "models", "nano", "new", "old",
    "one", "plus", "preview", "pro", "quant", "quantized", "quick", "reasoning", "remote", "right", "safetensors",
    "second", "server", "short", "slow", "small", "smart", "snapshot", "test", "text", "the", "think", "thinking",
    "tiny", "turbo", "two", "uncensored", "vision",
))  # fmt: skip
"""Words in names of engines and files that do not identify the model, and stay visible in answers."""
_ARITHMETIC = re.compile(r"i?q\d.*|b?fp?\d+|int\d+|v\d+|\d+(?:bpw|bit)", re.IGNORECASE)
_WORD = re.compile(r"[^\W_]+")
_SHORTEST = 3
"""Number of letters of the shortest name that is masked, since an engine may have the name `a`."""

_TAIL = r"(?:v?[0-9][A-Za-z0-9]{0,7})?(?:[-_.:]SEGMENT){0,4}(?:[ ]v?[0-9]{1,3}(?:\.[0-9]{1,2})?[A-Za-z]?(?![A-Za-z0-9]))?"
"""Pattern of a version and size after a name, such as `2.5-7B-Instruct` or ` 3.1`."""
_ANY_TAIL = _TAIL.replace("SEGMENT", "[A-Za-z0-9]{1,14}")
_WRITTEN_TAIL = _TAIL.replace("SEGMENT", "[A-Z0-9][A-Za-z0-9]{0,13}")
_GOES_ON = re.compile(r"(?:[A-Za-z0-9]|[-_.:](?=[A-Za-z0-9]|\Z))*(?: v?[0-9.]*[A-Za-z]?)?\Z")
"""Matches the end of an unfinished text if that end may, with more text, belong to the preceding name."""
_LONGEST_TAIL = 9 + 4 * 15 + 9 + 2
"""Number of characters of the longest tail, together with the characters that must not follow a name."""


@cache
def _well_known() -> Sequence[str]:
    """Return the names in model_names.txt. Comments in the file describe the spelling of names."""
    lines = Path(__file__).with_name("model_names.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


class NameMask:
    """Replaces names in answers by `MASK`, except names that occur in the prompt.

    A name that is a word is replaced, together with a version that follows: "I am Qwen2.5-7B." becomes "I am
    ▒▒▒▒."
    """

    def __init__(self, names: Iterable[str], prompt: str = "") -> None:
        """Create a mask for these names, and for the names of well-known models and makers of models."""
        lower = _lower(prompt)
        known = _well_known()
        loose = {name for name in known if name == name.lower()}.union(*map(_written, names))
        self._loose = [name for name in loose if name.strip() and not _has_word(lower, _lower(name))]
        self._written = [name for name in known if name not in loose and not _has_word(prompt, name)]
        self._starts: dict[str, list[str]] = {}
        """The names in lower case, by first character."""
        for name in map(_lower, (*self._loose, *self._written)):
            self._starts.setdefault(name[0], []).append(name)
        self.reach = max(map(len, (*self._loose, *self._written, ""))) + _LONGEST_TAIL
        """Number of characters, counted from a position, that suffice to decide whether a name begins at the position."""
        # With re.ASCII, the pattern ignores case only for A to Z; `_written` returns the spellings of other letters.
        self.pattern = re.compile(
            f"(?i:{_either(self._loose)})(?:{_ANY_TAIL})(?![A-Za-z0-9])"
            f"|(?:{_either(self._written)})(?:{_WRITTEN_TAIL})(?![A-Za-z0-9]|-[a-z])",
            re.ASCII,
        )

    def masked(self, text: str) -> str:
        """Return a complete answer with masked names."""
        return self.pattern.sub(MASK, text)

    def may_begin(self, text: str, at: int) -> bool:
        """Return whether a name begins at a character, or may begin there if more text comes."""
        rest = _lower(text[at : at + self.reach])
        return any(
            rest.startswith(name) or name.startswith(rest)
            for name in self._starts.get(_lower(text[at]), ())
            if at == 0 or not (_is_latin(name[0]) and _is_latin(text[at - 1]))
        )

    def may_go_on(self, text: str, match: re.Match[str]) -> bool:
        """Return whether the name of a match may become a longer name if more text comes."""
        found = _lower(text[match.start() :])
        longer = any(name.startswith(found) for name in self._starts.get(found[0], ()))
        return longer or _GOES_ON.match(text, match.end()) is not None


class MaskedStream:
    """Masks an answer that arrives in pieces. The returned pieces together are the text that `NameMask.masked` returns.

    The end of the text is held back while that end may be the beginning of a name.
    """

    def __init__(self, mask: NameMask) -> None:
        self._mask = mask
        self._text = ""
        self._done = 0

    def feed(self, piece: str) -> str:
        """Add a piece of the answer, and return the masked text that is certain now."""
        self._text += piece
        return self._take(len(self._text) - self._mask.reach)

    def end(self) -> str:
        """Return the rest of the masked text."""
        return self._take(len(self._text))

    def _take(self, known: int) -> str:
        """Return the masked text that is certain, if all beginnings of names up to the character `known` are known."""
        mask, text = self._mask, self._text
        parts: list[str] = []
        while (match := mask.pattern.search(text, self._done)) and (
            match.start() <= known or not mask.may_go_on(text, match)
        ):
            parts += text[self._done : match.start()], MASK
            self._done = match.end()
        positions = range(max(self._done, known + 1), len(text))
        open_at = next((at for at in positions if mask.may_begin(text, at)), len(text))
        parts.append(text[self._done : open_at])
        kept = max(0, open_at - 1)  # the character before shows whether a word begins
        self._text, self._done = text[kept:], open_at - kept
        return "".join(parts)


def names_of(definition: EngineDefinition, loaded: LoadedModel | None) -> Iterator[str]:
    """Yield the names of an engine and its model, and the parts of these names that identify the model."""
    model = engine_for_model(definition.backend, definition.model).name
    known = () if loaded is None else (loaded.name, loaded.architecture or "")
    for name in (definition.name, model, *known):
        if len(name) >= _SHORTEST and name.lower() not in _COMMON:
            yield name
        yield from _parts(name)


def _parts(name: str) -> Iterator[str]:
    """Yield the words of a name that identify the model: `SmolLM` and `135M` of `SmolLM2-135M-Instruct.Q4_1`."""
    for word in _WORD.findall(name):
        stem = word.rstrip("0123456789")
        if _ARITHMETIC.fullmatch(word):
            continue
        if stem.isalpha() and (len(stem) >= _SHORTEST or not stem.isascii()):
            if stem.lower() not in _COMMON:
                yield stem
        elif not word.isdigit() and len(word) > 1 and any(map(str.isdigit, word)):
            yield word


def _written(name: str) -> set[str]:
    """Return the spellings of a name for the pattern, which ignores case only for A to Z."""
    if name.isascii():
        return {name.lower()}
    return {name, name.lower(), name.upper(), name.capitalize()}


def _lower(text: str) -> str:
    """Return a text in lower case, and of the same length: İ is the only character whose lower case is longer."""
    return text.replace("İ", "i").lower()


def _has_word(text: str, name: str) -> bool:
    """Return whether a text contains a name as a word. Digits may follow the name, as a version."""
    before = "(?<![A-Za-z0-9])" if _is_latin(name[0]) else ""
    after = "(?![A-Za-z])" if _is_latin(name[-1]) else ""
    return name in text and re.search(f"{before}{re.escape(name)}{after}", text) is not None


def _is_latin(character: str) -> bool:
    return character.isascii() and character.isalnum()


def _either(names: Iterable[str]) -> str:
    """Return a pattern for any of these names, the longest first. A name in Latin letters must begin a word."""
    ordered = sorted(names, key=lambda name: (-len(name), name))
    latin = "|".join(re.escape(name) for name in ordered if _is_latin(name[0]))
    others = [re.escape(name) for name in ordered if not _is_latin(name[0])]
    parts = [*([f"(?<![A-Za-z0-9])(?:{latin})"] if latin else []), *others]
    return "|".join(parts) or "(?!)"
