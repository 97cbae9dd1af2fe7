"""Mixing ahead in other processes, for trainers that are faster than one core can mix."""

from __future__ import annotations

import multiprocessing
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager

from pse_stream.training.batches import Draw, Waves

_AHEAD = 2  # groups per worker that are being mixed or wait to be used

_draw: Draw | None = None  # in a worker: what it inherited


def _adopt(draw: Draw) -> None:
    global _draw  # noqa: PLW0603 - a worker process has no other place to keep what it was started with
    _draw = draw


def _drawn(group: int) -> Waves:
    assert _draw is not None
    return _draw(group)


@contextmanager
def mixed_ahead(draw: Draw, workers: int) -> Iterator[Draw]:
    """`draw`, computed ahead by `workers` processes where a run goes through the groups in order; same results.

    With no workers, `draw` itself. The workers are forked, so that they share the corpus instead of copying it:
    systems without fork take 0 workers only.
    """
    if workers == 0:
        yield draw
        return
    context = multiprocessing.get_context("fork")
    waiting: OrderedDict[int, Future[Waves]] = OrderedDict()
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_adopt, initargs=(draw,)) as pool:

        def ahead(group: int) -> Waves:
            for stale in [k for k in waiting if not group <= k < group + _AHEAD * workers]:
                waiting.pop(stale).cancel()
            for k in range(group, group + _AHEAD * workers):
                if k not in waiting:
                    waiting[k] = pool.submit(_drawn, k)
            return waiting.pop(group).result()

        try:
            yield ahead
        finally:
            for future in waiting.values():
                future.cancel()
