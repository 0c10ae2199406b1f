"""Checks of tokenization and of log-probabilities. Backends without these features must raise errors."""

import contextlib
import itertools
import math
from array import array
from collections.abc import Sequence

import pytest

from paragone import errors, requests
from paragone.events import Alternative, Event, PromptProgress, Token
from paragone.testing import runs

SLACK = runs.FLOOR
"""Allowed error of a log-probability in nats, because engines compute in single precision."""

FIXED = {"max_tokens": 32, "seed": 7}
"""Options of an answer that is scored."""

TEXT = "The sea is deep, 海は深い, and the sky is high above it."


class ProbabilityChecks(runs.ConformanceFixtures):
    """Tokens, log-probabilities of runs, scores, distributions, and most likely tokens."""

    async def test_tokens_agree_with_the_run(self, subject: runs.Subject) -> None:
        """`tokenize` counts as many tokens as the run's prompt has. Backends without `tokenize` raise an error."""
        request = subject.asked("How long is this prompt?")
        if not subject.capabilities.tokenize:
            await runs.refused(subject.prompt_of(request), kind=errors.ParagoneError)
            return
        tokenized = await subject.prompt_of(request)
        runs.check_value(tokenized)
        assert tokenized.ids, "the prompt has no tokens"
        counted = await subject.tokenize(requests.TokenizeRequest(messages=request.messages, count_only=True))
        assert counted.length == len(tokenized.ids), (
            f"{len(tokenized.ids)} tokens when tokenized, {counted.length} when counted"
        )
        turns = (*request.messages, requests.Message(role="assistant", text="Long."), *request.messages)
        longer = await subject.tokenize(requests.TokenizeRequest(messages=turns))
        assert len(longer.ids) > len(tokenized.ids), "a longer conversation does not have more tokens"
        usage = runs.finish_of(await subject.run(request)).usage
        assert usage.prompt_tokens in (None, len(tokenized.ids)), (
            f"{len(tokenized.ids)} tokens when tokenized, {usage.prompt_tokens} in the run"
        )

    async def test_a_text_is_tokenized(self, subject: runs.Subject) -> None:
        """A plain text has the same tokens each time, and a longer text has more tokens."""
        runs.skip_unless(subject.capabilities.tokenize, "the backend does not tokenize")
        text = "The sea is deep."
        once, again, twice = [
            await subject.tokenize(requests.TokenizeRequest(text=part))
            for part in (text, text, f"{text} {text}")
        ]
        assert once == again, "tokenizing the same text twice gives different tokens"
        assert 0 < len(once.ids) < len(twice.ids)
        assert min(once.ids) >= 0, f"invalid token ids: {once.ids}"
        if once.text is not None:
            assert text in once.text, f"the tokenized text is {once.text!r}"
        if subject.capabilities.token_ids and subject.capabilities.score:
            bare = await subject.tokenize(requests.TokenizeRequest(text=text, bos=False))
            assert bare.ids in (once.ids, once.ids[1:]), "more than the BOS token is missing without it"
            back = await subject.tokenize(requests.TokenizeRequest(ids=bare.ids))
            assert back.ids == bare.ids
            assert text in (back.text or ""), f"the text of the tokens of {text!r} is {back.text!r}"

    @pytest.mark.parametrize("top", [None, 0, 3])
    async def test_log_probabilities_come_on_request(self, subject: runs.Subject, top: int | None) -> None:
        """Tokens have log-probabilities and alternatives on request, if the backend has the capability `logprobs`."""
        try:
            events = await subject.run(subject.asked(logprobs=top))
        except errors.ParagoneError as error:
            if top is None or subject.capabilities.logprobs:
                raise
            runs.check_error(error)
            return
        tokens = runs.tokens_of(events)
        if top is None or not subject.capabilities.logprobs:
            for token in tokens:
                bare = token.logprob is None and not token.top
                assert bare, f"not requested, or not declared, but this was sent: {token!r}"
            return
        runs.check_events(events)
        known = [token for token in tokens if token.logprob is not None]
        assert known, "no token has a log-probability"
        for token in tokens:
            assert token.logprob is not None or token.id is None, f"no log-probability: {token!r}"
        check_probabilities(known, top)

    async def test_a_score_agrees_with_the_run(self, subject: runs.Subject) -> None:
        """The score of an answer has the log-probabilities that the run reported.

        Equal log-probabilities show that masks, caches and the positions of logits are right. The allowed difference is the
        engine's own noise.
        """
        able = subject.capabilities
        runs.skip_unless(able.logprobs and able.score, "the backend has no log-probabilities or no scores")
        fixed = {name: value for name, value in FIXED.items() if subject.has_option(name)}
        request = subject.asked("Name three colours.", fixed, cold=True, logprobs=0)
        tokens = runs.tokens_of(await subject.run(request))
        written = [token for token in tokens if token.channel == "answer"]
        runs.skip_unless(
            0 < len(written) == len(tokens),
            "the model thought first, so its answer does not directly follow the prompt",
        )
        text = "".join(token.text for token in written)
        wanted = requests.ScoreRequest(text=text, messages=request.messages)
        scored = runs.tokens_of(await subject.score(wanted))
        # The text may be tokenized differently from the generated tokens. Compare the common tokens.
        pairs = list(
            itertools.takewhile(
                lambda pair: pair[0].id is not None and pair[0].id == pair[1].id,
                zip(written, scored, strict=False),
            )
        )
        runs.skip_unless(bool(pairs), "tokenizing the answer gives other tokens than those generated")
        noise = await noise_in(subject, request, written, wanted)
        ones = [one.logprob for one, _ in pairs if one.logprob is not None]
        others = [other.logprob for _, other in pairs if other.logprob is not None]
        assert len(ones) == len(others) == len(pairs), "a token has no log-probability"
        runs.check_agreement(ones, others, noise, "writing and scoring")

    @pytest.mark.parametrize("answering", [False, True], ids=["alone", "as an answer"])
    async def test_a_text_is_scored(self, subject: runs.Subject, answering: bool) -> None:
        """The tokens of a given text have log-probabilities and numbers of bytes. Backends without `score` raise an error."""
        messages = subject.asked("Tell me of the sea.").messages if answering else ()
        request = requests.ScoreRequest(text=TEXT, messages=messages, top=2)
        if not subject.capabilities.score:
            await runs.refused(subject.score(request), kind=errors.ParagoneError)
            return
        events = await subject.score(request)
        runs.check_events(events, scoring=True)
        tokens = runs.tokens_of(events)
        assert tokens, "the score has no tokens"
        for token in tokens:
            assert token.logprob is not None, f"no log-probability: {token!r}"
            assert token.n_bytes is not None, f"no bytes: {token!r}"
        check_probabilities(tokens, 2)
        check_progress(events)
        text = "".join(token.text for token in tokens)
        scored = text.strip()
        if answering:  # the first token may also contain the end of the prompt
            assert scored.endswith(TEXT), f"the scored text is {scored!r}"
        else:
            assert len(scored) > len(TEXT) / 2, f"the scored text is {scored!r}"
            assert TEXT.endswith(scored), f"the scored text is {scored!r}"
        n_bytes = sum(token.n_bytes or 0 for token in tokens)
        assert n_bytes == len(text.encode()), (
            f"n_bytes add up to {n_bytes}, but the text has {len(text.encode())} bytes"
        )

    async def test_tokens_are_scored_as_their_text(self, subject: runs.Subject) -> None:
        """The tokens of a text have the same scores as the text itself. The first token has no log-probability."""
        able = subject.capabilities
        runs.skip_unless(
            able.score and able.token_ids and able.distributions, "the backend does not score token ids"
        )
        ids = await subject.ids_of(TEXT)
        scored = runs.tokens_of(await subject.score(requests.ScoreRequest(text=TEXT)))
        given = runs.tokens_of(await subject.score(requests.ScoreRequest(ids=ids)))
        assert tuple(token.id for token in given) == ids, "the tokens are not the given ones"
        assert given[0].logprob is None
        later = given[len(given) - len(scored) :]
        assert [token.id for token in later] == [token.id for token in scored]
        noise = await subject.noise(ids)
        runs.check_agreement(
            [token.logprob or 0.0 for token in later],
            [token.logprob or 0.0 for token in scored],
            noise,
            "scores of tokens and of their text",
        )

    @pytest.mark.parametrize("how", ["stopped", "left"])
    async def test_a_score_can_be_stopped(self, subject: runs.Subject, how: str) -> None:
        """`stop` ends a score as it ends a run, and the engine is free for the next job."""
        runs.skip_unless(subject.capabilities.score, "the backend does not score")
        request = requests.ScoreRequest(text=subject.long_text(3000))
        if how == "left":
            await subject.count_until_end(subject.engine.score(request), stop=False)
        else:
            await subject.check_stop(lambda: subject.engine.score(request), tokens=0)

    async def test_distributions_are_complete(self, subject: runs.Subject) -> None:
        """Each token has a row as wide as the vocabulary. Backends without distributions raise an error."""
        if not subject.capabilities.distributions:
            work = rows_of(subject, requests.DistributionsRequest(ids=(0, 1)))
            await runs.refused(work, kind=errors.ParagoneError)
            return
        ids = await subject.ids_of(TEXT)
        size = await subject.vocabulary_size()
        whole = await rows_of(subject, requests.DistributionsRequest(ids=ids))
        assert len(whole) == len(ids), f"{len(whole)} rows for {len(ids)} tokens"
        for row in whole:
            assert len(row) == size, f"a row of {len(row)} numbers for a vocabulary of {size} tokens"
            assert all(map(math.isfinite, row)), "a row contains numbers that are not finite"
        request = requests.DistributionsRequest(ids=ids, start=len(ids) - 2, batch=3)
        assert len(await rows_of(subject, request)) == 2

    async def test_distributions_agree_with_the_score(self, subject: runs.Subject) -> None:
        """A softmax of the rows equals the score of the same text, except for the engine's own noise."""
        engine, able = subject.engine, subject.capabilities
        runs.skip_unless(able.distributions and able.score, "the backend has no distributions or no scores")
        ids = await subject.ids_of(TEXT)
        scored = runs.tokens_of(await subject.score(requests.ScoreRequest(text=TEXT)))
        start = len(ids) - len(scored)
        scored_ids = tuple(token.id for token in scored)
        assert start > 0, f"{len(scored)} scored tokens, but the text has {len(ids)}"
        assert scored_ids == ids[start:], "the scored tokens are not the tokens of the text"
        noise = await subject.noise(ids)
        found = await subject.within("distributions", runs.log_probabilities(engine, ids, start=start - 1))
        runs.check_agreement(
            found, [token.logprob or 0.0 for token in scored], noise, "distributions and score"
        )

    @pytest.mark.parametrize("how", ["stopped", "left"])
    async def test_distributions_can_be_stopped(self, subject: runs.Subject, how: str) -> None:
        """`stop`, or closing the generator, ends distributions early without an error, and the engine is free for a run."""
        runs.skip_unless(subject.capabilities.distributions, "the backend has no distributions")
        ids = await subject.ids_of(subject.long_text(500))
        stream = subject.engine.distributions(requests.DistributionsRequest(ids=ids, batch=1))
        rows = await subject.count_until_end(stream, stop=how == "stopped", size=lambda block: block.rows)
        assert rows < len(ids), "all rows were sent, although the stop came after the first"

    async def test_invalid_sequences_are_refused(self, subject: runs.Subject) -> None:
        """A token outside the vocabulary, or a sequence longer than the context, raises an InputError."""
        runs.skip_unless(subject.capabilities.distributions, "the backend has no distributions")
        ids = await subject.ids_of(TEXT)
        size = await subject.vocabulary_size()
        wrong = [(*ids[:3], size), (*ids[:3], -1)]
        if (context := subject.engine.loaded.context) is not None:
            wrong.append((ids * (context // len(ids) + 1))[: context + 1])
        for sequence in wrong:
            request = requests.DistributionsRequest(ids=sequence, start=len(sequence) - 1)
            await runs.refused(rows_of(subject, request), kind=errors.InputError)
        await subject.still_answers()

    async def test_the_vocabulary_stays_the_same(self, subject: runs.Subject) -> None:
        """The vocabulary has a size and a fingerprint. Backends that cannot list their vocabulary raise an error."""
        try:
            vocabulary = await subject.within("the vocabulary", subject.engine.vocabulary())
        except errors.ParagoneError as error:
            assert not subject.capabilities.distributions, (
                "a backend with distributions must return its vocabulary"
            )
            runs.check_error(error)
            return
        runs.check_value(vocabulary)
        assert vocabulary.size > 0, f"a vocabulary of {vocabulary.size} tokens"
        assert len(vocabulary.fingerprint) == 64, (
            f"{vocabulary.fingerprint!r} was not made by paragone.fingerprint"
        )
        again = await subject.within("the vocabulary", subject.engine.vocabulary())
        assert again == vocabulary, "a second request returns another vocabulary"

    async def test_top_tokens_are_ranked(self, subject: runs.Subject) -> None:
        """Each position has its most likely tokens in order. Backends without `top_tokens` raise an error."""
        if not subject.capabilities.top_tokens:
            work = top_tokens_of(subject, requests.TopTokensRequest(ids=(0, 1)))
            await runs.refused(work, kind=errors.ParagoneError)
            return
        ids = await subject.ids_of(TEXT)
        request = requests.TopTokensRequest(ids=ids, start=2, top=4)
        found = await top_tokens_of(subject, request)
        assert len(found) == len(ids) - 2, f"{len(found)} positions were reported instead of {len(ids) - 2}"
        size = await subject.vocabulary_size()
        for top in found:
            check_top(top, 4, size)

    async def test_top_tokens_follow_the_sequence(self, subject: runs.Subject) -> None:
        """The most likely tokens depend on the tokens before a position, and not on later tokens or on earlier requests."""
        runs.skip_unless(subject.capabilities.top_tokens, "the backend does not report top tokens")
        whole = await subject.ids_of(TEXT)
        ranked = []
        for ids in (whole, whole, whole[:-1]):
            request = requests.TopTokensRequest(ids=ids, start=1)
            found = await top_tokens_of(subject, request)
            ranked.append([top[0].id for top in found])
        first, again, shorter = ranked
        assert first == again, "the same sequence gave other tokens"
        assert first[:-1] == shorter, "a later token changed an earlier position"
        assert len(set(first)) > 1, "the same token is the most likely everywhere"

    async def test_top_tokens_can_be_ended(self, subject: runs.Subject) -> None:
        """`stop` ends `top_tokens` early without an error, and the engine is free for the next run."""
        runs.skip_unless(subject.capabilities.top_tokens, "the backend does not report top tokens")
        ids = await subject.ids_of(subject.long_text(500))
        stream = subject.engine.top_tokens(requests.TopTokensRequest(ids=ids))
        tops = await subject.count_until_end(stream, stop=True)
        assert tops < len(ids), "all positions were sent, although the stop came after the first"


async def noise_in(
    subject: runs.Subject,
    request: requests.RunRequest,
    written: Sequence[Token],
    wanted: requests.ScoreRequest,
) -> runs.Noise:
    """Measure the engine's own noise on the tokens of an answer."""
    if subject.capabilities.distributions and subject.capabilities.tokenize:
        prompt = await subject.prompt_of(request)
        ids = [*prompt.ids, *(token.id for token in written if token.id is not None)]
        return await subject.noise(ids)
    # Score the same text with its prompt in the cache and without the cache.
    warm = runs.tokens_of(await subject.score(wanted))
    await subject.run(subject.asked("And now of the sky.", request.sampling, cold=True))
    cold = runs.tokens_of(await subject.score(wanted))
    return runs.noise_between(
        [token.logprob or 0.0 for token in warm], [token.logprob or 0.0 for token in cold]
    )


def check_probabilities(tokens: Sequence[Token], top: int) -> None:
    """Check that log-probabilities and alternatives are consistent."""
    for token in tokens:
        assert token.logprob is not None
        assert token.logprob <= SLACK, f"probability above 1: {token!r}"
        assert len(token.top) <= top, f"{len(token.top)} alternatives, requested were {top}"
        likely = [alternative.logprob for alternative in token.top]
        assert likely == sorted(likely, reverse=True), (
            f"alternatives are not sorted by probability: {token.top!r}"
        )
        assert sum(map(math.exp, likely)) <= 1 + SLACK, f"probabilities add up to more than 1: {token.top!r}"
        if likely:
            assert token.logprob <= likely[0] + SLACK, (
                f"the token is more likely than all alternatives: {token!r}"
            )
        for alternative in token.top:
            if token.id is not None and alternative.id == token.id:
                assert abs(alternative.logprob - token.logprob) <= SLACK, (
                    f"the token has another probability among the alternatives: {token!r}"
                )
    if top:
        assert any(token.top for token in tokens), "no token has alternatives"


def check_progress(events: Sequence[Event]) -> None:
    """Check that the progress of a score has a constant total, and that the last progress reaches this total."""
    runs.finish_of(events)
    progress = [event for event in events if isinstance(event, PromptProgress)]
    assert progress, "no PromptProgress was sent"
    totals = {event.total for event in progress}
    assert len(totals) == 1, f"the totals of the progress differ: {sorted(totals)}"
    assert progress[-1].done == progress[-1].total, f"the progress ended at {progress[-1]!r}"
    scored = sum(isinstance(event, Token) for event in events)
    assert scored <= progress[-1].total, f"{scored} tokens were scored, but the progress counts {totals}"


async def rows_of(subject: runs.Subject, request: requests.DistributionsRequest) -> list[Sequence[float]]:
    """Check the positions of all rows and return the rows."""
    rows: list[Sequence[float]] = []

    async def collect() -> None:
        async with contextlib.aclosing(subject.engine.distributions(request)) as blocks:
            async for block in blocks:
                expected = request.start + len(rows)
                assert block.start == expected, f"a block starts at token {block.start} instead of {expected}"
                numbers = array("f", block.data.tobytes())  # a copy, before the next block is requested
                width = block.vocab_size
                assert len(numbers) == block.rows * width, "a block does not have rows * vocab_size numbers"
                rows.extend(numbers[at * width : (at + 1) * width] for at in range(block.rows))

    await subject.within("distributions", collect())
    return rows


def check_top(top: tuple[Alternative, ...], count: int, size: int) -> None:
    """Check the alternatives of one position, of a vocabulary of `size` tokens."""
    assert len(top) == count, f"{len(top)} tokens came instead of {count}"
    assert all(isinstance(token.id, int) for token in top), f"a token has no id: {top!r}"
    assert len({token.id for token in top}) == count, f"a token came twice: {top!r}"
    logprobs = [token.logprob for token in top]
    assert logprobs == sorted(logprobs, reverse=True), (
        f"the most likely token does not come first: {logprobs}"
    )
    assert logprobs[0] <= 0, f"a log-probability is above 0: {logprobs}"
    assert logprobs[0] >= -math.log(size), (
        f"the first token is less likely than the average token: {logprobs}"
    )


async def top_tokens_of(
    subject: runs.Subject, request: requests.TopTokensRequest
) -> list[tuple[Alternative, ...]]:
    """Return the top tokens of all positions."""

    async def collect() -> list[tuple[Alternative, ...]]:
        return [top async for top in subject.engine.top_tokens(request)]

    return await subject.within("top tokens", collect())
