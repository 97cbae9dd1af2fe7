"""The live path in simulated time: identity, delay, overload, failing engines. Symptoms S01, S02, S22, S24."""

from __future__ import annotations

import numpy as np
import pytest

from pse_stream.engines.bypass import BypassEngine
from pse_stream.streaming.denoiser import Denoiser
from pse_stream.streaming.devices.fake import FakeDevice
from pse_stream.streaming.pipeline import Pipeline
from pse_stream.streaming.settings import SetEngine, Settings

from .stubs import HOP, RATE, Failing, Slow, clickiness, noise, offset, shelf, tone

BYPASSED = Settings(bypass=True)


@pytest.mark.parametrize("jitter_ms", [0.0, 2.0])
def test_live_equals_offline_sample_for_sample(jitter_ms: float) -> None:
    sent = noise(2.0)
    device = FakeDevice(source=sent, jitter_ms=jitter_ms)
    with Denoiser(Settings(engine="wiener"), device=device) as denoiser:
        device.advance(2.2)
        counters = denoiser.snapshot.counters
    from pse_stream.engines.wiener import WienerEngine

    offline = Pipeline(RATE, WienerEngine(), attenuation_db=30.0)
    wanted = np.zeros(len(sent), np.float32)
    for at in range(0, len(sent), HOP):
        offline.process(sent[at : at + HOP], out=wanted[at : at + HOP])
    assert counters.underruns == counters.dropped_hops == 0
    heard = device.output
    shift = offset(heard, wanted, 48_000)
    assert np.array_equal(heard[shift + 9600 : shift + len(wanted)], wanted[9600:])


@pytest.mark.parametrize("seed", range(3))
def test_s24_the_stated_delay_is_the_measured_one(seed: int) -> None:
    sent = noise(1.0)
    device = FakeDevice(source=sent, jitter_ms=1.0, seed=seed)
    with Denoiser(BYPASSED, device=device) as denoiser:
        device.advance(1.0)
        latency = denoiser.snapshot.latency
    # The fake delivers block k of the microphone and of the output at the same time. A sample in the middle of a block
    # was recorded up to a hop before the callback (the algorithm's first hop) and is asked for again later.
    measured_ms = offset(device.output, sent, 20_000) / RATE * 1000.0 + 8.0
    stated_ms = latency.algorithm_ms + latency.buffer_ms
    assert stated_ms == pytest.approx(measured_ms, abs=8.0)


@pytest.mark.parametrize("chunk_ms", [8.02, 8.0075, 8.005, 7.995, 7.99, 10.0, 21.333])
def test_s01_a_server_with_blocks_of_another_length_makes_no_holes_for_ever(chunk_ms: float) -> None:
    device = FakeDevice(source=tone(), input_chunk_ms=chunk_ms, jitter_ms=0.3)
    with Denoiser(BYPASSED, device=device) as denoiser:
        device.advance(20.0)  # the phase turns, once in 3 s for blocks of 8.02 ms, and that has to be found out
        settled = denoiser.snapshot.counters
        device.advance(100.0)
        later, delay_ms = denoiser.snapshot.counters, denoiser.snapshot.latency.buffer_ms
    assert later.underruns - settled.underruns <= 2
    assert later.dropped_hops - settled.dropped_hops <= 2
    assert delay_ms < max(chunk_ms, 8.0) + 20.0


def test_s01_a_stalling_engine_costs_one_fade_each_and_repeats_nothing() -> None:
    sent = noise(8.0)
    device = FakeDevice(source=sent)
    engine = Slow(device, lambda step: 0.040 if step % 200 == 0 else 0.001)
    with Denoiser(Settings(), device=device, engines=shelf(auto=lambda: engine)) as denoiser:
        device.advance(8.0)
        counters = denoiser.snapshot.counters
    assert counters.late_hops == engine.steps // 200
    assert 0 < counters.underruns <= 5 * counters.late_hops
    heard = device.output
    blocks = heard[: len(heard) // HOP * HOP].reshape(-1, HOP)
    middles = blocks[:, 100:300]  # past what is left of a fade
    loud = middles[np.abs(middles).max(axis=1) > 0.01]
    assert len(np.unique(loud, axis=0)) == len(loud)


def test_s22_delay_is_back_within_five_seconds_after_any_stall() -> None:
    for stall_s in (0.03, 0.09, 0.3, 2.5):
        device = FakeDevice(source=tone(), jitter_ms=0.5)
        stalls = {300: stall_s}
        engine = Slow(device, lambda step, stalls=stalls: stalls.get(step, 0.0))
        with Denoiser(Settings(), device=device, engines=shelf(auto=lambda engine=engine: engine)) as denoiser:
            device.advance(2.0)
            before = denoiser.snapshot.latency.buffer_ms
            device.advance(0.5 + stall_s + 5.0)
            after = denoiser.snapshot
        assert after.latency.buffer_ms <= before + 8.0 + 1.0, stall_s
        assert after.counters.dropped_hops > 0, stall_s
        assert after.counters.underruns > 0, stall_s


def test_drops_are_crossfaded_so_they_do_not_click() -> None:
    device = FakeDevice(source=tone(200.0))
    stalls = {300: 0.045}
    engine = Slow(device, lambda step: stalls.get(step, 0.0))
    with Denoiser(Settings(), device=device, engines=shelf(auto=lambda: engine)) as denoiser:
        device.advance(8.0)
        assert denoiser.snapshot.counters.dropped_hops > 0
    steps = np.abs(np.diff(device.output[4800:]))
    assert steps.max() < 0.02  # the tone's own largest step is 0.008; a hard splice makes up to 0.6


def test_a_computer_that_is_too_slow_never_makes_the_delay_grow() -> None:
    device = FakeDevice(source=noise(10.0))
    engine = Slow(device, lambda step: 0.012 if step % 5 < 2 else 0.009 if step % 5 < 4 else 0.0)
    with Denoiser(Settings(governor="off"), device=device, engines=shelf(auto=lambda: engine)) as denoiser:
        buffers = []
        for _ in range(20):
            device.advance(0.5)
            buffers.append(denoiser.snapshot.latency.buffer_ms)
        snapshot = denoiser.snapshot
    assert max(buffers) < 150.0
    assert snapshot.counters.dropped_hops > 20
    assert snapshot.state == "degraded"
    assert "keep up" in snapshot.reason


def test_s46_an_engine_that_is_too_slow_is_taken_out_said_and_tried_again() -> None:
    device = FakeDevice(source=noise(60.0))
    slow = [True]
    engine = Slow(device, lambda _step: 0.012 if slow[0] else 0.001)
    with Denoiser(Settings(attenuation_db=100.0), device=device, engines=shelf(auto=lambda: engine)) as denoiser:
        device.advance(3.0)
        taken_out = denoiser.snapshot
        assert taken_out.state == "degraded"
        assert "processor time; you are heard without noise removal for slow" in taken_out.reason
        assert taken_out.engine.id == "bypass"
        device.advance(8.0)
        assert denoiser.snapshot.counters.late_hops == taken_out.counters.late_hops  # the voice flows
        slow[0] = False
        steps = engine.steps
        device.advance(24.0)
        assert denoiser.snapshot.state == "running"
        assert denoiser.snapshot.engine.id == "slow"
        assert engine.steps > steps


def test_a_wish_for_the_engine_that_was_taken_out_tries_it_at_once() -> None:
    device = FakeDevice(source=noise(10.0))
    made: list[Failing] = []

    def failing() -> Failing:
        made.append(Failing(at=50 if not made else 10**9))
        return made[-1]

    with Denoiser(Settings(), device=device, engines=shelf(auto=failing)) as denoiser:
        device.advance(1.0)
        assert denoiser.snapshot.state == "degraded"
        future = denoiser.submit(SetEngine("auto"))
        device.advance(0.5)
        assert future.exception(timeout=0) is None
        assert denoiser.snapshot.state == "running"
        assert len(made) == 2


def test_a_burst_of_input_after_the_server_froze_is_dropped_to_the_target() -> None:
    device = FakeDevice(source=noise(10.0))
    with Denoiser(BYPASSED, device=device) as denoiser:
        device.advance(2.0)
        device.stall("both", 2.0)
        device.advance(3.5)
        snapshot = denoiser.snapshot
    assert snapshot.latency.buffer_ms < 16.0
    assert snapshot.state == "bypassed"  # as before, and nothing worse


def test_an_engine_that_raises_is_taken_out_and_the_voice_goes_on() -> None:
    sent = noise(3.0)
    device = FakeDevice(source=sent)
    with Denoiser(Settings(attenuation_db=100), device=device, engines=shelf(auto=lambda: Failing(100))) as denoiser:
        device.advance(3.0)
        snapshot = denoiser.snapshot
    assert snapshot.state == "degraded"
    assert "failing" in snapshot.reason and "the model broke" in snapshot.reason
    assert snapshot.counters.underruns == 0
    assert device.output[-48_000:-9600].std() == pytest.approx(sent.std(), rel=0.02)


def test_what_was_posted_runs_between_hops_even_when_no_sound_comes() -> None:
    device = FakeDevice()
    denoiser = Denoiser(BYPASSED, device=device)
    ran: list[int] = []
    denoiser._runner.post(lambda _pipeline, hop: ran.append(hop))
    assert ran == []
    denoiser._runner.step()
    assert ran == [0]


def test_a_hop_allocates_nothing_that_grows() -> None:
    import tracemalloc

    device = FakeDevice(source=tone(), keep_output=False)
    with Denoiser(Settings(), device=device, engines=shelf(auto=BypassEngine)):
        device.advance(1.0)
        tracemalloc.start()
        device.advance(0.5)
        before = tracemalloc.get_traced_memory()[0]
        device.advance(2.0)
        after = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
    assert after - before < 20_000


def test_s04_loud_voices_are_limited_not_wrapped() -> None:
    device = FakeDevice(source=tone(1000.0, level=2.0))
    with Denoiser(Settings(), device=device, engines=shelf()) as denoiser:
        device.advance(1.0)
        snapshot = denoiser.snapshot
    assert np.abs(device.output).max() <= 10 ** (-1 / 20) + 1e-6
    assert snapshot.counters.limited_hops > 0
    assert snapshot.meter_in.clips > 0


def test_nan_from_the_microphone_is_silence_and_counted() -> None:
    sent = noise(1.0)
    sent[20_000:20_100] = np.nan
    device = FakeDevice(source=sent)
    with Denoiser(Settings(), device=device, engines=shelf()) as denoiser:
        device.advance(1.0)
        assert denoiser.snapshot.counters.bad_blocks == 1
    assert np.isfinite(device.output).all()


def test_the_tone_of_the_test_is_clean_without_faults() -> None:
    device = FakeDevice(source=tone())
    with Denoiser(BYPASSED, device=device):
        device.advance(2.0)
    assert clickiness(device.output[9600:]) < 1e-5
