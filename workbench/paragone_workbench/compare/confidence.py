"""How sure an engine was of a token."""

from __future__ import annotations

from math import exp

from paragone import Alternative, Token

_SURE, _PREFERRED = 0.9, 0.5


def alternatives(token: Token) -> tuple[Alternative, ...]:
    """Return the likeliest tokens at a token's position, likeliest first, and the token itself among them."""
    if token.logprob is None or any(_is(alternative, token) for alternative in token.top):
        return token.top
    own = Alternative(text=token.text, id=token.id, logprob=token.logprob)
    return tuple(sorted((*token.top, own), key=lambda alternative: -alternative.logprob))


def confidence(token: Token) -> str:
    """Return how sure the engine was of a token, as a sentence."""
    if token.logprob is None:
        return "The engine did not report how likely its tokens were."
    others = [alternative for alternative in token.top if not _is(alternative, token)]
    chosen = f"{quoted(token.text)} with {_percent(token.logprob)}"
    if not others:
        return f"It chose {chosen}."
    next_best = f"{quoted(others[0].text)} had {_percent(others[0].logprob)}"
    if others[0].logprob > token.logprob:
        other = f"{quoted(others[0].text)} ({_percent(others[0].logprob)})"
        return f"Sampling picked {quoted(token.text)} ({_percent(token.logprob)}) over the likelier {other}."
    probability = exp(token.logprob)
    if probability >= _SURE:
        return f"It was sure: it chose {chosen}, and {next_best}."
    if probability >= _PREFERRED:
        return f"It was fairly sure: it chose {chosen}, and {next_best}."
    return f"It was not sure: it chose {chosen}, and {next_best}."


def quoted(text: str) -> str:
    """Return a token's text in quotation marks, on one line."""
    return f"“{text.replace(chr(10), '⏎')}”"


def _is(alternative: Alternative, token: Token) -> bool:
    if alternative.id is not None and token.id is not None:
        return alternative.id == token.id
    return alternative.text == token.text


def _percent(logprob: float) -> str:
    return f"{exp(logprob):.1%}"
