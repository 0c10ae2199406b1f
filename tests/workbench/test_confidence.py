"""How sure an engine was of a token, as a sentence."""

from math import log

import pytest

from paragone import Alternative, Token
from paragone_workbench.compare.divergence import confidence


@pytest.mark.parametrize(
    ("chosen", "other", "sentence"),
    [
        (0.267, 0.662, "Sampling picked “ appears” (26.7%) over the likelier “ is” (66.2%)."),
        (0.95, 0.02, "It was sure: it chose “ appears” with 95.0%, and “ is” had 2.0%."),
        (0.6, 0.3, "It was fairly sure: it chose “ appears” with 60.0%, and “ is” had 30.0%."),
    ],
)
def test_how_sure_an_engine_was(chosen, other, sentence):
    top = (Alternative(text=" is", id=2, logprob=log(other)),)
    assert confidence(Token(text=" appears", id=1, logprob=log(chosen), top=top, time=0.0)) == sentence


def test_a_token_without_alternatives():
    assert confidence(Token(text="a", time=0.0)) == "The engine did not report how likely its tokens were."
