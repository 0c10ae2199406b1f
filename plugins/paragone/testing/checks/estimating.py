"""Checks of memory estimates, for backends that make them."""

from __future__ import annotations

import dataclasses

import pytest

from paragone.backend import Backend
from paragone.errors import InputError, ParagoneError
from paragone.testing.fixtures import ConformanceFixtures
from paragone.testing.runs import check_plain, needs, refused, within
from paragone.values.messages import OpenRequest


class EstimateChecks(ConformanceFixtures):
    """The method `estimate`."""

    async def test_memory_is_estimated(self, backend: Backend, opening: OpenRequest) -> None:
        """An estimate lists the memory for each purpose. Backends without estimates raise an error."""
        if not backend.capabilities.estimate:
            work = within(self.patience, "an estimate", backend.estimate(opening))
            await refused(work, kind=ParagoneError)
            return
        estimate = await within(self.patience, "an estimate", backend.estimate(opening))
        check_plain(estimate)
        assert estimate.context > 0, f"a context of {estimate.context} tokens"
        assert estimate.devices, "the estimate has no devices"
        for device in estimate.devices:
            parts = (device.weights, device.kv_cache, device.compute)
            assert min(parts) >= 0, f"negative memory: {device!r}"
            assert device.total is None or device.free is None or device.free <= device.total, f"{device!r}"
        assert sum(device.weights for device in estimate.devices) > 0, "the weights take no memory"
        if estimate.layers is not None and estimate.gpu_layers is not None:
            assert 0 <= estimate.gpu_layers <= estimate.layers + 1, f"{estimate!r}"
        for number in (estimate.trained_context, estimate.parameters):
            assert number is None or number > 0, f"{estimate!r}"

    async def test_the_parts_of_a_model_add_up(self, backend: Backend, opening: OpenRequest) -> None:
        """The parts of a layout have, in total, as many bytes of KV cache and of weights as the devices."""
        needs(backend.capabilities.estimate, "the backend does not estimate")
        estimate = await within(self.patience, "an estimate", backend.estimate(opening))
        layout = estimate.layout
        if layout is None:
            pytest.skip("the backend does not say how a model can be divided")
        assert layout.parts, "the layout has no parts"
        assert min(layout.main_weights, layout.compute) >= 0, f"negative memory: {layout!r}"
        for part in layout.parts:
            assert min(part.weights, part.kv_cache) >= 0, f"negative memory: {part!r}"
            assert 0 <= part.shared <= part.weights, f"{part!r}"
        cache = sum(part.kv_cache for part in layout.parts)
        planned = sum(device.kv_cache for device in estimate.devices)
        assert cache == pytest.approx(planned, rel=0.01), f"the parts have {cache} bytes of KV cache"
        # A GPU may have a copy of the weights that are also in main memory.
        least = layout.main_weights + sum(part.weights - part.shared for part in layout.parts)
        most = layout.main_weights + sum(part.weights for part in layout.parts)
        weights = sum(device.weights for device in estimate.devices)
        assert 0.99 * least <= weights <= 1.01 * most, f"the parts have {least} bytes of weights"

    async def test_an_estimate_fails_like_opening(self, backend: Backend, opening: OpenRequest) -> None:
        """The error for a missing model or an unknown option contains its name."""
        needs(backend.capabilities.estimate, "the backend does not estimate")
        options = {**opening.options, "no_such_option": 1}
        for name, wrong in (
            ("no-such-model", dataclasses.replace(opening, model="no-such-model")),
            ("no_such_option", dataclasses.replace(opening, options=options)),
        ):
            work = backend.estimate(wrong)
            await refused(within(self.patience, "refusing to estimate", work), name, kind=InputError)
