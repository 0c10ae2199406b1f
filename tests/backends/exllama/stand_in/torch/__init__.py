"""Stands in for the little of PyTorch that the adapters use. Tensors are nested lists."""

import math
from types import SimpleNamespace

from torch.version import __version__ as __version__

long = "long"


class OutOfMemoryError(RuntimeError):
    pass


class Tensor:
    device = SimpleNamespace(type="cpu")

    def __init__(self, data):
        self.data = data

    @property
    def shape(self):
        shape, data = [], self.data
        while isinstance(data, list):
            shape.append(len(data))
            data = data[0] if data else None
        return tuple(shape)

    def __getitem__(self, key):
        data = self.data
        for part in key if isinstance(key, tuple) else (key,):
            data = data[part]
        return Tensor(data)

    def __setitem__(self, key, value):
        self.data[key] = value

    def __iter__(self):
        return (Tensor(part) for part in self.data)

    def tolist(self):
        return self.data

    def item(self):
        return self.data

    def clone(self):
        return Tensor(_copy(self.data))

    def float(self):
        return self

    def log_softmax(self, dim):
        peak = max(self.data)
        norm = peak + math.log(sum(math.exp(value - peak) for value in self.data))
        return Tensor([value - norm for value in self.data])

    def topk(self, count):
        best = sorted(range(len(self.data)), key=lambda index: -self.data[index])[:count]
        return Tensor([self.data[index] for index in best]), Tensor(best)


def _copy(data):
    return [_copy(part) for part in data] if isinstance(data, list) else data


def tensor(data, dtype=None):
    return Tensor(_copy(data))
