"""ExLlamaV2's attention without flash-attn: the real function and parameters, on doubles of tensors.

Both are extracted from the real source. PyTorch is replaced by a double that records its arguments.
"""

import ast
import importlib
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest


class States:
    """A test double of a tensor of queries, keys or values, which has only a shape."""

    device = "cuda:0"

    def __init__(self, *shape):
        self.shape = shape

    def transpose(self, one, other):
        shape = list(self.shape)
        shape[one], shape[other] = shape[other], shape[one]
        return States(*shape)

    def reshape(self, shape):
        return States(*shape)


class Bias:
    """A test double of PyTorch's mask that is aligned to the last query and the last key."""

    def __init__(self, queries, keys):
        self.shape = queries, keys


def module(name, **contents):
    made = ModuleType(name)
    vars(made).update(contents)
    return made


def unused_class(name):
    """Return a class for a name that the adapter imports and that attention does not use."""
    if name.startswith("__") and name != "__version__":
        raise AttributeError(name)
    return type(name, (), {})


@pytest.fixture
def real(sources, monkeypatch):
    """The parameters and the attention function of the real library."""
    folder = sources("exllamav2") / "exllamav2"
    for double in (
        module("torch", Tensor=States),
        module("torch.nn"),
        module("torch.nn.attention"),
        module("torch.nn.attention.bias", causal_lower_right=Bias),
        module("exllamav2", __getattr__=unused_class),
        module("exllamav2.generator", __getattr__=unused_class),
        module("exllamav2.util", cuda_sync_active=None),
        module("exllamav2.compat", safe_move_tensor=None),
        module("exllamav2.tensor_p", BROADCAST_KV=0),
        module("exllamav2.attn_params"),
    ):
        monkeypatch.setitem(sys.modules, double.__name__, double)
    text = (folder / "attn_params.py").read_text()
    params = sys.modules["exllamav2.attn_params"]
    exec(compile(text, "attn_params.py", "exec"), vars(params))
    given = []

    def attention(queries, keys, values, mask, scale):
        given.append(mask)
        return queries

    tree = ast.parse((folder / "attn.py").read_bytes())
    function = next(
        node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == "_attn_torch"
    )
    names: dict[str, Any] = {
        "has_lower_right_sdpa": True,
        "F": SimpleNamespace(scaled_dot_product_attention=attention),
        "causal_lower_right": Bias,
    }
    exec(compile(ast.Module([function], []), "attn.py", "exec"), names)
    attn = module("exllamav2.attn", has_flash_attn=False, has_flash_attn_with_paged=False)
    monkeypatch.setattr(sys.modules["exllamav2"], "attn", attn, raising=False)
    monkeypatch.delitem(sys.modules, "paragone_exllama.v2", raising=False)

    def mask(queries, past):
        """Return the mask that is passed to PyTorch's attention."""
        layer = SimpleNamespace(
            num_key_value_groups=1,
            repeat_kv=lambda states, times: states,
            sliding_window=0,
            layer_idx=0,
            scaling=1.0,
        )
        keys = States(1, past + queries, 4, 64)
        config = SimpleNamespace(no_sdpa=False, attn_logit_softcapping=None)
        names["_attn_torch"](
            layer,
            1,
            queries,
            States(1, queries, 4, 64),
            keys,
            keys,
            params.Params(1, queries, past, None, None),
            config,
        )
        return given.pop()

    yield SimpleNamespace(attn=attn, mask=mask, params=params.Params)
    sys.modules.pop("paragone_exllama.v2", None)


def config():
    lm = SimpleNamespace(swa=False, alternating_swa=False)
    return SimpleNamespace(no_flash_attn=False, max_input_len=2048, arch=SimpleNamespace(lm=lm))


def test_attention_to_later_tokens_is_masked(real):
    # The library passes no mask. If a new version fixes that, the fix in the adapter can be removed.
    assert real.mask(512, 1024) is None
    ours = importlib.import_module("paragone_exllama.v2")
    assert not ours.choose_attention(config(), SimpleNamespace(paged=None))
    assert real.mask(512, 1024).shape == (512, 1536)
    assert real.mask(5, 0).shape == (5, 5)
    assert real.mask(1, 1024) is None  # the last token may attend to all others


def test_masks_are_not_used_with_flash_attention(real):
    real.attn.has_flash_attn = real.attn.has_flash_attn_with_paged = True
    ours = importlib.import_module("paragone_exllama.v2")
    assert ours.choose_attention(config(), SimpleNamespace(paged=None))
    assert real.mask(512, 1024) is None
