"""Which engine is chosen, and what is said about the decision."""

import dataclasses

import pytest
from bench.simulate.choices import RULES, false_claims
from bench.simulate.suites import answered

from paragone_workbench.choosing.choice import for_questions
from paragone_workbench.choosing.decision import decide
from paragone_workbench.choosing.figures import EngineFigures
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments.comparison import NonInferiority, SuiteComparison, evidence_of
from paragone_workbench.experiments.comparison_rows import collect
from paragone_workbench.statistics import Estimate, Interval

BIG = EngineFigures(
    engine="big", size=200, decode_tps=50.0, measured_at=1.0, decode_rates=(50.0, 25.0, None, 49.0, 50.0)
)
MIDDLE = EngineFigures(
    engine="middle",
    size=120,
    decode_tps=75.0,
    measured_at=1.0,
    decode_rates=(75.0, 37.5, 20.0, 73.5, 75.0),  # a busy moment slowed both engines down
    kld=Estimate(0.02, 0.001),
)
SMALL = EngineFigures(engine="small", size=100, decode_tps=80.0)


def verdict(engine, low, high, prompts=60):
    return NonInferiority(
        a="big",
        b=engine,
        margin=0.03,
        difference=(low + high) / 2,
        interval=Interval(low=low, high=high),
        prompts=prompts,
    )


def evidence(*verdicts, prompts=60, planned=0):
    """What answers of the engines in these verdicts show, which pass half of the prompts."""
    return SuiteComparison(
        engines=(),
        comparisons=(),
        same=(),
        not_worse=verdicts,
        rates=dict.fromkeys(["big", *(it.b for it in verdicts)], (0.5, prompts)),
        planned=max(prompts, planned),
    )


NOT_WORSE, OPEN, WORSE = (-0.018, 0.01), (-0.06, 0.05), (-0.2, -0.1)


def test_of_equally_small_engines_the_fastest_is_chosen():
    faster = dataclasses.replace(SMALL, engine="middle", decode_tps=81.0)
    verdicts = evidence(verdict("middle", *NOT_WORSE), verdict("small", *NOT_WORSE))
    assert decide([BIG, SMALL, faster], "big", verdicts, {}).chosen == "middle"


def test_the_reasons_state_the_cost_and_the_certainty_of_the_decision():
    verdicts = evidence(verdict("middle", *NOT_WORSE), verdict("small", *OPEN))
    values = collect(rows(big="ABCDEFGHIJ", middle="abCDEfGHIJ"), ["big", "middle"])
    tags = {ord(letter): ["json"] if letter < "f" else ["sums"] for letter in "abcdefghij"}
    verdicts = dataclasses.replace(verdicts, engines=values)
    decision = decide([BIG, MIDDLE, SMALL], "big", verdicts, tags)
    assert decision.reasons[:4] == (
        "middle has 0.60 times the size and 1.50 times (1.50 to 1.50) the decoding speed of big.",
        "The mean KLD of middle from big is 0.0200 ± 0.0010 (small).",
        "middle is not worse than big by more than 3.0 points: at worst, middle passes 1.8 points less often. "
        "(Difference −0.4 points, 95% interval −1.8 to +1.0, over 60 prompts.)",
        "middle loses most on prompts with the tag `json`: 40.0 points over 5 prompts, which may be chance.",
    )
    apart = dataclasses.replace(MIDDLE, measured_at=2.0)
    reason = decide([BIG, apart, SMALL], "big", verdicts, tags).reasons[0]
    assert reason == "middle has 0.60 times the size of big.", "speeds of different times are not compared"
    assert "If you accept" not in str(decision.reasons), "an engine is shown to be as good"
    (other,) = decision.others
    assert "Whether small is worse than big by more than 3.0 points is open." in other
    assert "more prompts would settle this" in other


@pytest.mark.parametrize(
    ("planned", "step"),
    [(58, "Repeat the command to continue."), (19, "Name a suite of 20 prompts or more.")],
)
def test_few_prompts_give_no_decision_but_report_how_many_are_missing(planned, step):
    shown = evidence(verdict("small", *NOT_WORSE, prompts=19), prompts=19, planned=planned)
    decision = decide([BIG, SMALL], "big", shown, {})
    assert (decision.headline, decision.others) == ("Nothing is decided.", ())
    assert decision.reasons[0].startswith(f"All engines answered 19 of {planned} prompts")
    assert decision.reasons[1] == step


def test_few_prompts_are_enough_to_call_an_engine_worse():
    worse = verdict("small", *WORSE, prompts=12)
    decision = decide([BIG, SMALL], "big", evidence(worse, prompts=12, planned=120), {})
    assert (decision.headline, decision.verdict, decision.is_preliminary) == ("Deploy big.", "decided", False)
    both = evidence(worse, verdict("middle", *OPEN, prompts=12), prompts=12)
    decision = dataclasses.replace(decide([BIG, MIDDLE, SMALL], "big", both, {}), comparison=both)
    assert (decision.headline, decision.verdict) == (worse.sentence, "open")


def test_an_interval_before_all_prompts_is_called_one_for_early_looks():
    early = dataclasses.replace(verdict("small", *WORSE), planned=120, comparisons=2)
    (other,) = decide([BIG, SMALL], "big", evidence(early, planned=120), {}).others
    assert "interval for early looks of both comparisons together −20.0 to −10.0, over 60 prompts." in other
    assert "95%" not in other


def test_a_likely_loss_is_not_offered_as_acceptable():
    losing = dataclasses.replace(verdict("small", -0.44, 0.09), difference=-0.18)
    decision = decide([BIG, SMALL], "big", evidence(losing), {})
    assert "If you accept" not in str(decision.reasons)
    assert decision.headline == "Deploy big, the safe choice."


@pytest.mark.parametrize(
    ("middle", "small", "headline"),
    [
        (NOT_WORSE, NOT_WORSE, "Deploy small."),
        (NOT_WORSE, WORSE, "Deploy middle."),
        (WORSE, WORSE, "Deploy big."),
        (NOT_WORSE, OPEN, "Preliminary, after 40 of 58 prompts: deploy middle."),
        (OPEN, WORSE, "Preliminary, after 40 of 58 prompts: deploy big, the safe choice."),
    ],
)
def test_the_smallest_engine_shown_not_worse_is_chosen_preliminarily_while_smaller_engines_are_open(
    middle, small, headline
):
    shown = evidence(verdict("middle", *middle), verdict("small", *small), prompts=40, planned=58)
    assert decide([BIG, MIDDLE, SMALL], "big", shown, {}).headline == headline


@pytest.mark.parametrize(
    ("planned", "step"),
    [
        (60, "The suite has no more: to settle the question for small, name a suite with about 200 to 1,800 prompts (--suite)."),
        (70, "The suite has only 10 prompts left: to settle the question for small, name a suite with about 200 to 1,800 prompts"),
        (2_000, "The suite has 1,940 prompts left, which may settle the question for small: repeat the command."),
    ],
)  # fmt: skip
def test_the_number_of_prompts_that_settles_an_open_question_is_reported(planned, step):
    shown = evidence(verdict("small", *OPEN), planned=planned)
    reasons = decide([BIG, SMALL], "big", shown, {}).reasons
    assert (
        "If you accept a loss of 6.0 points, choose small: a larger loss is ruled out (--margin)." in reasons
    )
    assert reasons[-1].startswith(step)


def rows(**passed):
    """Runs of engines, by name. Each passed the prompts in the text of its name that are in upper case."""
    return [
        answered(ord(letter.lower()), engine, passed=letter.isupper())
        for engine, letters in passed.items()
        for letter in letters
    ]


def test_pass_rates_are_over_the_prompts_that_all_engines_answered():
    collected = collect(rows(big="ABCDefgh", small="ABCdEF"), ["big", "small"])
    shown = evidence_of(collected, "big", 0.03, checked=10, is_complete=False)
    assert shown.rates == {"big": (4 / 6, 6), "small": (5 / 6, 6)}
    assert (shown.prompts, shown.planned) == (6, 10)
    assert evidence_of(collected, "big", 0.03, checked=10, is_complete=True).planned == 6


@pytest.mark.thorough
def test_repeated_looks_do_not_raise_the_error_rate():
    claims = {
        rule: false_claims(5, rule=rule, prompts=200, margin=0.1, wins=0.1, trials=300) for rule in RULES
    }
    naive, used = claims.values()
    assert used <= 0.05 < naive


def test_the_built_in_prompts_are_answered_greedily_unless_the_user_sets_sampling():
    engine = EngineDefinition(name="a", backend="llama_cpp", model="a.gguf")
    warm = dataclasses.replace(engine, options={"temperature": 0.7})
    without = EngineDefinition(name="s", backend="scripted", model="s")
    found = for_questions((engine, warm, without), Registry())
    assert [it.options for it in found] == [
        {"max_tokens": 200, "temperature": 0}, {"max_tokens": 200, "temperature": 0.7}, {},
    ]  # fmt: skip


def test_a_suite_that_does_not_tell_the_engines_apart_is_named_first():
    figures = [dataclasses.replace(BIG, cut=15, answers=20), SMALL]
    nothing = dataclasses.replace(
        evidence(verdict("small", *NOT_WORSE)),
        engines=collect(rows(big="abcdefghijKLMNO", small="abcdefghijKLMno"), ["big", "small"]),
    )
    decision = decide(figures, "big", nothing, {})
    assert decision.reasons[:3] == (
        "Most prompts do not tell the engines apart: of 15 prompts, every engine fails 10 (#97, #98, #99, #100, #101, …) and passes 3.",
        "Check the assertions of the prompts that every engine fails, or use easier prompts.",
        "15 of 20 answers of big were cut at max_tokens. Set a larger max_tokens, or ask for short answers.",
    )
    all_fail = dataclasses.replace(nothing, rates={"big": (0.0, 60), "small": (0.0, 60)})
    assert decide(figures, "big", all_fail, {}).headline == "Deploy big, the safe choice."


def on_conversations(engine, kld, error, within_noise):
    found = {"kld": Estimate(kld, error), "kld_units": 40, "kld_tokens": 3000}
    return dataclasses.replace(engine, **found, own_suite=True, within_noise=within_noise)


def test_without_assertions_the_smallest_engine_that_is_indistinguishable_is_chosen():
    middle, small = on_conversations(MIDDLE, 0.001, 0.0001, True), on_conversations(SMALL, 0.3, 0.02, False)
    decision = decide([BIG, middle, small], "big", evidence(prompts=0), {})
    assert decision.headline == "Deploy middle."
    assert decision.reasons == (
        "middle has 0.60 times the size and 1.50 times (1.50 to 1.50) the decoding speed of big.",
        "middle is indistinguishable from big on your 40 conversations (3,000 tokens): the mean KLD is within the noise "
        "floor of big.",
    )
    null = on_conversations(dataclasses.replace(BIG, engine="again"), 0.0, 0.0, True)
    alike = decide([BIG, null], "big", evidence(prompts=0), {})
    assert (alike.headline, alike.verdict) == ("Deploy big.", "decided")
    assert alike.reasons[-1].startswith("again is indistinguishable from big on your 40 conversations")
    assert decision.others == (
        "The mean KLD of small from big is 0.300 ± 0.020 (large) on your 40 conversations (3,000 tokens): its 95% interval "
        "is above 0.2, so small is not called safe.",
    )


def test_without_assertions_a_difference_below_the_limit_leaves_the_question_open():
    decision = decide([BIG, on_conversations(SMALL, 0.1, 0.01, False)], "big", evidence(prompts=0), {})
    assert (decision.headline, decision.verdict) == ("Deploy big, the safe choice.", "safe_choice")
    assert decision.reasons[0] == "No smaller engine is indistinguishable from big on your conversations."
    assert "Prompts with assertions" in decision.reasons[1]


def test_an_engine_above_the_limit_of_the_kld_is_not_called_safe_whatever_its_pass_rate_is():
    far = dataclasses.replace(SMALL, kld=Estimate(0.3, 0.02), kld_units=40)
    decision = decide([BIG, far], "big", evidence(verdict("small", *NOT_WORSE)), {})
    assert decision.headline == "Deploy big."
    assert (
        decision.reasons[0]
        == "No smaller engine is called as good as big: each is worse, or too far from big by its KLD."
    )
    assert "its 95% interval is above 0.2, so small is not called safe." in decision.others[0]


def test_an_indistinguishable_engine_is_chosen_although_the_pass_rates_leave_the_question_open():
    same = on_conversations(SMALL, 0.001, 0.0001, True)
    assert decide([BIG, same], "big", evidence(verdict("small", *OPEN)), {}).chosen == "small"
    assert decide([BIG, same], "big", evidence(verdict("small", *WORSE)), {}).chosen == "big"
