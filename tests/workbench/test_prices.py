"""Prices of providers: from the list in the package, in proportion to the tokens, and without the network."""

import subprocess
import sys
from datetime import date
from decimal import Decimal

import pytest

from paragone import InputError
from paragone_workbench.ledger.prices import REFERENCES, Price, price_list
from paragone_workbench.runs.costs import Costs

MILLION = Costs(prompt_tokens=10**6, completion_tokens=10**6)


def test_the_list_has_the_reference_models_and_a_date():
    found = price_list()
    assert tuple(price.name for price in found.prices) == REFERENCES
    small, large = (price.of(MILLION) for price in found.prices)
    assert 0 < small < large
    assert found.version
    assert date(2026, 10, 1) < found.changed <= date.today()


def test_the_price_of_many_runs_is_not_that_of_a_long_prompt():
    """The list has a higher price for prompts of this model that are long; many short ones are none."""
    (price,) = price_list(["anthropic:claude-haiku-5-5"]).prices
    assert price.of(Costs(prompt_tokens=10**6)) == pytest.approx(1000 * price.of(Costs(prompt_tokens=10**3)))
    from genai_prices import Usage, calc_price

    long = calc_price(Usage(input_tokens=10**6, output_tokens=0), price.model, provider_id=price.provider)
    assert price.of(Costs(prompt_tokens=10**6)) < float(long.total_price)


def test_a_price_is_exact():
    price = Price(
        provider="p", model="m", prompt_token=Decimal("0.0000001"), completion_token=Decimal("0.000003")
    )
    assert price.of(Costs(prompt_tokens=3, completion_tokens=1)) == 0.0000033
    assert price.to_json()["prompt_usd_per_million"] == 0.1


@pytest.mark.parametrize(
    ("name", "sentence", "hint"),
    [
        ("groq", "'groq' names no model of a provider.", "such as groq:llama-3.1-8b-instant"),
        ("grok:x", "The price list has no provider 'grok'.", "groq"),
        ("groq:llama-3.1-8b", "The price list has no model 'llama-3.1-8b' of Groq.", "llama-3.1-8b-instant"),
    ],
)
def test_what_the_list_does_not_have(name, sentence, hint):
    with pytest.raises(InputError) as caught:
        price_list([name])
    assert caught.value.sentence == sentence
    assert hint in caught.value.hint


def test_without_the_package_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    monkeypatch.delitem(sys.modules, "genai_prices.data_snapshot", raising=False)
    with pytest.raises(InputError) as caught:
        price_list()
    assert "genai-prices, which is not installed" in caught.value.sentence
    assert "genai-prices<0.3,>=0.2.3" in caught.value.hint


@pytest.mark.thorough
def test_no_price_is_fetched():
    """Python refuses this process every socket and every look-up of a name."""
    program = """
import sys

def refuse(event, arguments):
    if event.startswith("socket."):
        raise AssertionError(event)

sys.addaudithook(refuse)
from paragone_workbench.ledger.prices import price_list
assert len(price_list().prices) == 2
import threading
assert threading.active_count() == 1  # none that fetches later
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
