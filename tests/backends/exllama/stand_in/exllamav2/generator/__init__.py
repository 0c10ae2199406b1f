"""A test double of ExLlamaV2's dynamic generator."""

from dataclasses import dataclass

from stand_in_core import PAGE, padded, penalized, sample
from stand_in_generator import GeneratorState, JobState

from exllamav2 import attn


class ExLlamaV2Sampler:
    @dataclass
    class Settings:
        token_repetition_penalty: float = 1.025
        token_repetition_range: int = -1
        token_frequency_penalty: float = 0.0
        token_presence_penalty: float = 0.0
        temperature: float = 0.8
        top_k: int = 50
        top_p: float = 0.8
        min_p: float = 0
        temperature_last: bool = False


class ExLlamaV2DynamicJob:
    def __init__(
        self, input_ids, max_new_tokens, gen_settings=None, seed=None, stop_conditions=None, **kwargs
    ):
        assert not kwargs, f"the real library would ignore {kwargs}"
        self.state = JobState(input_ids.tolist()[0], max_new_tokens, stop_conditions, seed)
        self.settings = gen_settings
        self.accepted_draft_tokens = self.rejected_draft_tokens = 0
        self.cached_pages = self.cached_tokens = 0

    def receive_logits(self, logits):
        settings, row = self.settings, logits.data[0][0]
        if settings.token_repetition_penalty != 1.0:
            penalized(
                row, self.state.sequence, settings.token_repetition_penalty, settings.token_repetition_range
            )
        return sample(
            row,
            self.state.rng.random(),
            greedy=settings.top_k == 1,
            temperature=settings.temperature,
            top_k=settings.top_k,
        )

    def choose(self, logits):
        return self.receive_logits(logits)


class _State(GeneratorState):
    def padded(self, row):
        return padded(row, 32, -65504.0)

    def text_at_limit(self, state):
        return "".join(self.tokenizer.piece(token, False) for token in state.held)


class ExLlamaV2DynamicGenerator:
    def __init__(
        self,
        model,
        cache,
        tokenizer,
        max_batch_size=None,
        max_seq_len=None,
        max_chunk_size=None,
        max_q_size=8,
        draft_model=None,
        draft_cache=None,
        num_draft_tokens=4,
        use_ngram_draft=False,
        max_ngram=4,
        paged=True,
        **kwargs,
    ):
        assert not kwargs, f"the real library would ignore {kwargs}"
        self.model, self.cache, self.tokenizer = model, cache, tokenizer
        self.num_draft_tokens = num_draft_tokens if draft_model or use_ngram_draft else 0
        self.draft_model = draft_model
        if draft_model:
            assert draft_cache is not None, "Must supply cache for draft model"
            assert draft_cache.max_seq_len == cache.max_seq_len, (
                "Cache and draft cache must be same dimensions"
            )
            assert draft_model.config.max_seq_len >= model.config.max_seq_len
        if paged:
            assert attn.has_flash_attn_with_paged, "Paged attention required Flash Attention 2.5.7 or later"
        assert cache.batch_size == 1
        assert cache.max_seq_len % PAGE == 0
        assert max_q_size > self.num_draft_tokens, "the real library copies num_draft_tokens + 1 rows"
        assert max_chunk_size <= model.config.max_input_len
        assert not paged or max_chunk_size % PAGE == 0
        self.max_chunk_size = max_chunk_size
        self.use_ngram_draft, self.max_ngram = use_ngram_draft, max_ngram
        self.paged = paged
        self.page_size = PAGE if paged else cache.max_seq_len
        self.reset_page_table()

    def reset_page_table(self):
        self.state = _State(
            self.tokenizer.core, self.model.config.model_dir, paged=self.paged, drafted=self.num_draft_tokens
        )

    def warmup(self):
        pass

    def set_loras(self, loras):
        self.loras = loras

    def enqueue(self, job):
        state = job.state
        pages = -(-(len(state.sequence) + job.state.limit) // self.page_size)
        there = max(self.cache.max_seq_len // self.page_size, 1)
        assert pages <= there, f"Job requires {pages} pages (only {there} available) and cannot be enqueued."
        job.vocab = self.model.config.vocab_size
        job.budget = state.limit - self.num_draft_tokens
        self.state.active.append(job)
        return 0

    def cancel(self, job):
        if job in self.state.active:
            self.state.active.remove(job)
            self.state.known.keep(job.state.sequence)

    def iterate(self):
        results = []
        for job in self.state.active if self.use_ngram_draft else ():
            job.state.sequence[self.max_ngram - 2]  # the real library assumes this many
        self.state.drafted = self.num_draft_tokens if self.use_ngram_draft or self.draft_model else 0
        self.state.step(self.max_chunk_size, self.model.config.eos_token_id, results)
        return results
