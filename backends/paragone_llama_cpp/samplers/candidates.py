"""The tokens that llama.cpp's samplers select from."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

from paragone_llama_cpp.build.packages import np
from paragone_llama_cpp.c_api.functions import Pointer, lib
from paragone_llama_cpp.c_api.structures import TokenData, TokenDataArray

if TYPE_CHECKING:
    from numpy.typing import NDArray


_CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
"""The layout of the C structure llama_token_data."""


class Candidates:
    """Tokens and their logits, in an array that samplers sort, shorten and select from."""

    def __init__(self, size: int) -> None:
        """Make an array of `size` tokens."""
        self._data = np.zeros(size, _CANDIDATE)
        self._array = TokenDataArray(data=self._data.ctypes.data_as(ctypes.POINTER(TokenData)))

    @property
    def logits(self) -> NDArray[np.float32]:
        """A view of the logits, for reading and writing. A sampler may have sorted the logits."""
        logits: NDArray[np.float32] = self._data["logit"]
        return logits

    @property
    def selected(self) -> int:
        """The token that the samplers selected."""
        return int(self._data["id"][self._array.selected])

    def fill(self, ids: NDArray[np.int32] | int, logits: NDArray[np.float32] | float) -> None:
        """Set all tokens and their logits."""
        self._data["id"], self._data["logit"] = ids, logits
        self._array.size = len(self._data)
        self._array.selected = -1
        self._array.sorted = False

    def apply(self, sampler: Pointer) -> None:
        """Let a sampler change the array."""
        lib.llama_sampler_apply(sampler, ctypes.byref(self._array))
