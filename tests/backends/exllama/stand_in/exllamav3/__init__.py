"""A test double of ExLlamaV3 1.6.5: see README.md."""

import json
import time
from pathlib import Path

from stand_in_core import PAGE, loading, logits, padded, sample
from stand_in_core import Tokenizer as _Tokenizer
from stand_in_generator import TOKEN_SECONDS, GeneratorState, JobState
from torch import Tensor


class Config:
    def __init__(self, directory, **kwargs):
        self.directory = directory
        read = json.loads(Path(directory, "config.json").read_text())
        self.eos_token_id = read["eos_token_id"]
        self.vocab_size = read["vocab_size"]
        self.max_position_embeddings = read["max_position_embeddings"]

    @staticmethod
    def from_directory(directory, **kwargs):
        return Config(directory, **kwargs)

    def override_dynamic_seq_len(self, new_max_position_embeddings):
        pass


class Model:
    def __init__(self, config, **kwargs):
        self.config = config
        self.caches = []
        self.loaded = False

    @staticmethod
    def from_config(config, **kwargs):
        return Model(config, **kwargs)

    def load(self, *args, **kwargs):
        return self.load_gen(*args, **kwargs)

    def load_gen(
        self,
        use_per_device=None,
        max_chunk_size=2048,
        max_output_size=32,
        callback=None,
        max_batch_size=1,
        draft_model=None,
    ):
        loading(self.config.directory, callback, 5)
        self.loaded = True
        for cache in self.caches:
            cache.initialized = True

    def warmup(self, cache=None, max_chunk_size=2048, max_batch_size=8, max_q_len=16, callback=None):
        assert self.loaded
        return []

    def get_recurrent_layers(self):
        return []

    def forward(self, input_ids, params=None):
        tokens = input_ids.tolist()[0]
        time.sleep(len(tokens) * TOKEN_SECONDS)  # a score of a long text can be stopped
        assert params["past_len"] + len(tokens) <= params["cache"].max_num_tokens
        size = self.config.vocab_size
        return Tensor([[padded(logits(size, [token], (token + 1) % 128), 128, 0.0) for token in tokens]])


class CacheLayer_fp16:
    pass


class CacheLayer_quant:
    pass


class Cache:
    def __init__(self, model, max_num_tokens, layer_type=None, max_batch_size=16, max_history=0, **kwargs):
        wanted = {"k_bits", "v_bits"} if layer_type is CacheLayer_quant else set()
        assert set(kwargs) == wanted, f"a layer of this type takes {wanted} and got {set(kwargs)}"
        assert max_num_tokens % PAGE == 0
        self.model, self.max_num_tokens, self.max_history = model, max_num_tokens, max_history
        self.initialized = False
        self.owner = None
        model.caches.append(self)

    def get_new_state(self):
        raise NotImplementedError("the stand-in has no recurrent layers")

    def release_state(self, state):
        raise NotImplementedError("the stand-in has no recurrent layers")


class Tokenizer:
    def __init__(self, config):
        self.core = _Tokenizer(config.directory)
        # The real tokenizer knows only the special tokens that files other than tokenizer.json name.
        named = json.loads(Path(config.directory, "tokenizer_config.json").read_text())
        self.known = {named["bos_token"], named["eos_token"]}

    @staticmethod
    def from_config(config):
        return Tokenizer(config)

    def encode(self, text, encode_special_tokens=False):
        return Tensor([self.core.ids(text, encode_special_tokens)])

    def single_id(self, token):
        return self.core.added[token] if token in self.known else None

    def get_id_to_piece_list(self, include_special_tokens=False):
        special = include_special_tokens
        return [
            self.core.piece(token, special and self.core.texts.get(token) in self.known)
            for token in range(self.core.size)
        ]


class ComboSampler:
    def __init__(
        self,
        rep_p=1.0,
        freq_p=0.0,
        pres_p=0.0,
        rep_sustain_range=int(100000000.0),
        rep_decay_range=0,
        temperature=1.0,
        min_p=0.0,
        top_k=0,
        top_p=1.0,
        temp_last=False,
    ):
        self.greedy = temperature == 0.0 or top_k == 1
        self.temperature, self.top_k = temperature, top_k


class Job:
    def __init__(
        self,
        input_ids,
        max_new_tokens=None,
        sampler=None,
        seed=None,
        stop_conditions=None,
        **kwargs,
    ):
        assert not kwargs, f"the real library would ignore {kwargs}"
        self.state = JobState(input_ids.tolist()[0], max_new_tokens, stop_conditions, seed)
        self.sampler = sampler
        self.accepted_draft_tokens = self.rejected_draft_tokens = 0
        self.cached_pages = self.cached_tokens = 0

    def choose(self, logits):
        sampler = self.sampler
        return sample(
            logits.data[0][0][: self.vocab],
            self.state.rng.random(),
            greedy=sampler.greedy,
            temperature=sampler.temperature,
            top_k=sampler.top_k,
        )

    def receive_sample(
        self,
        logits,
        next_token,
        next_k_tokens,
        next_k_probs,
        next_prob,
        results,
        first_sample_in_sd_batch=True,
    ):
        pass


class _State(GeneratorState):
    def padded(self, row):
        return padded(row, 128, 0.0)

    def on_token(self, job, row, token):
        job.receive_sample(Tensor([[row]]), Tensor([[token]]), None, None, None, [])

    def fail_prefill(self, job, results):
        """Only this job fails, and its result contains the error."""
        self.active.remove(job)
        error = RuntimeError("the stand-in fails in its prefill")
        results.append({"job": job, "stage": "error", "eos": True, "error": error})


class Generator:
    def __init__(
        self,
        model,
        cache,
        tokenizer,
        max_batch_size=256,
        max_chunk_size=2048,
        max_q_size=8,
        draft_model=None,
        draft_cache=None,
        num_draft_tokens=None,
        ngram_match_min=0,
        **kwargs,
    ):
        assert not kwargs, f"the real library would ignore {kwargs}"
        self.model, self.cache, self.tokenizer = model, cache, tokenizer
        if draft_model:
            assert not ngram_match_min, "Cannot use both draft model and n-gram draft."
            assert draft_cache is not None, "Must supply cache for draft model"
            assert draft_cache.max_num_tokens == cache.max_num_tokens
        self.max_draft_tokens = (num_draft_tokens or 4) if draft_model or ngram_match_min else 0
        self.max_chunk_size = max_chunk_size
        cache.owner = self
        self.state = _State(tokenizer.core, model.config.directory, paged=True, drafted=self.max_draft_tokens)

    def enqueue(self, job):
        state = job.state
        room = self.cache.max_num_tokens - len(state.sequence) - 1 - self.max_draft_tokens
        if room >= 1:
            state.limit = min(state.limit, room)
        pages = -(-(len(state.sequence) + state.limit + 1 + self.max_draft_tokens) // PAGE)
        there = self.cache.max_num_tokens // PAGE
        assert pages <= there, f"Job requires {pages} pages (only {there} available) and cannot be enqueued."
        job.vocab = self.model.config.vocab_size
        job.budget = state.limit
        self.state.active.append(job)
        return 0

    def cancel(self, job):
        if job in self.state.active:
            self.state.active.remove(job)
            self.state.known.keep(job.state.sequence)

    def close(self):
        self.state.active.clear()

    def iterate(self):
        assert self.cache.initialized, "Cache tensors were never allocated."
        if self.cache.owner is not self:
            raise RuntimeError("This Generator no longer owns its Cache")
        results = []
        self.state.step(self.max_chunk_size, self.model.config.eos_token_id, results)
        return results
