"""Prints how often intervals hold, that is contain the true value, and how often claims are false: `make simulate`.

docs/measures.md has the results. The simulations take about ten minutes on one core.
"""

from collections.abc import Callable, Sequence
from functools import partial

from bench.simulate import choices, fidelity, intervals, ratings, suites

PROMPTS = (10, 12, 20, 50, 200)
WINDOWS = (4, 5, 8, 15, 60)
TRIALS = 2_000


def main() -> None:
    _table(
        "How often the 95% interval of a difference in pass rate holds (exact), by prompts",
        PROMPTS,
        {
            case: partial(intervals.passes_coverage, only_a=only_a, only_b=only_b)
            for case, (only_a, only_b) in intervals.PASSES.items()
        },
    )
    _table(
        "How often the 95% interval of a mean holds, by prompts",
        PROMPTS,
        {case: partial(intervals.numbers_coverage, case, trials=TRIALS) for case in intervals.NUMBERS},
    )
    _table(
        "How often ratings of equal engines claim a difference, by votes",
        (20, 50, 150, 600),
        {f"{engines} engines": partial(ratings.false_claims, engines, trials=500) for engines in (2, 3, 5)},
    )
    _table(
        "How often the 95% interval of a mean KLD holds, by windows",
        WINDOWS,
        {
            "windows as units": lambda count: fidelity.coverage(count, TRIALS)[0],
            "positions as units": lambda count: fidelity.coverage(count, TRIALS)[1],
            "conversations of unlike lengths": partial(fidelity.conversation_coverage, trials=TRIALS),
        },
    )
    _table(
        "How often an engine is found above the noise floor, by windows",
        WINDOWS,
        {
            f"mean KLD {times} × the noise floor": partial(fidelity.above_noise, trials=TRIALS, times=times)
            for times in (1, 2, 4)
        },
    )
    _table(
        "How often the 95% interval of a paired difference of mean KLDs holds, by windows",
        WINDOWS,
        {
            "Student's t over windows": lambda count: fidelity.pair_coverage(count, TRIALS)[0],
            "percentile bootstrap of windows": lambda count: fidelity.pair_coverage(count, TRIALS)[1],
        },
    )
    _table(
        "How often a difference between equally close candidates is claimed, by windows",
        WINDOWS,
        {
            f"{candidates} candidates": partial(fidelity.pair_claims, trials=TRIALS, candidates=candidates)
            for candidates in (2, 3, 6)
        },
    )
    _table(
        "How often a difference of 10% is shown with the number of windows that a first measurement recommends, by windows of that measurement",
        WINDOWS,
        {"10% apart": partial(fidelity.power, trials=TRIALS)},
    )
    _table(
        "How often a divergence is found to grow with the depth, by windows",
        WINDOWS,
        {
            f"{growth:.0%} more at the end": partial(fidelity.depth_claims, trials=TRIALS, growth=growth)
            for growth in (0.0, 0.25, 1.0)
        },
    )
    _table(
        "How often a suite of equal engines claims a difference, by engines",
        (2, 3, 11),
        {
            "20 prompts": partial(suites.false_claims, prompts=20, trials=300),
            "20 prompts, 3 repetitions": partial(suites.false_claims, prompts=20, trials=300, repetitions=3),
        },
    )
    for prompts, margin in ((120, 0.03), (120, 0.1), (200, 0.1), (1_000, 0.03)):
        _table(
            f"How often engines that lose {margin:.0%} are called non-inferior with this margin at any of ten looks, {prompts} prompts, by candidates",
            (1, 5),
            {
                f"{rule}; {wins:.0%} won": partial(
                    choices.false_claims, rule=rule, prompts=prompts, margin=margin, wins=wins, trials=TRIALS
                )
                for wins in (0.0, 0.02, 0.1)
                for rule in choices.RULES
            },
        )


def _table(title: str, columns: Sequence[int], rows: dict[str, Callable[[int], float]]) -> None:
    """Print a Markdown table of shares, row by row."""
    print(f"{title}\n\n| | {' | '.join(map(str, columns))} |\n| --- {'| --- ' * len(columns)}|")
    for name, share in rows.items():
        print(f"| {name} | {' | '.join(f'{share(column):.1%}' for column in columns)} |", flush=True)
    print()


if __name__ == "__main__":
    main()
