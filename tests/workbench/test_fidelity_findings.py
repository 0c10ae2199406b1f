"""What is concluded from KL divergences: the scale, the depth in the context, and candidates beside each other."""

from pathlib import Path

import numpy as np
import pytest
from bench.simulate.fidelity import depth_claims, pair_claims, pair_coverage

from paragone.json_values import number_at, objects_at
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.engine import EngineTask
from paragone_workbench.engines.registry import Registry
from paragone_workbench.measure.fidelity import Measured, Scores
from paragone_workbench.measure.fidelity_verdict import SCALE, band_of, depths, kld_pairs
from paragone_workbench.statistics import rounded_up, smallest_shown, values_needed


def candidate(name, windows):
    """A candidate whose windows have these mean KL divergences."""
    engine = EngineTask(EngineDefinition(name=name, backend="x", model=name), Registry())
    found = Measured(engine)
    for kld in windows:
        values = np.full(50, kld)
        found.compare([Scores(values, values, values, values < 1)])
    return found


# The scale


@pytest.mark.parametrize(
    ("kld", "band"),
    [
        (0, "tiny"),
        (0.0099, "tiny"),
        (0.01, "small"),
        (0.12, "noticeable"),
        (0.4, "large"),
        (3, "another model"),
    ],
)
def test_every_divergence_has_one_band(kld, band):
    assert band_of(kld) == band


def test_the_page_has_the_scale():
    page = (Path(__file__).parents[2] / "docs" / "fidelity.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")]
    found = {row[0]: row[1:] for row in rows if row[0] in SCALE}
    middle = list(SCALE)[1:-1]
    assert [found[name][0].split()[-1] for name in middle] == [f"{SCALE[name]:g}" for name in middle]
    assert found["tiny"][0] == f"below {SCALE['tiny']:g}"


# By depth


def klds(rows):
    return np.array(rows, dtype=float)


def test_a_divergence_that_grows_with_the_depth_is_said():
    rng = np.random.default_rng(0)
    flat = np.full((8, 255), 0.1) * rng.lognormal(0, 0.1, (8, 1)) * rng.lognormal(0, 0.3, (8, 255))
    steady, drifting = depths([flat, flat * np.linspace(1, 2, 255)], 512)
    assert [(part["first"], part["last"]) for part in objects_at(steady, "parts")] == [
        (257, 320),
        (321, 384),
        (385, 448),
        (449, 511),
    ]
    assert not steady["grows"]
    assert drifting["grows"]
    assert number_at(drifting, "interval", "low") > 0


def test_few_windows_have_parts_and_no_claim():
    (found,) = depths([klds([[1, 2, 3, 4]] * 3)], 10)
    assert [part["mean_kld"] for part in objects_at(found.pop("parts"))] == [1, 2, 3, 4]
    assert found == {"growth": None, "interval": None, "adjusted_p": None, "grows": False}
    (falls,) = depths([klds([[4, 3, 2, 1 + index / 10] for index in range(6)])], 10)
    assert (number_at(falls, "adjusted_p") < 0.01, falls["grows"]) == (True, False)


# Candidates beside each other

NEAR = candidate("near", (0.010, 0.020, 0.015, 0.030, 0.012, 0.018))
MIDDLE = candidate("middle", (0.013, 0.024, 0.018, 0.036, 0.015, 0.021))
FAR = candidate("far", (0.10, 0.25, 0.16, 0.28, 0.11, 0.20))


def pairs(*candidates) -> list:
    return kld_pairs(candidates)


def test_pairing_shows_what_the_intervals_of_the_means_do_not():
    (pair,) = pairs(NEAR, MIDDLE)
    assert (pair["windows"], pair["windows_needed"], pair["shown"]) == (6, None, True)
    assert pair["difference"] == pytest.approx(0.0037, abs=1e-4)
    assert pair["sentence"].startswith("near is closer than middle: by 0.0037 nats (95% interval +0.0")
    (turned,) = pairs(MIDDLE, NEAR)
    assert turned["sentence"] == pair["sentence"]


def test_an_open_pair_says_how_many_windows_would_settle_it():
    (pair,) = pairs(NEAR, candidate("same", (0.012, 0.017, 0.019, 0.028, 0.013, 0.019)))
    assert not pair["shown"]
    assert pair["windows_needed"] > 6
    assert pair["sentence"].startswith("Whether near or same is closer is open (95% interval −0.0")
    assert f"{rounded_up(pair['windows_needed'] - 6):,} more windows would settle this." in pair["sentence"]


@pytest.mark.parametrize(
    "windows",
    [(0.010, 0.020, 0.015, 0.030, 0.012, 0.018), (0.1, 0.2, 0.3), ()],
    ids=["copy", "short", "none"],
)
def test_pairs_with_the_same_values_or_few_windows_are_left_out(windows):
    assert pairs(NEAR, candidate("other", windows)) == []


# How many values


def test_the_number_of_values_is_that_of_textbooks():
    # Guenther 1981: 31.4 by the normal distribution and 1.92 more for t; exact by noncentral t: 34
    assert values_needed(1, 0.5) == 34
    assert values_needed(1, 0.5, estimates_variance=False) == 32
    assert values_needed(1, 0) is None
    assert values_needed(1, 1e-6) is None
    assert values_needed(1, smallest_shown(1, 34)) == 34


# How often they hold


def test_intervals_of_pairs_hold_and_a_bootstrap_of_few_windows_does_not():
    by_t, by_bootstrap = pair_coverage(5, 500)
    assert by_t > 0.92
    assert by_bootstrap < 0.88


@pytest.mark.thorough
def test_equal_candidates_are_seldom_told_apart():
    assert pair_claims(8, 80, candidates=4) < 0.08


@pytest.mark.thorough
def test_depth_is_seldom_claimed_without_growth_and_found_where_it_is():
    assert depth_claims(8, 100) < 0.06
    assert depth_claims(8, 40, growth=1.0) > 0.95
