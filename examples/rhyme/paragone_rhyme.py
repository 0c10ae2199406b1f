"""An assertion that checks whether an answer rhymes."""

from collections.abc import Iterable
from dataclasses import dataclass

from paragone import InputError, Message, Options, option
from paragone.assertions import Answer, AnyAssertion, Assertion, Judge, NoVerdict, Verdict
from paragone.hooks import hookimpl


@dataclass(frozen=True, slots=True, kw_only=True)
class RhymeOptions(Options):
    """What the answer must rhyme with."""

    word: str = option("", "The word. Required.")
    letters: int = option(2, "Letters at the end that must be the same.", minimum=1)
    engine: str | None = option(None, "An engine that is asked instead.")

    def __post_init__(self) -> None:
        if not self.word:
            raise InputError("The assertion 'rhymes' has no 'word'.", hint="Give it one.")


class Rhymes(Assertion[RhymeOptions]):
    """Compares the last letters, or asks an engine."""

    name = "rhymes"
    summary = "The answer rhymes with this word."
    options = RhymeOptions

    def engines(self, options: RhymeOptions) -> tuple[str, ...]:
        return () if options.engine is None else (options.engine,)

    async def check(self, answer: Answer, options: RhymeOptions, judge: Judge) -> Verdict:
        last = answer.text.rstrip(" \n.!?").lower()
        if options.engine is not None:
            question = f"Does {last[-100:]!r} rhyme with {options.word!r}? Answer YES or NO."
            reply = (await judge.ask(options.engine, (Message(role="user", text=question),))).strip()
            if reply not in ("YES", "NO"):
                raise NoVerdict(f"{options.engine} answered neither YES nor NO.")
            return Verdict(passed=reply == "YES", reason=f"{options.engine} answers {reply}.")
        passed = last.endswith(options.word[-options.letters :].lower())
        return Verdict(passed=passed, reason=f"The answer ends in {last[-options.letters :]!r}.")


@hookimpl
def paragone_assertions() -> Iterable[AnyAssertion]:
    """Return the assertions of this plugin."""
    return [Rhymes()]
