"""The ring between two threads: order, overrun, underrun, wrap-around."""

from __future__ import annotations

import threading
from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pse_stream.dsp.ring import Ring
from pse_stream.errors import SpecError

operations = st.lists(st.tuples(st.sampled_from(["write", "read", "skip"]), st.integers(0, 40)), max_size=60)


@settings(max_examples=150, deadline=None)
@given(capacity=st.integers(1, 32), script=operations)
def test_any_script_gives_what_a_queue_that_forgets_its_oldest_gives(
    capacity: int, script: list[tuple[str, int]]
) -> None:
    ring, model, clock = Ring(capacity), deque[float](maxlen=capacity), 0
    for name, count in script:
        if name == "write":
            block = np.arange(clock, clock + count, dtype=np.float32)
            clock += count
            ring.write(block)
            model.extend(block.tolist())
        elif name == "skip":
            dropped = min(count, len(model))
            assert ring.skip(count) == dropped
            for _ in range(dropped):
                model.popleft()
        else:
            out = np.full(count, -1.0, np.float32)
            wanted = [model.popleft() for _ in range(count)] if count <= len(model) else [-1.0] * count
            assert ring.read(out) == (wanted != [-1.0] * count or count == 0)
            assert out.tolist() == wanted
        assert ring.available == len(model)
    assert ring.written == clock
    assert ring.read_count + ring.available == clock or ring.overrun_samples < ring.written - ring.capacity


def test_overrun_loses_the_oldest_and_counts_them_when_the_reader_looks() -> None:
    ring, out = Ring(4), np.zeros(3, np.float32)
    ring.write(np.arange(6, dtype=np.float32))
    assert ring.read(out)
    assert out.tolist() == [2.0, 3.0, 4.0]
    assert ring.overrun_samples == 2


def test_underrun_leaves_the_block_and_the_ring_alone() -> None:
    ring, out = Ring(8), np.full(4, 7.0, np.float32)
    ring.write(np.ones(3, np.float32))
    assert not ring.read(out)
    assert out.tolist() == [7.0] * 4
    assert ring.available == 3


def test_two_channels_stay_together() -> None:
    ring, out = Ring(5, 2), np.zeros((3, 2), np.float32)
    block = np.arange(8, dtype=np.float32).reshape(4, 2)
    for _ in range(3):  # wraps
        ring.write(block[:3])
        assert ring.read(out)
        assert np.array_equal(out, block[:3])


def test_a_writer_and_a_reader_in_two_threads_lose_and_invent_nothing() -> None:
    ring, total, block = Ring(4096), 200_000, 100
    got: list[float] = []

    def write() -> None:
        at = 0
        while at < total:
            if ring.capacity - ring.available >= block:
                ring.write(np.arange(at, at + block, dtype=np.float32))
                at += block

    writer = threading.Thread(target=write)
    writer.start()
    out = np.zeros(64, np.float32)
    while len(got) < total - total % 64:
        if ring.read(out):
            got.extend(out.tolist())
    writer.join()
    assert got == list(range(len(got)))
    assert ring.overrun_samples == 0


@pytest.mark.parametrize(("capacity", "channels"), [(0, 1), (16, 0)])
def test_a_ring_of_nothing_is_refused(capacity: int, channels: int) -> None:
    with pytest.raises(SpecError, match="makes no sense"):
        Ring(capacity, channels)
