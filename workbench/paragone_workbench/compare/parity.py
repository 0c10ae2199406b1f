"""Compares all conditions of a parity check: builds, model facts, rendered prompts and sampling options."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Literal

from paragone import Json, Message
from paragone.facts import BUILD_FACTS, LAUNCH, ORIGIN, PROGRAM, STANDARD_FACTS, StandardFact
from paragone.options import OptionInfo, value_text
from paragone.shared_options import without_effect
from paragone_workbench.compare.diff import common_length
from paragone_workbench.compare.parity_findings import (
    Finding,
    OptionChange,
    Parity,
    Side,
    enumeration,
    joined,
    level,
    quoted,
    same,
)

_VERSION, _COMMIT, _, _INSTRUCTIONS = (fact.name for fact in BUILD_FACTS)

_DRIFTS = "so answers can differ after some tokens, even at temperature 0"


def compare_builds(sides: Sequence[Side], unknown: Mapping[str, list[str]]) -> list[Finding]:
    """Return the programs and builds that differ, and add to `unknown` the properties that a side does not report. Builds
    of different programs are not comparable. Engines with the same installation, their origin, have the same build."""
    programs = {side.name: side.fact(PROGRAM) for side in sides}
    silent = [name for name, program in programs.items() if program is None]
    for name in silent:
        unknown[name].append(PROGRAM.name)
    findings = []
    known = dict.fromkeys(program for program in programs.values() if program is not None)
    if len(known) > 1:
        message = (
            f"The programs that compute differ: {enumeration(programs, silent=silent)}. "
            f"Different programs round differently, {_DRIFTS}. No option removes this difference."
        )
        findings.append(Finding(what=PROGRAM.name, values=programs, sentence=message, is_expected=True))
    for program in known:
        same = [side for side in sides if programs[side.name] == program]
        if len({side.fact(ORIGIN) or side.name for side in same}) > 1:
            findings += _compare(program, same, unknown)
    return findings


def compare_launches(sides: Sequence[Side]) -> list[Finding]:
    reported = {side.name: text for side in sides if (text := side.fact(LAUNCH)) is not None}
    differences = _differences({name: re.split(r" (?=--?[a-z])", text) for name, text in reported.items()})
    if not differences:
        return []
    message = f"The servers were started with different arguments: {differences}. {LAUNCH.effect}"
    return [Finding(what=LAUNCH.name, values=reported, sentence=message)]


def _compare(program: str, sides: Sequence[Side], unknown: Mapping[str, list[str]]) -> list[Finding]:
    """Compare builds of one program. If all commits are known, a missing version is not unknown: the commit determines it."""
    reported = {fact.name: {side.name: side.fact(fact) for side in sides} for fact in BUILD_FACTS}
    differences: dict[str, str] = {}
    for name, values in reported.items():
        silent = [side for side, value in values.items() if value is None]
        known = {side: value for side, value in values.items() if value is not None}
        if len(set(known.values())) > 1 and name != _INSTRUCTIONS:
            differences[name] = f"{name} {enumeration(values, silent=silent)}"
            continue
        if only := _differences({side: value.split(", ") for side, value in known.items()}):
            differences[name] = only
        if name != _VERSION or None in reported[_COMMIT].values():
            for side in silent:
                unknown[side].append(name)
    if not differences:
        return []
    affected = "Rounding and defaults" if differences.keys() & {_VERSION, _COMMIT} else "Rounding"
    message = (
        f"The builds of {program} differ: {'; '.join(differences.values())}. {affected} can differ, {_DRIFTS}. "
        "No option removes this difference: use one build for all."
    )
    values = {
        side.name: ", ".join(text for fact in reported.values() if (text := fact[side.name])) or None
        for side in sides
    }
    return [Finding(what="build", values=values, sentence=message, is_expected=True)]


def _differences(lists: Mapping[str, Sequence[str]]) -> str:
    """Return the members that only some of the lists have: `AVX512 and FMA only in a`. Empty if there are none."""
    holders = {
        member: tuple(name for name, own in lists.items() if member in own)
        for members in lists.values()
        for member in members
    }
    groups: dict[tuple[str, ...], list[str]] = {}
    for member, names in holders.items():
        if len(names) < len(lists):
            groups.setdefault(names, []).append(member)
    return "; ".join(f"{joined(members)} only in {joined(names)}" for names, members in groups.items())


_TEMPLATE = "chat template"
_THREADS = "threads"
_ADAPTER = "LoRA adapter"
_OF_THE_MODEL = frozenset({"architecture", "parameters", "quantization"})
"""Facts that differ as expected if different models are compared."""


def compare_facts(
    sides: Sequence[Side], unknown: Mapping[str, list[str]], *, without_prompt: Collection[str]
) -> list[Finding]:
    """Return the facts that differ, and add to `unknown` the facts that a side does not report, by the side's name.

    Where no reported facts differ, the values of the options are compared: engines that report nothing may have been
    given different values. `without_prompt` has the names of the sides whose prompts are unknown: only for these sides,
    the chat template matters.
    """
    findings: list[Finding] = []
    for fact in STANDARD_FACTS:
        values = {side.name: _value(side, fact) for side in sides}
        known = _known(values)
        if len(known) < 2:
            asked = {side.name: values[side.name] or _asked(side, fact) for side in sides}
            if len(_known(asked)) > 1:
                values, known = asked, _known(asked)
        silent = [name for name, value in values.items() if value is None]
        matters = True
        if fact.name == _TEMPLATE:
            matters = any(values[name] is not None for name in without_prompt)
            silent = [name for name in silent if name in without_prompt]
        if len(known) > 1 and matters:
            findings.append(_finding(sides, fact, values, silent))
        else:
            for name in silent:
                unknown[name].append(fact.name)
    return findings


def _known(values: Mapping[str, str | None]) -> set[str]:
    return {value for value in values.values() if value is not None}


def _asked(side: Side, fact: StandardFact) -> str | None:
    """Return the value of the option that sets a fact; None if the engine lacks that option, or the user has not set it."""
    info = side.load_options().get(fact.name)
    value = None if info is None else side.definition.options.get(info.name)
    return None if value is None else value_text(value)


def _value(side: Side, fact: StandardFact) -> str | None:
    threads = side.settings.threads if fact.name == _THREADS else None
    value = side.fact(fact) if threads is None else str(threads)
    if fact.name == _ADAPTER and value and side.loaded is not None:
        # Adapters in different folders often have the same name and size.
        for file in side.loaded.weights:
            if file.sample and value.startswith(f"{PurePath(file.path).name}, "):
                return f"{value}, file {file.sample[:8]}"
    return value


def _finding(
    sides: Sequence[Side], fact: StandardFact, values: dict[str, str | None], silent: Sequence[str]
) -> Finding:
    options = {side.name: side.load_options().get(fact.name) for side in sides}
    names = list(dict.fromkeys(info.name for info in options.values() if info is not None))
    if fact.name == _TEMPLATE:
        message = "The chat templates differ."
    else:
        named = f"{fact.name} ({names[0]})" if len(names) == 1 and names[0] != fact.name else fact.name
        message = f"{named}: {enumeration(values, silent=silent)}."
    return Finding(
        what=names[0] if len(names) == 1 else fact.name,
        values=values,
        sentence=f"{message[0].upper()}{message[1:]} {fact.effect}",
        changes=level(sides, values, options, reloads=True),
        is_expected=fact.name in _OF_THE_MODEL,
    )


def compare_options(sides: Sequence[Side]) -> list[Finding]:
    """Return the load options that differ, except options that set a fact or do not change answers."""
    findings: list[Finding] = []
    declared = {side.name: side.load_options() for side in sides}
    for name in dict.fromkeys(name for own in declared.values() for name in own):
        options = {side.name: declared[side.name].get(name) for side in sides}
        having = [info for info in options.values() if info is not None]
        if any(info.fact or info.same_answers for info in having):
            continue
        values = {
            side.name: None if (info := options[side.name]) is None else _shown(side.definition.options, info)
            for side in sides
        }
        known = [value for value in values.values() if value is not None]
        is_set = any(value not in (info.default, _UNSET) for value, info in zip(known, having, strict=True))
        if any(not same(known[0], value) for value in known) or (is_set and len(known) < len(sides)):
            findings.append(_option_finding(name, sides, values, options, reloads=True))
    return findings


def _shown(values: Mapping[str, Json], info: OptionInfo) -> Json:
    value = values.get(info.name, info.default)
    return _UNSET if _is_unset(value) else value


PROMPT = "prompt"

_CONTROL = re.compile(r"<[^<>\s]*>|\[/?[A-Z_]+\]")
"""Control tokens in the text of a prompt, such as `<|im_end|>` and `[INST]`."""

_ROLES = {"system", "user", "assistant"}


def compare_prompts(sides: Sequence[Side], unknown: Mapping[str, list[str]]) -> list[Finding]:
    """Compare the prompts of all sides with the best known prompt. Adds to `unknown`, by the side's name, `PROMPT` if
    the prompt is unknown, or its text if only its number of tokens is known."""
    said = {it.name: (it.settings.prompt_ids, it.settings.prompt, it.prompt_tokens) for it in sides}
    reference = max(sides, key=lambda side: [value is not None for value in said[side.name]])
    different: list[Side] = []
    silent: list[str] = []
    for side in sides:
        alike = _alike(reference, side)
        if alike is None:
            silent.append(side.name)
            unknown[side.name].append(PROMPT)
        elif side.settings.prompt is None and side.settings.prompt_ids is None:
            unknown[side.name].append("text of the prompt")
        if alike is False:
            different.append(side)
    return [_prompt_finding(sides, reference, different, silent)] if different else []


def _alike(one: Side, other: Side) -> bool | None:
    first, second = one.settings, other.settings
    if first.prompt_ids is not None and second.prompt_ids is not None:
        return first.prompt_ids == second.prompt_ids
    counts = one.prompt_tokens, other.prompt_tokens
    equal_counts = None if None in counts else counts[0] == counts[1]
    if first.prompt is not None and second.prompt is not None:
        return first.prompt == second.prompt and equal_counts is not False
    return equal_counts


def _prompt_finding(
    sides: Sequence[Side], reference: Side, different: Sequence[Side], unknown: Sequence[str]
) -> Finding:
    counts: dict[str, Json] = {side.name: side.prompt_tokens for side in sides}
    if len({count for count in counts.values() if count is not None}) > 1:
        tokens = {name: f"{count} tokens" for name, count in counts.items() if count is not None}
        parts = [f"The prompt is {enumeration(tokens, silent=unknown)}."]
        what, values = "prompt tokens", counts
    else:
        others = joined(side.name for side in different)
        parts = [f"The prompt in {others} differs from the prompt in {reference.name}."]
        what, values = "prompt", {side.name: side.settings.prompt for side in sides}
    system = ""
    whys = {side.name: _why(reference, side) for side in different}
    if asked := [name for name, why in whys.items() if why == "prompts"]:
        parts.append(f"The earlier prompts in {joined(asked)} differ from the prompts in {reference.name}.")
    if "answers" in whys.values():
        parts.append("Each lane's history contains its own answers, so the prompts differ.")
    if "beginning" in whys.values():
        given = joined(it.name for it in (reference, *different) if _given(it.messages))
        parts.append(f"In {given}, the prompt contains the beginning of the answer.")
    for side in [side for side in different if not whys[side.name]][:3]:
        if reference.settings.prompt is None or side.settings.prompt is None:
            continue
        only_reference, only_side = _difference(reference.settings.prompt, side.settings.prompt)
        parts.append(_described(reference, side, only_reference, only_side))
        system = system or _default_system(reference, only_reference, only_side)
        if system:
            parts.append(
                f"This text is the default system prompt of the chat template in "
                f"{reference.name if only_reference else side.name}."
            )
    return Finding(
        what=what,
        values=values,
        sentence=" ".join(parts),
        system=system,
        is_expected=set(whys.values()) <= {"answers", "beginning"},
    )


def _why(one: Side, other: Side) -> Literal["prompts", "answers", "beginning", ""]:
    """Return which of the messages differ: the user's, the earlier answers, or only the beginning of the answer in
    the prompt."""
    if not one.messages or not other.messages or one.messages == other.messages:
        return ""
    asked, others = ([it for it in side.messages if it.role != "assistant"] for side in (one, other))
    if asked != others:
        return "prompts"
    before, after = (side.messages[: len(side.messages) - _given(side.messages)] for side in (one, other))
    return "beginning" if before == after else "answers"


def _given(messages: Sequence[Message]) -> bool:
    return bool(messages) and messages[-1].role == "assistant"


def _difference(one: str, other: str) -> tuple[str, str]:
    start = common_length(one, other)
    end = common_length(one[start:][::-1], other[start:][::-1])
    return one[start : len(one) - end], other[start : len(other) - end]


def _described(reference: Side, side: Side, only_reference: str, only_side: str) -> str:
    if only_reference and only_side:
        return f"{side.name} has {quoted(only_side)} in place of {quoted(only_reference)}."
    if only_reference:
        return f"{side.name} omits {quoted(only_reference)}."
    if only_side:
        return f"{side.name} adds {quoted(only_side)}."
    ids, others = reference.settings.prompt_ids, side.settings.prompt_ids
    if ids is None or others is None:
        return f"The text is the same in {side.name}, the number of its tokens is not: one engine adds special tokens."
    at = common_length(ids, others)
    return f"The text is the same in {side.name}; its tokens differ from token {at + 1} on."


def _default_system(reference: Side, only_reference: str, only_side: str) -> str:
    """Return the system prompt that a chat template adds in one of two prompts; empty if there is none."""
    if not reference.messages or (only_reference and only_side):
        return ""
    if any(message.role == "system" for message in reference.messages):
        return ""
    pieces = [piece.strip() for piece in _CONTROL.split(only_reference or only_side)]
    words = [piece.removeprefix("system").strip() for piece in pieces if piece and piece not in _ROLES]
    return words[0] if len(words) == 1 else ""


_UNSET = "none"


def compare_sampling(
    sides: Sequence[Side], unknown: Mapping[str, list[str]]
) -> tuple[list[Finding], dict[str, list[OptionChange]]]:
    """Return the options that differ, and how to set the options whose values a side does not report, by the side's
    name. Adds the names of these unreported options to `unknown`. An option without effect in any side is skipped,
    such as `top_k` at temperature 0."""
    reported = {side.name: side.sampling() for side in sides}
    idle = {name: without_effect(values) for name, values in reported.items()}
    declared = {side.name: side.sampling_options() for side in sides}
    findings: list[Finding] = []
    changes: dict[str, list[OptionChange]] = {name: [] for name in reported}
    for option in dict.fromkeys(option for values in reported.values() for option in values):
        in_effect = [
            name
            for name, values in reported.items()
            if not _is_unset(values.get(option)) and option not in idle[name]
        ]
        if not in_effect:
            continue
        options = {name: declared[name].get(option) for name in reported}
        values = {
            name: None if option not in own else _UNSET if _is_unset(own[option]) else own[option]
            for name, own in reported.items()
        }
        known = [value for value in values.values() if value is not None]
        differs = any(not same(known[0], value) for value in known)
        defaults = [info.default for info in options.values() if info is not None]
        if not differs and any(same(default, known[0]) for default in defaults):
            # Engines without the option behave like engines that have it at its default.
            values = {name: value for name, value in values.items() if options[name] is not None}
        silent = [name for name, value in values.items() if value is None]
        if differs or any(options[name] is None for name in silent):
            findings.append(_option_finding(option, sides, values, options, reloads=False))
        elif silent:
            for name in silent:
                info = options[name]
                unknown[name].append(option if info is None else info.name)
            for change in _levelled(sides, values, options, reloads=False):
                if change.engine in silent:
                    changes[change.engine].append(change)
    return findings, changes


def _is_unset(value: Json) -> bool:
    return value is None or value in ([], ())


def _levelled(
    sides: Sequence[Side],
    values: Mapping[str, Json | None],
    options: Mapping[str, OptionInfo | None],
    *,
    reloads: bool,
) -> tuple[OptionChange, ...]:
    settable = {name: None if value == _UNSET else value for name, value in values.items()}
    return level(sides, settable, options, reloads=reloads)


def _option_finding(
    name: str,
    sides: Sequence[Side],
    values: Mapping[str, Json | None],
    options: Mapping[str, OptionInfo | None],
    *,
    reloads: bool,
) -> Finding:
    name = next((info.name for info in options.values() if info is not None), name)
    without = [side for side, value in values.items() if value is None and options[side] is None]
    silent = [side for side, value in values.items() if value is None and options[side] is not None]
    known = [side for side in sides if values.get(side.name) is not None]
    drawn = all(side.has_drawn(options[side.name]) for side in known)
    message = f"{name} is {enumeration(values, silent=silent)}."
    if without:
        message += f" {' and '.join(without)} {'has' if len(without) == 1 else 'have'} no such option."
    if drawn and len(known) > 1:
        message += " Each engine drew its own value."
    return Finding(
        what=name,
        values=values,
        sentence=message,
        changes=_levelled(sides, values, options, reloads=reloads),
        is_expected=drawn,
    )


_CHANGED = {
    "truncated": "cut its prompt",
    "context-shifted": "dropped the beginning of the conversation during its answer",
    "turns-dropped": "dropped the oldest messages",
    "images-left-out": "did not see all images",
    "option-refused": "refused an option",
    "may-not-continue": "may have begun a new answer instead of continuing the last one",
    "schema-ignored": "ignored the JSON schema",
    "filtered": "filtered its answer",
}
"""The codes of warnings about an answer that was not computed as requested, and what the engine did. docs/plugins.md
lists the codes."""

_CHANGES = "may-change-requests"
"""The code of the warning that an engine's server can change requests without notice."""


def check_parity(sides: Sequence[Side]) -> Parity:
    if len(sides) < 2:
        return Parity()
    unknown: dict[str, list[str]] = {side.name: [] for side in sides}
    prompts = compare_prompts(sides, unknown)
    without_prompt = [name for name, names in unknown.items() if PROMPT in names]
    sampling, changes = compare_sampling(sides, unknown)
    findings = [
        *prompts,
        *sampling,
        *_seeds(sides, unknown),
        *_changed(sides),
        *compare_facts(sides, unknown, without_prompt=without_prompt),
        *compare_options(sides),
        *compare_builds(sides, unknown),
        *compare_launches(sides),
        *_cached(sides),
    ]
    for side in sides:
        if side.loaded is not None and any(caution.code == _CHANGES for caution in side.loaded.cautions):
            unknown[side.name].append("changes to requests")
        if side.run is not None and side.metrics.cached_tokens is None:
            unknown[side.name].append("cached tokens")
    silent = tuple(
        Finding(
            what=name,
            sentence=f"{name} does not report: {', '.join(names)}.",
            changes=tuple(changes[name]),
            names=tuple(names),
        )
        for name, names in unknown.items()
        if names
    )
    return Parity(findings=tuple(sorted(findings, key=lambda it: it.is_expected)), unknown=silent)


def _seeds(sides: Sequence[Side], unknown: Mapping[str, list[str]]) -> Iterator[Finding]:
    random = any(side.sampling().get("temperature") != 0 for side in sides)
    able = {side.name: side.capabilities.seed for side in sides}
    if random and not any(able.values()):
        for name in able:
            unknown[name].append("random choices")
    elif random and not all(able.values()):
        without = joined(name for name, seed in able.items() if not seed)
        message = f"A seed has no certain effect in {without}, whose random choices cannot be repeated."
        yield Finding(what="seed support", values=able, sentence=message)


def _changed(sides: Sequence[Side]) -> Iterator[Finding]:
    codes = {
        side.name: {caution.code for caution in side.run.cautions} if side.run is not None else set()
        for side in sides
    }
    for code, did in _CHANGED.items():
        values = {name: code in own for name, own in codes.items()}
        if len(set(values.values())) > 1:
            who = joined(name for name, has in values.items() if has)
            yield Finding(what=code, values=values, sentence=f"{who} {did}; the others did not.")


def _cached(sides: Sequence[Side]) -> Iterator[Finding]:
    values = {side.name: side.metrics.cached_tokens for side in sides}
    known = {value for value in values.values() if value is not None}
    if len(known) > 1:
        silent = [name for name, value in values.items() if value is None]
        message = (
            f"Prompt tokens taken from the KV cache: {enumeration(values, silent=silent)}. "
            "Times to first token are not comparable, and rounding can differ."
        )
        yield Finding(what="cached tokens", values=values, sentence=message, is_expected=True)
