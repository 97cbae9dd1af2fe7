"""The gate through the facade: pinned, switched off and left to choose while sound flows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pse_stream.engines.contract import Engine
from pse_stream.engines.specialists import GENERALIST, SpecialistsEngine
from pse_stream.errors import EngineError
from pse_stream.streaming.denoiser import Denoiser
from pse_stream.streaming.devices.fake import FakeDevice
from pse_stream.streaming.offline import enhance_samples
from pse_stream.streaming.settings import SetEngine, SetGate, Settings

from ..engines.ensembles import ensemble
from ..engines.networks import GAIN_STATES, gain_graph
from ..engines.test_embedding import talk
from .stubs import RATE, clickiness, shelf, tone

GAINS = (0.9, 0.5, 0.25)  # generalist, part-0, part-1


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Engine]:
    """A shelf that also has an ensemble; its gate finds both alike, so it takes the first."""
    folder = tmp_path_factory.mktemp("ensembles") / "gains"
    made = SpecialistsEngine(ensemble(folder, [(gain_graph(gain), GAIN_STATES) for gain in GAINS]))
    plain = shelf()
    return lambda id: made.fork() if id == "ensemble" else plain(id)


def running(engines: Callable[[str], Engine], device: FakeDevice, gate: str = "auto") -> Denoiser:
    denoiser = Denoiser(Settings(engine="ensemble", gate=gate, attenuation_db=100.0), device=device, engines=engines)
    denoiser.start()
    device.advance(0.5)
    return denoiser


def level(device: FakeDevice, seconds: float = 0.05) -> float:
    return float(np.abs(device.output[-int(seconds * RATE) :]).max())


def test_a_pin_is_heard_within_a_tenth_of_a_second_without_a_click_or_a_hole(engines) -> None:
    device = FakeDevice(source=tone())
    denoiser = running(engines, device, "part-0")
    loud = level(device) / GAINS[1]
    delay_s = denoiser.snapshot.latency.total_ms / 1000
    for name, gain in (("part-1", GAINS[2]), ("off", GAINS[0]), ("part-0", GAINS[1])):
        future = denoiser.submit(SetGate(name))
        device.advance(0.1 + delay_s + 0.05)  # the last 50 ms are looked at
        assert level(device) == pytest.approx(gain * loud, rel=0.02)
        assert future.result(timeout=0).changed["gate"][1] == name
        assert denoiser.snapshot.gate.active == (GENERALIST if name == "off" else name)
    assert clickiness(device.output) < 0.01
    counters = denoiser.snapshot.counters
    assert (counters.dropped_hops, counters.underruns, counters.overruns) == (0, 0, 0)
    denoiser.stop()


def test_left_alone_the_gate_chooses_and_tells_its_scores(engines) -> None:
    voice = np.tile(np.repeat(talk(0, 4.0), RATE // 16000), 2)
    device = FakeDevice(source=lambda start, n: np.resize(np.roll(voice, -start), n))
    denoiser = running(engines, device)
    device.advance(2.0)
    gate = denoiser.snapshot.gate
    assert gate.active == "part-0"
    assert gate.scores == pytest.approx({"part-0": 0.5, "part-1": 0.5})
    denoiser.stop()


def test_an_unknown_specialist_is_refused_and_changes_nothing(engines) -> None:
    device = FakeDevice(source=tone())
    denoiser = running(engines, device, "part-1")
    future = denoiser.submit(SetGate("part-7"))
    device.advance(0.05)
    error = future.exception(timeout=0)
    assert isinstance(error, EngineError) and error.name == "unknown_specialist"
    assert denoiser.snapshot.settings.gate == denoiser.snapshot.gate.active == "part-1"
    denoiser.stop()


def test_an_engine_without_the_pinned_specialist_says_so_and_plays(engines) -> None:
    device = FakeDevice(source=tone())
    denoiser = running(engines, device, "part-1")
    denoiser.submit(SetEngine("levels"))
    device.advance(0.5)
    snapshot = denoiser.snapshot
    assert snapshot.engine.id == "levels" and snapshot.gate.active == "" and snapshot.gate.scores == {}
    assert any("no specialists" in event for event in snapshot.events)
    denoiser.submit(SetEngine("ensemble"))
    device.advance(0.5)
    assert denoiser.snapshot.gate.active == "part-1"
    denoiser.stop()


def test_a_wrong_pin_at_the_start_is_an_error_before_sound_flows(engines) -> None:
    with pytest.raises(EngineError, match="expected auto, off or one of part-0, part-1"):
        Denoiser(Settings(engine="ensemble", gate="part-9"), device=FakeDevice(source=tone()), engines=engines)


def test_files_are_enhanced_with_the_same_pin(engines) -> None:
    engine, voice = engines("ensemble"), talk(0, 1.0)
    engine.set_gate("part-1")
    clean = enhance_samples(voice, 16000, engine, attenuation_db=100.0)
    np.testing.assert_allclose(clean[2000:-500], GAINS[2] * voice[2000:-500], atol=1e-4)
