from __future__ import annotations

import pytest

from pse_stream.control.budget import TokenBucket


def test_a_burst_and_then_the_rate() -> None:
    bucket = TokenBucket(rate=10.0, burst=3.0, now=0.0)
    assert [bucket.take(0.0) for _ in range(4)] == [True, True, True, False]
    assert bucket.wait_s(0.0) == pytest.approx(0.1)
    assert bucket.take(0.1)
    assert sum(bucket.take(1.0 + i / 1000.0) for i in range(1000)) == pytest.approx(12, abs=1)


def test_a_clock_that_jumps_gives_no_more_than_a_burst_and_blocks_nobody() -> None:
    bucket = TokenBucket(rate=10.0, burst=3.0, now=1000.0)
    assert bucket.take(0.0)
    assert bucket.wait_s(0.0) == 0.0
    assert sum(bucket.take(1e9) for _ in range(10)) == 3
