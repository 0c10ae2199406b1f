"""A test double: a well-behaved third-party plugin with an assertion."""

from collections.abc import Iterable
from dataclasses import dataclass

from paragone import InputError, Json, Options, option
from paragone.assertions import Answer, AnyAssertion, Assertion, Judge, NoVerdict, Verdict
from paragone.hooks import hookimpl


@dataclass(frozen=True, slots=True, kw_only=True)
class RhymeOptions(Options):
    """What it rhymes with."""

    word: str = option("", "The word. Required.")
    letters: int = option(2, "Letters at the end that must be the same.", minimum=1)
    critic: str | None = option(None, "An engine that is asked instead.")

    def __post_init__(self) -> None:
        if not self.word:
            raise InputError("The assertion 'rhymes' has no 'word'.")


class Rhymes(Assertion[RhymeOptions]):
    """Compares the last letters. Holds its answers until it is closed."""

    name = "rhymes"
    summary = "The answer ends like a word."
    options = RhymeOptions

    def __init__(self) -> None:
        self.held: list[Json] = []

    def engines(self, options: RhymeOptions) -> tuple[str, ...]:
        return () if options.critic is None else (options.critic,)

    async def check(self, answer: Answer, options: RhymeOptions, judge: Judge) -> Verdict:
        self.held.append(answer.text)
        if not answer.text:
            raise NoVerdict("Nothing rhymes with nothing.", hint="Answer something.")
        if options.critic is not None:
            said = await judge.ask(options.critic, answer.messages)
            return Verdict(passed=said == "yes", reason=f"The critic said {said!r}.")
        same = answer.text[-options.letters :] == options.word[-options.letters :]
        return Verdict(passed=same, reason=f"It ends in {answer.text[-2:]!r}.", score=float(same))

    def close(self) -> None:
        self.held.clear()


@hookimpl
def paragone_assertions() -> Iterable[AnyAssertion]:
    return [Rhymes()]
