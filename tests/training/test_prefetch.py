"""training/prefetch.py: mixing ahead changes when, not what."""

from __future__ import annotations

import numpy as np

from pse_stream.training.batches import drawing
from pse_stream.training.prefetch import mixed_ahead
from pse_stream.training.recipe import DataSpec
from pse_stream.training.simulate import Mixer, MixSpec


def test_mixed_ahead_equals_mixed_here_in_order_and_after_a_jump(store):
    draw = drawing(Mixer(store, MixSpec()), DataSpec(batch=2, segment_s=0.4, chunks=1), 3)
    with mixed_ahead(draw, 2) as ahead:
        for group in (0, 1, 2, 7, 8, 1):
            np.testing.assert_array_equal(ahead(group), draw(group))


def test_without_workers_nothing_is_started(store):
    draw = drawing(Mixer(store, MixSpec()), DataSpec(batch=1, segment_s=0.4), 3)
    with mixed_ahead(draw, 0) as ahead:
        assert ahead is draw
