"""The generator of both stand-ins: runs one job at a time; the results have the same form as the real ones."""

import random
import time

from stand_in_core import PAGE, Cache, Commands, fail, logits, seconds_a_prompt_token
from torch import Tensor

TOKEN_SECONDS = 0.001


class JobState:
    """The state of a running job, without its settings."""

    def __init__(self, tokens, limit, ends, seed):
        assert tokens, "Input IDs cannot be empty."
        self.sequence = list(tokens)
        self.prompt = len(tokens)
        self.limit = limit
        self.ends = set(ends)
        self.rng = random.Random(seed)
        self.done = 0
        self.new = 0
        self.held = []
        self.commands = None


class GeneratorState:
    """The queue of jobs, and the function that advances it."""

    def __init__(self, tokenizer, folder, *, paged, drafted):
        self.tokenizer = tokenizer
        self.known = Cache(paged=paged)
        self.drafted = drafted
        self.slow = seconds_a_prompt_token(folder)
        self.active = []
        self.broken = False

    def step(self, chunk, eos, results):
        """Start, prefill or decode. Results are added to `results` in the form of the real generators."""
        assert not self.broken, "the generator was used again after a failure"
        for job in list(self.active):
            state = job.state
            base = {"job": job, "eos": False}
            if state.commands is None:
                state.commands = Commands(self.tokenizer, state.sequence)
                state.done = self.known.common(state.sequence)
                job.cached_pages, job.cached_tokens = self.split(state.done)
                results.append({**base, "stage": "started"})
            if state.done < state.prompt - 1:
                if state.commands.fail == "prefill":
                    self.fail_prefill(job, results)
                    continue
                part = min(chunk, state.prompt - 1 - state.done)
                time.sleep(self.slow * part)
                state.done += part
                results.append({**base, "stage": "prefill", "curr_progress": state.done})
                if state.done < state.prompt - 1:
                    continue
            try:
                fail(state.commands.fail)
            except Exception:
                self.broken = True
                raise
            time.sleep(TOKEN_SECONDS)
            for position in range(1 + self.drafted):
                if self.decode(job, eos, results):
                    self.active.remove(job)
                    self.known.keep(state.sequence)
                    break
                # Every second proposed token differs from the model's.
                if position < self.drafted:
                    if position % 2:
                        job.rejected_draft_tokens += self.drafted - position
                        break
                    job.accepted_draft_tokens += 1

    def split(self, cached):
        return (cached // PAGE, cached % PAGE) if self.known.paged else (0, cached)

    def padded(self, row):
        """Return the output of the head, which is wider than the vocabulary."""
        raise NotImplementedError

    def on_token(self, job, row, token):
        """Notify the job of a sampled token."""

    def fail_prefill(self, job, results):
        self.broken = True
        raise RuntimeError("the stand-in fails in its prefill")

    def decode(self, job, eos, results):
        """Compute one token. Its result is held back while its character is incomplete."""
        state = job.state
        wanted = state.commands.wanted(len(state.sequence), eos)
        row = self.padded(logits(job.vocab, state.sequence, wanted))
        token = job.choose(Tensor([[row]]))
        self.on_token(job, row, token)
        state.sequence.append(token)
        state.new += 1
        state.held.append(token)
        result = {"job": job, "stage": "streaming", "eos": False}
        text = "".join(self.tokenizer.piece(one, False) for one in state.held)
        if token in state.ends:
            held = {"token_ids": Tensor([list(state.held)])}
            results.append({**result, "eos": True, "eos_reason": "stop_token", "held": held})
            return True
        if state.new >= job.budget:
            released = self.release(state, self.text_at_limit(state))
            results.append({**result, "eos": True, "eos_reason": "max_new_tokens", **released})
            return True
        if "�" in text and "�" in self.tokenizer.text(state.held, special=False):
            results.append(result)
            return False
        results.append({**result, **self.release(state, self.tokenizer.text(state.held, special=False))})
        return False

    def text_at_limit(self, state):
        """Return the text of the held tokens when the limit is reached."""
        return self.tokenizer.text(state.held, special=False)

    def release(self, state, text):
        """Return the held tokens and their text, and forget them."""
        released = {**({"text": text} if text else {}), "token_ids": Tensor([state.held])}
        state.held = []
        return released
