"""A test double of ExLlamaV2 0.3.2: see README.md."""

import json
import time
from pathlib import Path
from types import SimpleNamespace

from stand_in_core import Tokenizer, loading, logits, padded
from stand_in_generator import TOKEN_SECONDS
from torch import Tensor

from exllamav2 import attn as attn

__version__ = "0.3.2"


class ExLlamaV2Config:
    def __init__(self, model_dir=None):
        self.model_dir = model_dir
        read = json.loads(Path(model_dir, "config.json").read_text())
        self.eos_token_id = read["eos_token_id"]
        self.vocab_size = read["vocab_size"]
        self.max_seq_len = self.original_max_seq_len = read["max_position_embeddings"]
        self.max_input_len = 2048
        self.max_attention_size = 2048**2
        self.max_output_len = None
        self.scale_pos_emb = self.scale_alpha_value = 1.0
        self.alt_rope_method = None
        self.no_flash_attn = False
        windows = read.get("stand_in", {}).get("windows", False)
        self.arch = SimpleNamespace(lm=SimpleNamespace(swa=False, alternating_swa=windows))

    def arch_compat_overrides(self):
        pass


class ExLlamaV2:
    def __init__(self, config):
        self.config = config
        self.loaded = False

    def load(self, gpu_split=None, lazy=False, stats=False, callback=None, callback_gen=None, progress=False):
        loading(self.config.model_dir, callback, 5)
        self.loaded = True

    def load_autosplit(self, cache, callback=None):
        assert cache.lazy, "the real library needs a cache created with lazy = True"
        loading(self.config.model_dir, callback, 5)
        self.loaded = True

    def forward(self, input_ids, cache=None, loras=None, cpu_logits=False, **kwargs):
        tokens = input_ids.tolist()[0]
        time.sleep(len(tokens) * TOKEN_SECONDS)  # a score of a long text can be stopped
        assert cache.current_seq_len + len(tokens) <= cache.max_seq_len
        assert len(tokens) <= self.config.max_output_len, "seq_len exceeds max_output_len"
        assert loras is None or loras[0], "the real library reads loras[0]"
        cache.current_seq_len += len(tokens)
        size = self.config.vocab_size
        return Tensor([[padded(logits(size, [token], (token + 1) % 128), 32, -65504.0) for token in tokens]])


class ExLlamaV2CacheBase:
    def __init__(self, model, batch_size=1, max_seq_len=-1, lazy=False):
        assert lazy or model.loaded, "without lazy, the model must be loaded first"
        self.model = model
        self.batch_size = batch_size
        self.max_seq_len = max_seq_len
        self.lazy = lazy
        self.current_seq_len = 0


class ExLlamaV2Cache(ExLlamaV2CacheBase):
    pass


class ExLlamaV2Cache_Q4(ExLlamaV2CacheBase):
    pass


class ExLlamaV2Cache_Q6(ExLlamaV2CacheBase):
    pass


class ExLlamaV2Cache_Q8(ExLlamaV2CacheBase):
    pass


class ExLlamaV2Lora:
    @staticmethod
    def from_directory(model, directory, lora_scaling=1.0):
        return ExLlamaV2Lora()


class ExLlamaV2Tokenizer:
    def __init__(self, config):
        self.core = Tokenizer(config.model_dir)

    def encode(self, text, encode_special_tokens=False):
        return Tensor([self.core.ids(text, encode_special_tokens)])

    def decode(self, ids, decode_special_tokens=False):
        return [self.core.text(tokens, decode_special_tokens) for tokens in ids.tolist()]

    def single_id(self, token):
        return self.core.added.get(token)

    def get_id_to_piece_list(self, include_special_tokens=False):
        return [self.core.piece(token, include_special_tokens) for token in range(self.core.size)]
