"""Find the format and the bits per weight of a model, from the names and shapes of its tensors."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from paragone.json_fields import JsonObject, number_at, object_at, text_at

if TYPE_CHECKING:
    from paragone_exllama.model_folder.safetensors import SafetensorsTensor

StorageFormat: TypeAlias = Literal["EXL2", "EXL3", "GPTQ", "plain", "other"]

V2_FORMATS: Final[Collection[StorageFormat]] = ("EXL2", "GPTQ", "plain")
V3_FORMATS: Final[Collection[StorageFormat]] = ("EXL3", "plain")
"""The formats that each library can load."""

_PLAIN = ("F16", "BF16", "F32")


class Stored(NamedTuple):
    """A storage format of weights."""

    format: StorageFormat
    name: str
    """The standard name: `EXL2 4.0 bpw`, `GPTQ 4-bit`, `BF16`."""
    bits: float | None = None
    """Bits per weight of the linear layers without the head; None for unquantized weights."""


def storage_format(config: JsonObject, tensors: Mapping[str, SafetensorsTensor]) -> Stored:
    """Return the format of these tensors. `config` is the model's config.json."""
    stated = object_at(config, "quantization_config")
    method = text_at(stated, "quant_method").lower()
    endings = {name.rpartition(".")[2] for name in tensors}
    if "q_weight" in endings:
        return _exl("EXL2", stated, _exl2_bits(tensors))
    if "trellis" in endings:
        return _exl("EXL3", stated, _exl3_bits(tensors))
    if "qweight" in endings and method == "gptq":
        bits = _bits(stated)
        return Stored("GPTQ", f"GPTQ {bits:g}-bit" if bits else "GPTQ", bits)
    if method or "qweight" in endings:
        return Stored("other", method.upper() or "unknown")
    sizes: dict[str, int] = {}
    for tensor in tensors.values():
        sizes[tensor.dtype] = sizes.get(tensor.dtype, 0) + tensor.size
    most = max(sizes, key=lambda dtype: sizes[dtype], default="")
    return Stored("plain", most) if most in _PLAIN else Stored("other", most or "unknown")


def _exl(kind: Literal["EXL2", "EXL3"], stated: JsonObject, counted: float | None) -> Stored:
    # The name states the bits per weight that the model's author requested. The number counted from the tensors differs.
    bits = _bits(stated) or counted
    return Stored(kind, f"{kind} {f'{bits:.2f}'.removesuffix('0')} bpw" if bits else kind, bits)


def _bits(stated: JsonObject) -> float | None:
    """Return the bits per weight in the model's config; None if the number is implausible."""
    bits = number_at(stated, "bits")
    return bits if bits is not None and 0 < bits <= 32 else None


def _exl2_bits(tensors: Mapping[str, SafetensorsTensor]) -> float | None:
    """Compute the bits per weight from the columns of `q_weight` and the number of rows in `q_invperm`."""
    stored = weights = 0
    for layer, parts in _layers(tensors, "q_weight").items():
        order = next((parts[name].shape for name in ("q_invperm", "q_perm") if name in parts), ())
        shape = parts["q_weight"].shape
        if len(order) == 1 and len(shape) == 2 and not _is_head(layer):
            stored += sum(part.size for part in parts.values())
            weights += order[0] * shape[1]
    return round(8 * stored / weights, 2) if weights else None


def _exl3_bits(tensors: Mapping[str, SafetensorsTensor]) -> float | None:
    """Compute the bits per weight from the shapes of `trellis`, which counts tiles of 16 × 16 weights."""
    stored = weights = 0
    for layer, parts in _layers(tensors, "trellis").items():
        shape = parts["trellis"].shape
        if len(shape) == 3 and not _is_head(layer):
            stored += sum(part.size for part in parts.values())
            weights += 256 * shape[0] * shape[1]
    return round(8 * stored / weights, 2) if weights else None


def _is_head(layer: str) -> bool:
    return layer.rpartition(".")[2] == "lm_head"


def _layers(tensors: Mapping[str, SafetensorsTensor], part: str) -> dict[str, dict[str, SafetensorsTensor]]:
    """Return the tensors of each layer that has a tensor `part`, by the last component of their names."""
    layers: dict[str, dict[str, SafetensorsTensor]] = {
        name.rpartition(".")[0]: {} for name in tensors if name.rpartition(".")[2] == part
    }
    for name, tensor in tensors.items():
        layer, _, last = name.rpartition(".")
        if layer in layers:
            layers[layer][last] = tensor
    return layers
