"""Common parts of both stand-ins: a byte tokenizer, a model that recites a sentence, and failures on demand.

A prompt can contain commands; the last one of each kind is used:
    [[end N]]     the model ends its answer after N tokens
    [[say TEXT]]  the model recites TEXT instead of its sentence
    [[fail HOW]]  the run fails: at the first token with `memory`, `kernel`, `cublas`, `cuda`, `page`;
                  before it with `prefill`
"""

import functools
import heapq
import json
import math
import re
from pathlib import Path

from torch import OutOfMemoryError

SENTENCE = "The sea is déjà vu, 🌊 and the sky is high above it; "
PAGE = 256


class Tokenizer:
    """The tokens 0 to 255 are bytes; the others have the ids from tokenizer.json."""

    def __init__(self, folder):
        added = json.loads(Path(folder, "tokenizer.json").read_text())["added_tokens"]
        self.added = {token["content"]: token["id"] for token in added}
        self.texts = {number: text for text, number in self.added.items()}
        self.hidden = {token["id"] for token in added if token["special"]}
        self.size = 256 + len(added)

    def ids(self, text, special):
        known = [text for text, number in self.added.items() if special or number not in self.hidden]
        parts = re.split("(" + "|".join(map(re.escape, known)) + ")", text)
        return [token for part in parts for token in ([self.added[part]] if part in known else part.encode())]

    def piece(self, token, special):
        return self.text([token], special)

    def text(self, tokens, special=True):
        out = b""
        for token in tokens:
            if token < 256:
                out += bytes([token])
            elif special or token not in self.hidden:
                out += self.texts.get(token, "").encode()  # the real tokenizer ignores unknown tokens
        return out.decode("utf-8", "replace")


class Commands:
    """The commands in a prompt."""

    def __init__(self, tokenizer, tokens):
        text = tokenizer.text(tokens)
        said = re.findall(r"\[\[say (.*?)\]\]", text, re.DOTALL)
        ends = re.findall(r"\[\[end (\d+)\]\]", text)
        fails = re.findall(r"\[\[fail (\w+)\]\]", text)
        self.recited = tokenizer.ids(said[-1] if said else SENTENCE, True)
        self.end = int(ends[-1]) if ends else None
        self.fail = fails[-1] if fails else None
        self.start = len(tokens)

    def wanted(self, length, eos):
        at = length - self.start
        return eos if self.end is not None and at >= self.end else self.recited[at % len(self.recited)]


def logits(size, sequence, wanted):
    """Return logits that make `wanted` the most likely token by far, and give the others a small probability."""
    row = list(_small(size, (sequence[-1] * 31 + len(sequence) * 7) % 101))
    row[wanted] = 3.0
    return row


@functools.cache
def _small(size, seed):
    return tuple(((seed + 17 * token) % 101) / 50 - 4.0 for token in range(size))


def padded(row, multiple, filling):
    """Return a row padded to a multiple of a length."""
    return row + [filling] * (-len(row) % multiple)


def sample(row, draw, *, greedy, temperature, top_k):
    count = 1 if greedy else top_k or len(row)
    best = heapq.nlargest(count, range(len(row)), key=row.__getitem__)
    weights = [math.exp(row[token] / (1.0 if greedy else temperature)) for token in best]
    mark = draw * sum(weights)
    for token, weight in zip(best, weights, strict=True):
        mark -= weight
        if mark <= 0:
            return token
    return best[0]


def penalized(row, sequence, penalty, window):
    """Apply the penalty to `row` in place, as samplers do."""
    for token in set(sequence[-window:]) if window else ():
        row[token] = row[token] / penalty if row[token] > 0 else row[token] * penalty


class Cache:
    """The sequences in the KV cache."""

    def __init__(self, *, paged):
        self.paged = paged
        self.sequences = []

    def common(self, tokens):
        """Return how many of the tokens are cached. The last token is never taken from the cache."""
        best = 0
        for sequence in self.sequences if self.paged else self.sequences[-1:]:
            at = 0
            while at < min(len(sequence), len(tokens) - 1) and sequence[at] == tokens[at]:
                at += 1
            best = max(best, at)
        return best // PAGE * PAGE if self.paged else best

    def keep(self, tokens):
        self.sequences = [*self.sequences[-3:], list(tokens)]


def fail(how):
    errors = {
        "memory": OutOfMemoryError("CUDA out of memory. Tried to allocate 1.50 GiB."),
        "kernel": RuntimeError("CUDA error: out of memory"),
        "cublas": RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        "cuda": RuntimeError("CUDA error: an illegal memory access was encountered"),
        "page": AssertionError("page.ref_count == 1"),
    }
    if how in errors:
        raise errors[how]


def loading(folder, callback, modules):
    """Report progress for each module, and fail if config.json says so."""
    settings = json.loads(Path(folder, "config.json").read_text()).get("stand_in", {})
    for index in range(modules):
        if callback is not None:
            callback(index, modules)
        if index == modules // 2 and "fails" in settings:
            raise {"RuntimeError": RuntimeError, "AssertionError": AssertionError, "KeyError": KeyError}[
                settings["fails"]["type"]
            ](settings["fails"]["text"])
    if callback is not None:
        callback(modules, modules)


def seconds_a_prompt_token(folder):
    settings = json.loads(Path(folder, "config.json").read_text()).get("stand_in", {})
    return settings.get("seconds_a_prompt_token", 0.0)
