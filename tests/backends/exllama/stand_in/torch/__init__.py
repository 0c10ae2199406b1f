"""A test double of the part of PyTorch that the adapters use. Tensors are nested lists."""

import heapq
import math
from array import array
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
        return Tensor(_at(self.data, key if isinstance(key, tuple) else (key,)))

    def __len__(self):
        return len(self.data)

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

    def cpu(self):
        return self

    def contiguous(self):
        return self

    def numpy(self):
        """Return an object with the numbers of a matrix in a buffer; the real method returns a NumPy array."""
        numbers = array("f", [number for row in self.data for number in row])
        return memoryview(numbers).cast("B").cast("f", self.shape)

    def log_softmax(self, dim):
        peak = max(self.data)
        norm = peak + math.log(sum(math.exp(value - peak) for value in self.data))
        return Tensor([value - norm for value in self.data])

    def topk(self, count):
        best = heapq.nlargest(count, range(len(self.data)), key=self.data.__getitem__)
        return Tensor([self.data[index] for index in best]), Tensor(best)


def _at(data, key):
    """Return the part of nested lists at an index for each dimension."""
    if not key:
        return data
    here, *rest = key
    if not rest:
        return data[here]
    return [_at(part, rest) for part in data[here]] if isinstance(here, slice) else _at(data[here], rest)


def _copy(data):
    return [_copy(part) for part in data] if isinstance(data, list) else data


def tensor(data, dtype=None):
    return Tensor(_copy(data))
