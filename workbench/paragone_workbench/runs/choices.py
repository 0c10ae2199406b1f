"""Multiple choice: an engine computes the log-probability of each choice instead of generating an answer."""

import contextlib
import time
from collections.abc import AsyncGenerator

import paragone
from paragone_workbench.runs.run import RunSpec


async def most_likely(opened: paragone.OpenEngine, spec: RunSpec) -> AsyncGenerator[paragone.Event, None]:
    """Compute the choices of a request, and yield the events of a run. The answer is one piece, the most likely choice;
    all choices are its alternatives, most likely first."""
    found: list[paragone.Alternative] = []
    prompt_tokens: int | None = None
    for choice in spec.choices:
        logprob = 0.0
        request = paragone.ScoreRequest(text=choice, messages=spec.messages)
        async with contextlib.aclosing(opened.score(request)) as events:
            async for event in events:
                match event:
                    case paragone.Token(logprob=float(part)):
                        logprob += part
                    case paragone.Finish(reason="cancelled"):
                        yield event
                        return
                    case paragone.Finish():
                        prompt_tokens = event.usage.prompt_tokens
                    case paragone.PromptProgress():
                        yield event
        found.append(paragone.Alternative(text=choice, logprob=logprob))
    found.sort(key=lambda it: it.logprob, reverse=True)
    best, now = found[0], time.monotonic()
    yield paragone.Token(text=best.text, logprob=best.logprob, top=tuple(found), time=now)
    yield paragone.Finish(reason="stop", usage=paragone.Usage(prompt_tokens=prompt_tokens), time=now)
