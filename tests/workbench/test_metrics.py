import itertools
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paragone import Caution, Finish, PromptProgress, Timings, Token, Usage
from paragone_workbench.runs import metrics as metrics_module
from paragone_workbench.runs.metrics import Meter, Percentiles, RunMetrics, percentile


def meter(times, *, sent=0.0, text="x"):
    meter = Meter(sent=sent, load_s=2.5)
    for time in times:
        meter.feed(Token(text=text, time=time))
    return meter


@pytest.mark.parametrize(
    ("times", "decode_tps", "itl_ms"),
    [([3.0], None, None), ([3.0, 3.5], 2.0, 500), ([3 + n / 8 for n in range(101)], 8.0, 125)],
)
def test_metrics_of_evenly_spaced_tokens_are_exact(times, decode_tps, itl_ms):
    metrics = meter(times, sent=1.0).metrics()
    assert (metrics.ttft_s, metrics.decode_tps, metrics.completion_tokens) == (2.0, decode_tps, len(times))
    assert metrics.itl_ms == Percentiles(p50=itl_ms, p95=itl_ms, p99=itl_ms)


def test_ttft_counts_thinking_and_ttfo_does_not():
    meter = Meter(sent=1.0)
    meter.feed(Caution(code="x", sentence="y"))
    meter.feed(Token(text="", time=2.0))
    assert meter.ttft_s is None
    meter.feed(Token(text="hm", channel="thinking", time=3.0))
    assert (meter.metrics().ttft_s, meter.metrics().ttfo_s) == (2.0, None)
    meter.feed(Token(text="", time=3.5))
    meter.feed(Token(text="yes", time=4.0))
    meter.feed(Token(text="no", time=5.0))
    assert (meter.metrics().ttft_s, meter.metrics().ttfo_s) == (2.0, 3.0)


def test_tokens_and_time_of_thinking_are_measured():
    meter = Meter(sent=1.0)
    assert (meter.metrics().thinking_tokens, meter.metrics().thinking_s) == (0, None)
    meter.feed(Token(text="hm", channel="thinking", time=3.0))
    meter.feed(Token(text=", so", channel="thinking", time=3.5))
    meter.feed(Token(text="", channel="thinking", time=3.75))  # a tag
    assert (meter.metrics().thinking_tokens, meter.metrics().thinking_s) == (2, 0.5)
    meter.feed(Token(text="yes", time=4.0))
    meter.feed(Token(text="no", time=5.0))
    assert (meter.metrics().thinking_tokens, meter.metrics().thinking_s) == (2, 1.0)


def test_tpot_ends_with_the_run_and_the_decode_rate_with_the_last_token():
    counted = meter([1.0, 1.25, 1.5, 1.75, 2.0])
    assert counted.metrics().tpot_ms is None
    counted.feed(Finish(reason="length", usage=Usage(completion_tokens=5), time=3.0))
    metrics = counted.metrics()
    assert (metrics.tpot_ms, metrics.decode_tps) == (500.0, 4.0)
    assert metrics.itl_ms == Percentiles(p50=250, p95=250, p99=250)


@pytest.mark.parametrize(("tokens", "in_pieces"), [(None, False), (2, False), (3, False), (4, True)])
def test_several_tokens_in_a_piece_are_noticed(tokens, in_pieces):
    counted = meter([1.0, 2.0])
    counted.feed(Finish(reason="stop", usage=Usage(completion_tokens=tokens), time=2.0))
    assert counted.metrics().pieces == 2
    assert counted.metrics().is_in_pieces is in_pieces


def test_measurements_of_the_engine_take_precedence():
    counted = meter([1.0, 2.0])
    usage = Usage(prompt_tokens=100, cached_tokens=60, completion_tokens=21)
    counted.feed(Finish(reason="stop", usage=usage, timings=Timings(prefill_s=0.5, decode_s=4.0), time=5.0))
    metrics = counted.metrics()
    assert (metrics.prefill_tps, metrics.decode_tps) == (80.0, 5.0)
    assert (metrics.prompt_tokens, metrics.cached_tokens, metrics.completion_tokens) == (100, 60, 21)
    assert counted.tokens == 21


@pytest.mark.parametrize(
    ("cached", "prefill_s", "rate"),
    [
        pytest.param(None, 0.01, None, id="a prompt that may have been cached, as Ollama reports it"),
        pytest.param(110, 0.01, 600.0, id="6 of 116 tokens processed"),
        pytest.param(0, None, None, id="no duration: the time to first token has the server's queue in it"),
    ],
)
def test_the_prefill_rate_counts_only_processed_tokens(cached, prefill_s, rate):
    counted = meter([2.0])
    usage = Usage(prompt_tokens=116, cached_tokens=cached)
    counted.feed(Finish(reason="stop", usage=usage, timings=Timings(prefill_s=prefill_s), time=2.0))
    assert counted.metrics().prefill_tps == rate
    assert counted.metrics().prompt_tokens == 116


def test_an_unfinished_run_has_the_reported_prompt_length():
    stopped = Meter(sent=0.0)
    stopped.feed(PromptProgress(done=10, total=50, cached=10, time=0.1))
    stopped.feed(PromptProgress(done=50, total=50, cached=10, time=0.4))
    stopped.feed(Token(text="x", time=0.5))
    metrics = stopped.metrics()
    assert (metrics.prompt_tokens, metrics.cached_tokens, metrics.prefill_tps) == (50, 10, None)


def test_equal_times_cause_no_division_by_zero():
    odd = meter([1.0, 1.0, 1.0], sent=1.0)
    odd.feed(
        Finish(
            reason="stop",
            usage=Usage(prompt_tokens=5, cached_tokens=5),
            timings=Timings(prefill_s=0.0, decode_s=0.0),
            time=1.0,
        )
    )
    metrics = odd.metrics()
    assert (metrics.ttft_s, metrics.prefill_tps, metrics.decode_tps) == (0.0, None, None)
    assert metrics.itl_ms == Percentiles(p50=0, p95=0, p99=0)


def test_the_live_rate_covers_the_last_second():
    live = Meter(sent=0.0)
    assert live.rate(1.0) is None
    live.feed(Token(text="x", time=1.0))
    assert live.rate(1.0) is None
    for n in range(1, 21):
        live.feed(Token(text="x", time=1 + n / 10))
    assert live.rate(1.5) == pytest.approx(10)  # tokens after `now` are not counted
    assert live.rate(3.0) == pytest.approx(10)
    assert live.rate(3.5) == pytest.approx(5)
    assert live.rate(9.0) == 0
    assert live.rate(1.0) is None


def test_accepted_drafts_give_the_tokens_per_step():
    counted = Meter(sent=0.0)
    usage = Usage(completion_tokens=30, drafted_tokens=40, accepted_tokens=18)
    counted.feed(Finish(reason="stop", usage=usage, time=5.0))
    metrics = counted.metrics()
    assert (metrics.drafted_tokens, metrics.accepted_tokens) == (40, 18)
    assert metrics.acceptance == 0.45
    assert metrics.tokens_per_step == 2.5  # 12 steps
    none = meter([]).metrics()
    assert none == RunMetrics(load_s=2.5, thinking_tokens=0, pieces=0)
    assert (none.acceptance, none.tokens_per_step) == (None, None)


@settings(max_examples=25)
@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=30))
def test_percentiles_agree_with_the_statistics_module(values):
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    ordered = sorted(values)
    for percent in (50, 95, 99):
        assert percentile(ordered, percent) == pytest.approx(cuts[percent - 1], rel=1e-9, abs=1e-9)


@settings(max_examples=25)
@given(st.lists(st.floats(0, 1e4), max_size=15), st.floats(0, 2e4))
def test_any_times_give_valid_figures(times, now):
    counted = meter(sorted(times))
    metrics = counted.metrics()
    itl = metrics.itl_ms
    if len(times) > 1:
        assert 0 <= itl.p50 <= itl.p95 <= itl.p99
    assert metrics.decode_tps is None or metrics.decode_tps > 0
    rate = counted.rate(now)
    assert rate is None or rate >= 0


def test_a_long_run_keeps_a_sample_of_its_latencies(monkeypatch):
    monkeypatch.setattr(metrics_module, "_GAPS", 1_000)
    monkeypatch.setattr(metrics_module, "_RECENT", 100)
    gaps = [0.001 * (1 + number % 100) for number in range(20_000)]
    long = meter(itertools.accumulate(gaps, initial=1.0))
    assert len(long.gaps_ms) == 1_000
    assert len(long._recent) < 200
    found = long.metrics()
    assert (found.pieces, found.ttft_s) == (20_001, 1.0)
    assert found.decode_tps == pytest.approx(20_000 / sum(gaps))
    assert found.itl_ms.p50 == pytest.approx(50, abs=5)
    assert found.itl_ms.p99 == pytest.approx(99, abs=1.5)
    assert long.rate(1.0 + sum(gaps)) == pytest.approx(20, abs=10)
