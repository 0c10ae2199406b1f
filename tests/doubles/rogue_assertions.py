"""A test double: a third-party plugin with an assertion that breaks its promises on cue."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from paragone import Options, option
from paragone.assertions import Answer, AnyAssertion, Assertion, Judge, Verdict
from paragone.hooks import hookimpl


@dataclass(frozen=True, slots=True, kw_only=True)
class RogueOptions(Options):
    """How it breaks them."""

    check: str = option("raises", "What `check` does.")
    options: bool = option(False, "Whether its options raise.")
    engines: bool = option(False, "Whether `engines` returns nonsense.")
    expected: bool = option(False, "Whether `check_expected` raises.")

    def __post_init__(self) -> None:
        if self.options:
            raise ZeroDivisionError("options")


class Rogue(Assertion[RogueOptions]):
    """Breaks promises."""

    name = "rogue"
    summary = "Never."
    options = RogueOptions

    def engines(self, options: RogueOptions) -> tuple[str, ...]:
        nonsense: Any = "an engine"
        return nonsense if options.engines else ()

    def check_expected(self, expected: str | None, options: RogueOptions) -> None:
        if options.expected:
            raise SystemExit(3)

    async def check(self, answer: Answer, options: RogueOptions, judge: Judge) -> Verdict:
        wrong: Any = {"none": None, "types": Verdict(passed=1, reason="r"), "lies": "passed"}  # type: ignore[arg-type]
        match options.check:
            case "raises":
                raise ZeroDivisionError("on cue")
            case "exits":
                raise SystemExit(3)
            case "times out":
                raise TimeoutError
            case "hangs":
                await asyncio.sleep(3600)
            case "asks":
                return Verdict(passed=True, reason=await judge.ask("critic", answer.messages))
            case "chatters":
                return Verdict(passed=True, reason="word\n" * 10_000)
            case "score":
                return Verdict(passed=True, reason="r", score=float("nan"))
        verdict: Verdict = wrong[options.check]
        return verdict

    def close(self) -> None:
        raise ZeroDivisionError("close")


@hookimpl
def paragone_assertions() -> Iterable[AnyAssertion]:
    return [Rogue()]
