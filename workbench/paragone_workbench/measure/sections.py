"""Tables and remarks about a bench and a fidelity, from their JSON, for the command line, the screen and reports. In
all functions, `names` has the engines to show: the name to show by the name in the JSON. None shows all engines."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise, zip_longest
from typing import TypeAlias

from paragone import Json
from paragone.json_values import count_at, list_at, number_at, object_at, objects_at, text_at, texts_at
from paragone.texts import counted, size_text
from paragone_workbench import statistics
from paragone_workbench.blocks import Figure, Remark, Section, Table, TableCell, TableLine, chart, public
from paragone_workbench.compare.divergence import quoted
from paragone_workbench.measure.distances import DECADES, FEWEST_WINDOWS
from paragone_workbench.measure.fidelity_verdict import band_of, scale_text

Names: TypeAlias = Mapping[str, str] | None

EngineRows: TypeAlias = Sequence[tuple[str, Mapping[str, Json]]]


def of_engines(items: Sequence[Mapping[str, Json]], names: Names, field: str = "engine") -> EngineRows:
    named = ((text_at(item, field), item) for item in items)
    return [
        (name if names is None else names[name], it) for name, it in named if names is None or name in names
    ]


def _line(name: str, *cells: str) -> TableLine:
    return TableLine(name=public(name), cells=tuple(map(TableCell, cells)))


def _partial(data: Json) -> str:
    return ", partial" if object_at(data).get("partial") else ""


# Bench


def bench_sections(data: Mapping[str, Json], names: Names = None) -> Iterator[Section]:
    engines = of_engines(objects_at(data, "engines"), names)
    repeat = count_at(data, "repeat") or 1
    load = tuple(Remark(text) for text in [load_text(data)] if text)
    tests = [[(name, test) for test in objects_at(engine, "tests")] for name, engine in engines]
    rows = [row for test in zip_longest(*tests) for row in filter(None, test) if row[1].get("repetitions")]
    if rows:
        runs = "1 run" if repeat == 1 else f"Mean ± standard deviation of {repeat} runs"
        yield Section(
            title="Bench",
            about=f"{runs}, {count_at(rows[0][1], 'tokens') or 0:,} tokens generated in each{_partial(data)}",
            tables=(_speeds(rows), _latencies(rows)),
            remarks=(*load, *_notes(rows, "depth")),
        )
    levels = [[(name, level) for level in objects_at(engine, "users")] for name, engine in engines]
    users = [
        row for level in zip_longest(*levels) for row in filter(None, level) if row[1].get("tokens_per_s")
    ]
    if users:
        yield Section(
            title="Concurrent users",
            about="Each user sends its next request as soon as it has an answer; "
            f"{counted(repeat, 'answer')} for each",
            tables=(_throughputs(users),),
            remarks=(*(() if rows else load), *_notes(users, "users")),
        )


def load_text(data: Json) -> str:
    """Return a remark on the load of the machine while speeds were measured; empty if it is unknown."""
    before, most = number_at(data, "load", "before"), number_at(data, "load", "most")
    if before is None or most is None:
        return ""
    cores = counted(count_at(data, "load", "cores") or 0, "core")
    return f"The load of the machine ({cores}) was {before:.1f} before the measurement and at most {most:.1f} during it."


def bench_problems(data: Mapping[str, Json], names: Names = None) -> Iterator[Remark]:
    for name, engine in of_engines(objects_at(data, "engines"), names):
        skipped = (
            test.get("skipped") for test in (*objects_at(engine, "tests"), *objects_at(engine, "users"))
        )
        found = (*texts_at(engine, "warnings"), *skipped, engine.get("error"))
        for text in dict.fromkeys(text for text in found if isinstance(text, str)):
            yield Remark(public(f"{name}: {text}"))


def _notes(rows: EngineRows, field: str) -> Iterator[Remark]:
    for name, test in rows:
        subject = (
            f"{name}, prompt {count_at(test, 'prompt_tokens'):,}, {field} {count_at(test, field) or 0:,}"
        )
        yield from (Remark(public(f"{subject}: {text}")) for text in texts_at(test, "notes"))


def _table(rows: EngineRows, columns: Mapping[str, Callable[[Mapping[str, Json]], str]]) -> Table:
    """Return a table with a row for each test of an engine. The prompt and the column after it name the test."""
    lines = tuple(_line(name, *(show(test) for show in columns.values())) for name, test in rows)
    return Table(columns=tuple(columns), lines=lines, naming=3)


def _speeds(rows: EngineRows) -> Table:
    columns = {
        "prompt": _count("prompt_tokens"),
        "depth": _count("depth"),
        "prefill, tokens/s": _spread("prefill_tps"),
        "decode, tokens/s": _spread("decode_tps"),
        "runs": _count("repetitions"),
    }
    return _table(rows, columns)


def _latencies(rows: EngineRows) -> Table:
    """Return the latencies. TTFO has a column only if a model thought before it answered."""

    def between(test: Mapping[str, Json]) -> str:
        itl = (number_at(test, f"itl_p{percent}_ms", "mean") for percent in (50, 95, 99))
        return ("/".join(f"{mean:.1f}" for mean in itl if mean is not None) or "unknown") + _pieces(test)

    thinks = any(test.get("ttfo_s") != test.get("ttft_s") for _, test in rows)
    columns = {
        "prompt": _count("prompt_tokens"),
        "depth": _count("depth"),
        "TTFT, s": _spread("ttft_s"),
        **({"TTFO, s": _spread("ttfo_s")} if thinks else {}),
        "TPOT, ms": _spread("tpot_ms"),
        "ITL p50/95/99": between,
    }
    return _table(rows, columns)


def _throughputs(rows: EngineRows) -> Table:
    columns = {
        "prompt": _count("prompt_tokens"),
        "users": _count("users"),
        "tokens/s in all": lambda level: _spread_text(level, "tokens_per_s", "tokens_per_s_stdev"),
        "for each user": _spread("user_tps"),
        "TTFT p50/95/99, s": lambda level: _percentiles(level, "ttft_s"),
        "TPOT p50/95/99, ms": lambda level: _percentiles(level, "tpot_ms"),
        "ITL p50/95/99, ms": lambda level: _percentiles(level, "itl_ms") + _pieces(level),
        "answers": _count("answers"),
    }
    return _table(rows, columns)


def _count(key: str) -> Callable[[Mapping[str, Json]], str]:
    return lambda item: f"{count_at(item, key) or 0:,}"


def _pieces(test: Mapping[str, Json]) -> str:
    return " (pieces)" if test.get("in_pieces") else ""


def _spread(figure: str) -> Callable[[Mapping[str, Json]], str]:

    return lambda test: _spread_text(object_at(test, figure), "mean", "stdev")


def _spread_text(item: Mapping[str, Json], value: str, deviation: str) -> str:
    mean, stdev = number_at(item, value), number_at(item, deviation)
    if mean is None:
        return "unknown"
    return f"{number_text(mean)} ± {number_text(stdev, mean)}" if stdev else number_text(mean)


def number_text(value: float, beside: float | None = None) -> str:
    """Return a number with at least four digits; with `beside`, with as many decimals as `beside` would get."""
    size = abs(value if beside is None else beside)
    decimals = 1 if size >= 100 else 2 if size >= 10 else 3
    return f"{value:,.{decimals}f}"


def _percentiles(level: Mapping[str, Json], figure: str) -> str:
    found = [number_at(level, figure, name) for name in ("p50", "p95", "p99")]
    return "/".join(number_text(it, found[0]) for it in found if it is not None) or "unknown"


# Fidelity

NOISE = "noise floor"


def fidelity_sections(data: Mapping[str, Json], names: Names = None) -> Iterator[Section]:
    candidates = of_engines(objects_at(data, "candidates"), names)
    if candidates and count_at(data, "tokens_scored"):
        yield _distributions(data, candidates)
    answers = object_at(data, "free_running")
    if agreements := of_engines(objects_at(answers, "candidates"), names, "candidate"):
        yield _greedy_answers(answers, agreements, names)


def _distributions(data: Mapping[str, Json], candidates: EngineRows) -> Section:
    noise, window = object_at(data, "noise"), count_at(data, "window") or 0
    reference = object_at(data, "reference")
    differences = [*candidates, (NOISE, noise)]
    compared = any(number_at(candidate, "mean_kld") is not None for _, candidate in candidates)
    windows = count_at(reference, "windows") or count_at(data, "windows") or 0
    whole = count_at(data, "text_windows") or windows
    suite = object_at(data, "suite")
    unit = "conversation" if suite else "window"
    tables = [_figures(reference, candidates, noise)]
    if windows and not any(
        number_at(item, "mean_kld_se") or number_at(item, "ppl_se")
        for item in (reference, *(item for _, item in differences))
    ):
        why = f"The uncertainties are unknown: they need {FEWEST_WINDOWS} {unit}s or more."
        tables[0] = dataclasses.replace(tables[0], note=why)
    if compared:
        tables += [_means(differences), *_shares(differences)]
    tables += (*_depths(candidates), *_tags(candidates), *_places(reference, candidates))
    tokens = f"{count_at(data, 'tokens_scored') or 0:,} tokens"
    about = f"{tokens} scored in {windows} of {whole} windows of {window} tokens"
    if suite:
        answers = f"{text_at(suite, 'answers')} {'answer' if suite.get('scored') == 1 else 'answers'}"
        about = (
            f"{tokens} of {suite.get('scored')} {answers} in {windows} of {counted(whole, 'conversation')}"
        )
    return Section(
        title="Fidelity",
        about=f"Reference {text_at(reference, 'engine')}: {about}{_partial(data)}",
        tables=tuple(tables),
        remarks=tuple(_findings(data, candidates, compared=compared)),
    )


def _number(form: str, unit: str, *path: str) -> Callable[[Mapping[str, Json]], str]:
    return lambda it: "" if (found := number_at(it, *path)) is None else f"{found:{form}}{unit}"


def _by_engine(
    engines: Sequence[tuple[str, Mapping[str, Json]]],
    figures: Mapping[str, Callable[[Mapping[str, Json]], str]],
) -> Table:
    """Return a table with a column for each engine, and a row for each figure."""
    lines = tuple(_line(title, *(show(item) for _, item in engines)) for title, show in figures.items())
    return Table(first="", columns=tuple(public(name) for name, _ in engines), lines=lines, naming=1)


def _figures(reference: Mapping[str, Json], candidates: EngineRows, noise: Mapping[str, Json]) -> Table:
    def shown(key: str) -> Callable[[Mapping[str, Json]], str]:
        return lambda item: _shown(item, key)

    def percent(key: str, error: str, *path: str) -> Callable[[Mapping[str, Json]], str]:
        def show(item: Mapping[str, Json]) -> str:
            found = estimate_at(object_at(item, *path), key, error)
            return "" if found is None else f"{statistics.number(found.scaled(100))} %"

        return show

    figures = {
        "weights": lambda item: size_text(count_at(item, "size")),
        "perplexity": shown("ppl"),
        "ln(PPL / reference's)": shown("log_ppl_ratio"),
        "bits per byte": shown("bits_per_byte"),
        "mean KLD": shown("mean_kld"),
        "on the scale": lambda item: "" if (kld := number_at(item, "mean_kld")) is None else band_of(kld),
        "median KLD": _number(".3g", "", "median_kld"),
        "90% KLD": _number(".3g", "", "p90_kld"),
        "99% KLD": _number(".3g", "", "p99_kld"),
        "maximum KLD": _number(".3g", "", "max_kld"),
        "mean Δp": percent("mean_dp", "mean_dp_se"),
        "RMS Δp": percent("rms_dp", "rms_dp_se"),
        "same top token": percent("top1_agreement", "top1_se"),
    }
    if top := next((count for _, it in candidates if (count := count_at(it, "top_k", "k"))), None):
        figures[f"same first of the top {top}"] = percent("top1_agreement", "top1_se", "top_k")
        figures[f"top {top} tokens in common"] = percent("common", "common_se", "top_k")
    if any(item.get("divergence") for _, item in candidates):
        figures["never another token"] = _unchanged_answers
        figures["same before another token"] = _tokens_before
    engines = [(text_at(reference, "engine"), reference), (NOISE, noise), *candidates]
    return _by_engine(engines, figures)


def _means(differences: EngineRows) -> Table:
    figures = []
    for name, item in sorted(differences, key=lambda it: count_at(it[1], "size") or math.inf):
        if (kld := estimate_at(item, "mean_kld")) is None:
            continue
        figure = Figure(name, kld.value, f"{kld.value:.3g}", sample=size_text(count_at(item, "size")))
        if kld.error and (windows := count_at(item, "windows")):
            interval = statistics.t_interval(kld.value, kld.error, windows)
            low, high = max(0.0, interval.low), interval.high
            figure = figure._replace(ends=(low, high), interval=f"{low:.3g} to {high:.3g}")
        figures.append(figure)
    note = "A value within the noise floor is not a difference."
    return chart("Mean KLD by size", note, figures, titles=("mean KLD", "95% interval", "weights"))


_HEIGHTS = " ▁▂▃▄▅▆▇█"


def _shares(differences: EngineRows) -> Iterator[Table]:
    """Yield the distribution of the positions' KL divergences: a block for each sixth of a decade, as high as its share."""
    lines = []
    for name, item in differences:
        shares = [share for share in list_at(item, "kld_shares") if isinstance(share, int | float)]
        most = max(shares, default=0)
        levels = (round(share / most * 8) if most else 0 for share in shares)
        blocks = (
            _HEIGHTS[max(level, 1) if share else 0] for share, level in zip(shares, levels, strict=True)
        )
        if shares:
            lines.append(_line(name, "".join(blocks)))
    if lines:
        scale = "".join(f"1e{decade}".ljust(6) for decade in DECADES[:-1])
        title = "Share of the positions, by their KLD"
        yield Table(title=title, first="", columns=("",), lines=(*lines, _line("", scale)))


def _depths(candidates: EngineRows) -> Iterator[Table]:
    found = [(name, objects_at(item, "by_depth", "parts")) for name, item in candidates]
    measured = [(name, parts) for name, parts in found if parts]
    if measured:
        yield Table(
            title="Mean KLD by the number of tokens before",
            first="",
            columns=tuple(_range(part, "–") for part in measured[0][1]),
            lines=tuple(
                _line(name, *(_shown(part, "mean_kld") for part in parts)) for name, parts in measured
            ),
        )


def _unchanged_answers(item: Mapping[str, Json]) -> str:
    found = object_at(item, "divergence")
    return f"{found['never']:,} of {counted(count_at(found, 'answers') or 0, 'answer')}" if found else ""


def _tokens_before(item: Mapping[str, Json]) -> str:
    found = count_at(item, "divergence", "median")
    return "" if found is None else counted(found, "token")


_MOST_TAGS = 20


def _tags(candidates: EngineRows) -> Iterator[Table]:
    found = [
        (name, {text_at(tag, "tag"): tag for tag in objects_at(item, "by_tag")}) for name, item in candidates
    ]
    tags = {tag: it for _, by_tag in found for tag, it in by_tag.items()}
    if tags:
        yield Table(
            title="Mean KLD by tag",
            first="",
            columns=("conversations", "tokens", *(public(name) for name, by_tag in found if by_tag)),
            lines=tuple(
                _line(
                    tag,
                    f"{count_at(about, 'conversations'):,}",
                    f"{count_at(about, 'tokens'):,}",
                    *(_shown(by_tag.get(tag), "mean_kld") for _, by_tag in found if by_tag),
                )
                for tag, about in list(tags.items())[:_MOST_TAGS]
            ),
        )


_BEFORE, _CHOICES = 40, 2


def _places(reference: Mapping[str, Json], candidates: EngineRows) -> Iterator[Table]:
    """Yield the worst places of each candidate: the text before, and the most likely tokens of both engines."""
    for name, item in candidates:
        if places := objects_at(item, "places"):
            yield Table(
                title=f"Where {public(name)} is furthest from the reference",
                first="prompt",
                columns=("token", "KLD", "after", public(text_at(reference, "engine")), public(name)),
                lines=tuple(
                    _line(
                        f"#{count_at(place, 'prompt')}",
                        f"{(count_at(place, 'token') or 0) + 1:,}",
                        f"{number_at(place, 'kld') or 0:.2f}",
                        public("…" + text_at(place, "before")[-_BEFORE:].replace("\n", "⏎")),
                        *(_choices(place, side) for side in ("reference", "candidate")),
                    )
                    for place in places
                ),
            )


def _choices(place: Mapping[str, Json], side: str) -> str:
    """Return the most likely tokens with their probabilities."""
    return " ".join(
        f"{public(quoted(text_at(it, 'text')))} {math.exp(number_at(it, 'logprob') or 0):.0%}"
        for it in objects_at(place, side)[:_CHOICES]
    )


def _range(part: Mapping[str, Json], dash: str) -> str:
    first, last = (count_at(part, end) or 0 for end in ("first", "last"))
    return f"{first:,}{dash}{last:,}" if last > first else f"{first:,}"


def _findings(data: Mapping[str, Json], candidates: EngineRows, *, compared: bool) -> Iterator[Remark]:
    said = False
    suite = object_at(data, "suite")
    if skipped := count_at(suite, "skipped"):
        skipped_of = f"{skipped:,} of {counted(count_at(suite, 'turns') or 0, 'answer')} {'is' if skipped == 1 else 'are'}"
        yield Remark(f"{skipped_of} skipped: they are missing, or exceed the context of an engine.", True)
    for name, candidate in candidates:
        depth = object_at(candidate, "by_depth")
        ends = [
            f"{number_at(part, 'mean_kld') or 0.0:.3g} after {_range(part, ' to ')}"
            for part in objects_at(depth, "parts")
        ]
        growth = (
            f"{name}: the KLD grows with the depth in the context, from {ends[0]} tokens to {ends[-1]}."
            if ends
            else ""
        )
        for text, stands_out in (
            (text_at(candidate, "reason"), False),
            (text_at(candidate, "warning"), True),
            (text_at(candidate, "sentence"), False),
            (growth if depth.get("grows") is True else "", True),
        ):
            if text:
                said = True
                yield Remark(public(text), stands_out)
    if not (compared or said):
        yield Remark("No candidate was measured.")
    klds = {
        text_at(it, "engine"): kld for _, it in candidates if (kld := number_at(it, "mean_kld")) is not None
    }
    order = sorted(klds, key=lambda name: klds[name])
    # if neighbours differ, engines that are further apart differ too
    neighbours = [{one, other} for one, other in pairwise(order)]
    found = [({text_at(pair, "a"), text_at(pair, "b")}, pair) for pair in objects_at(data, "pairs")]
    pairs = [(neighbours.index(both), pair) for both, pair in found if both in neighbours]
    for _, pair in sorted(pairs, key=lambda it: it[0]):
        yield Remark(public(text_at(pair, "sentence")), pair.get("shown") is True)
    if compared:
        yield Remark(f"Scale of the mean KLD: {scale_text()}.")


def fidelity_problems(data: Mapping[str, Json], names: Names = None) -> Iterator[Remark]:
    for name, candidate in of_engines(objects_at(data, "candidates"), names):
        if error := text_at(candidate, "error"):
            yield Remark(public(f"{name}: {error}"))


def estimate_at(item: Json, key: str, error: str = "") -> statistics.Estimate | None:
    value = number_at(item, key)
    return None if value is None else statistics.Estimate(value, number_at(item, error or f"{key}_se"))


def _shown(item: Json, key: str) -> str:
    found = estimate_at(item, key)
    return "" if found is None else statistics.number(found)


def _greedy_answers(answers: Mapping[str, Json], agreements: EngineRows, names: Names) -> Section:
    agreed = {text_at(found, "candidate"): (name, found) for name, found in agreements}
    rows: list[tuple[str, Mapping[str, Json]]] = []
    for at, conduct in enumerate(objects_at(answers, "engines")):
        engine = text_at(conduct, "engine")
        name, found = agreed.get(engine, (engine, {}))
        if engine in agreed or not at:
            rows.append((name, {**found, **conduct}))

    def same(it: Mapping[str, Json]) -> str:
        return f"{count_at(it, 'identical'):,} of {count_at(it, 'prompts'):,}" if "identical" in it else ""

    def fork(it: Mapping[str, Json]) -> str:
        return _number(".0f", f" {text_at(it, 'forks', 'unit')}s", "forks", "median")(it)

    figures = {
        "answers": _count("answers"),
        "the same answer": same,
        "same before the fork": fork,
        "length (median)": _number(",.0f", " tokens", "median_tokens"),
        "length, times": _number(".2f", "", "length_ratio"),
        "cut at the limit": _count("cut"),
        "loops": _count("loops"),
        "empty": _count("empty"),
    }
    sentences = [(text, False) for text in texts_at(answers, "notes")]
    sentences += [(text_at(found, "sentence"), found.get("collapsed") is True) for _, found in agreements]
    return Section(
        title="Greedy answers",
        about=f"Greedy answers to {counted(count_at(answers, 'asked') or 0, 'prompt')}{_partial(answers)}",
        tables=(_by_engine(rows, figures),) if rows else (),
        remarks=tuple(Remark(public(text), stands_out) for text, stands_out in sentences if text),
    )
