"""Cutting without being heard."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pse_stream.streaming.splice import FADE_S, Splice

from .stubs import HOP, RATE, noise, tone

FADE = int(FADE_S * RATE)


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(1, 4 * HOP), at=st.integers(0, 5))
def test_exactly_what_was_asked_for_is_left_out_and_the_rest_is_untouched(cut: int, at: int) -> None:
    sent, splice, got = noise(0.2)[: 24 * HOP], Splice(RATE), []
    for hop in range(24):
        block = sent[hop * HOP : (hop + 1) * HOP]
        if hop == at:
            splice.begin(cut, block)
        got.append(splice.process(block))
    heard = np.concatenate(got)
    assert len(heard) == len(sent) - cut
    assert np.array_equal(heard[: at * HOP], sent[: at * HOP])
    assert np.array_equal(heard[at * HOP + FADE :], sent[at * HOP + cut + FADE :])


def test_a_cut_in_a_tone_has_no_step() -> None:
    sine, splice = tone(200.0), Splice(RATE)
    got = []
    for hop in range(10):
        block = sine(hop * HOP, HOP)
        if hop == 4:
            splice.begin(200, block)
        got.append(splice.process(block))
    assert np.abs(np.diff(np.concatenate(got))).max() < 0.015  # the tone's own steps are 0.008


def test_without_a_cut_the_very_block_passes() -> None:
    block = noise(0.01)
    assert Splice(RATE).process(block) is block


def test_reset_forgets_a_cut_under_way() -> None:
    splice, block = Splice(RATE), noise(0.008)
    splice.begin(5 * HOP, block)
    assert len(splice.process(block)) == 0
    splice.reset()
    assert splice.process(block) is block
