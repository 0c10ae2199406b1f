"""The throughput of a bench with users at once, as text."""

from __future__ import annotations

from paragone_cli.command_line.formats import short_name
from paragone_cli.command_line.output import one_line, put, put_line, standard_output
from paragone_cli.measuring.bench.bench_plot import put_curves
from paragone_cli.measuring.bench.figure_table import number_text, percentiles_text, put_figures, shown
from paragone_workbench.measure.bench.measurement import Bench


def put_throughputs(bench: Bench) -> None:
    """Print the speeds that several users at once got, if measured; with a plot if standard output is a terminal."""
    rows = [
        (benched, test, found)
        for test in bench.users
        for benched in bench.engines
        if (found := benched.throughputs.get(test)) is not None
    ]
    if not rows:
        return
    put(
        f"\nUsers at once, each sends its next request as soon as it has an answer; {bench.repeat} answers for each"
    )
    put()
    table = [
        [
            "engine",
            "prompt",
            "users",
            "tokens/s in all",
            "for each user",
            "TTFT p50/95/99, s",
            "TPOT p50/95/99, ms",
            "ITL p50/95/99, ms",
            "answers",
        ]
    ]
    for benched, test, found in rows:
        table.append(
            [
                short_name(benched.name),
                f"{test.prompt_tokens:,}",
                f"{test.users:,}",
                number_text(found.tokens_per_s),
                shown(found.user_tps),
                percentiles_text(found.ttft_s),
                percentiles_text(found.tpot_ms),
                percentiles_text(found.itl_ms) + (" (pieces)" if found.is_in_pieces else ""),
                f"{found.answers:,}",
            ]
        )
    put_figures(table)
    notes = [(benched, test, note) for benched, test, found in rows for note in found.notes]
    if notes:
        put()
    for benched, test, note in notes:
        put_line(f"{benched.name}, prompt {test.prompt_tokens:,}, users {test.users:,}: {note}")
    if standard_output().isatty() and len({test.users for _, test, _ in rows}) > 1:
        for length in dict.fromkeys(test.prompt_tokens for _, test, _ in rows):
            curves: dict[str, dict[int, float]] = {}
            for benched, test, found in rows:
                if test.prompt_tokens == length:
                    curves.setdefault(one_line(short_name(benched.name)), {})[test.users] = found.tokens_per_s
            put_curves(f"Tokens/s of all users, prompt {length:,}", curves, "users")
