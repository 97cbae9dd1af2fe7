"""Enrolment: every way in which a recording can be useless is named, and what is kept is what was agreed to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from pse_stream.dsp.spec import Float32s
from pse_stream.errors import ConfigError, ConsentError
from pse_stream.profiles.consent import agree, read_consent
from pse_stream.profiles.enrolment import (
    Enrolment,
    VoiceModel,
    forget,
    mixed_down,
    read_voice,
    shipped_model,
    two_voices,
)
from pse_stream.profiles.profile import Profile
from pse_stream.profiles.store import new_profile
from pse_stream.profiles.takes import RATE, examine

from .people import tree
from .voices import fake_vectors, knocks, organ, voice

MODEL = VoiceModel("fake", "f" * 64, fake_vectors)


@pytest.fixture
def bob() -> Profile:
    return new_profile("bob")


def hiss(level: float) -> Float32s:
    return (level * np.random.default_rng(3).standard_normal(10 * RATE)).astype(np.float32)


def test_a_good_recording_has_nothing_wrong_with_it() -> None:
    found = examine(voice(10.0), needed_s=4.0)
    assert found.faults == ()
    assert found.seconds == 10.0
    assert found.speech_s > 5.0
    assert found.snr_db > 25.0


@pytest.mark.parametrize(
    ("sound", "name"),
    [
        (np.zeros(10 * RATE, np.float32), "silent"),
        (hiss(3e-4), "silent"),
        (np.zeros(0, np.float32), "silent"),
        (np.full(10 * RATE, np.nan, np.float32), "silent"),
        (voice(10.0, level=0.012), "quiet"),
        (np.clip(12.0 * voice(10.0), -1.0, 1.0), "clipped"),
        (voice(2.0), "short"),
        (voice(10.0) + hiss(0.03), "noisy"),
        (hiss(0.1), "noisy"),
        (organ(10.0), "music"),
        (knocks(10.0), "no_speech"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_useless_is_refused_with_its_reason(sound: Float32s, name: str) -> None:
    enrolment = Enrolment(MODEL)
    found = enrolment.add("take", sound, needed_s=4.0)
    assert [fault.name for fault in found.faults][-1] == name
    assert all(fault.text[0].islower() and fault.advice.endswith((".", "doctor")) for fault in found.faults)
    assert enrolment.takes == []


@settings(max_examples=12, deadline=None)
@given(gain_db=st.floats(-12.0, 10.0), pitch=st.floats(90.0, 240.0), seed=st.integers(0, 99))
def test_level_and_pitch_of_a_voice_do_not_decide(gain_db: float, pitch: float, seed: int) -> None:
    sound = voice(6.0, pitch_hz=pitch, seed=seed) * np.float32(10 ** (gain_db / 20))
    assert examine(sound, needed_s=2.0).faults == ()


def test_a_block_can_be_done_again_and_all_of_it_must_be_enough(bob: Profile) -> None:
    enrolment = Enrolment(MODEL)
    enrolment.add("block 1", voice(3.0, seed=1))
    assert enrolment.fault() is not None
    with pytest.raises(ConfigError) as caught:
        enrolment.finish(bob, keep_clips=False, source="a test")
    assert caught.value.name == "enrol_short"
    assert not (bob.folder / "enrolment").exists()
    enrolment.add("block 1", voice(10.0, seed=2))
    assert len(enrolment.takes) == 1
    assert enrolment.speech_s > 5.0
    enrolment.add("block 1", organ(10.0))  # a bad one does not take the place of a good one
    assert enrolment.fault() is None


def test_two_voices_are_refused(bob: Profile) -> None:
    enrolment = Enrolment(MODEL)
    enrolment.add("low", voice(14.0, pitch_hz=110.0))
    assert enrolment.fault() is None
    enrolment.add("high", voice(14.0, pitch_hz=230.0))
    with pytest.raises(ConfigError, match=r"two voices: [345]\d %") as caught:
        enrolment.finish(bob, keep_clips=False, source="a test")
    assert caught.value.name == "enrol_two_voices"
    enrolment.drop("high")
    assert enrolment.fault() is None


def test_two_voices_need_time_and_a_part_of_their_own() -> None:
    one, other = np.array([1.0, 0.0], np.float32), np.array([0.0, 1.0], np.float32)
    assert two_voices(np.stack([one, other] * 10)) is None  # every quarter second another: nothing can be told
    assert two_voices(np.stack([one] * 16 + [other] * 8)) is None  # too short
    assert two_voices(np.stack([one] * 72 + [other] * 8)) is None  # a cough
    assert two_voices(np.stack([one] * 32 + [other] * 32)) is not None
    assert two_voices(np.stack([one] * 64)) is None


def test_the_voice_is_kept_with_its_network_and_the_clips_are_not(bob: Profile) -> None:
    assert read_voice(bob) is None
    enrolment = Enrolment(MODEL)
    enrolment.add("block 1", voice(12.0))
    kept = enrolment.finish(bob, keep_clips=False, source="a test")
    assert kept is not None
    assert set(tree(bob.folder)) == {"profile.toml", "enrolment/voice.toml"}
    found = read_voice(bob)
    assert found is not None
    np.testing.assert_allclose(found.vector, kept.vector, atol=1e-6)
    assert (found.network, found.fits(MODEL), found.made) == ("fake", True, kept.made)
    assert not found.fits(VoiceModel("other", "0" * 64, fake_vectors))


def test_clips_need_consent_before_the_first_byte(bob: Profile, tmp_path: Path) -> None:
    enrolment = Enrolment(MODEL)
    sound = voice(12.0)
    enrolment.add("block 1", sound)
    before = tree(tmp_path)
    with pytest.raises(ConsentError, match="keeping clips"):
        enrolment.finish(bob, keep_clips=True, source="a test")
    assert tree(tmp_path) == before
    agree(bob, "enrol", by="a test")
    enrolment.finish(bob, keep_clips=True, source="a test")
    clip, rate = soundfile.read(bob.folder / "enrolment/clips/take-01.flac")
    assert rate == RATE
    np.testing.assert_allclose(clip, sound, atol=2**-15)
    assert forget(bob) == 2
    assert set(tree(bob.folder)) == {"profile.toml"}
    assert read_consent(bob, "enrol") is None


def test_a_second_enrolment_takes_the_place_of_the_first(bob: Profile) -> None:
    agree(bob, "enrol", by="a test")
    first, second = Enrolment(MODEL), Enrolment(MODEL)
    for number in range(2):
        first.add(f"{number}", voice(8.0, seed=number))
    second.add("only", voice(12.0, pitch_hz=230.0))
    first.finish(bob, keep_clips=True, source="a test")
    before = read_voice(bob)
    second.finish(bob, keep_clips=True, source="a test")
    after = read_voice(bob)
    assert before is not None
    assert after is not None
    assert not np.allclose(before.vector, after.vector)
    assert [path.name for path in (bob.folder / "enrolment" / "clips").iterdir()] == ["take-01.flac"]
    assert not list(bob.folder.glob(".draft*"))


def test_without_a_network_only_clips_can_be_kept(bob: Profile) -> None:
    enrolment = Enrolment(None)
    enrolment.add("block 1", voice(12.0))
    with pytest.raises(ConfigError) as caught:
        enrolment.finish(bob, keep_clips=False, source="a test")
    assert caught.value.name == "no_voice_network"
    agree(bob, "enrol", by="a test")
    assert enrolment.finish(bob, keep_clips=True, source="a test") is None
    assert (bob.folder / "enrolment/clips/take-01.flac").is_file()


@pytest.mark.parametrize("text", ["vector = [1.0]\n", "vector = [0.0, 0.0]\nnetwork = 'x'\n", "vector = 'x'\n"])
def test_a_voice_that_makes_no_sense_is_named(bob: Profile, text: str) -> None:
    (bob.folder / "enrolment").mkdir()
    (bob.folder / "enrolment" / "voice.toml").write_text(text)
    with pytest.raises(ConfigError, match="Enrol again"):
        read_voice(bob)


def test_the_louder_channel_counts() -> None:
    sides = np.stack([0.1 * voice(1.0), voice(1.0)], axis=1)
    np.testing.assert_array_equal(mixed_down(sides), sides[:, 1])
    np.testing.assert_array_equal(mixed_down(sides[:, 0]), sides[:, 0])


def test_the_shipped_network_makes_unit_vectors_of_its_size() -> None:
    model = shipped_model()
    if model is None:
        pytest.skip("no voice network is shipped")
    vectors = model.embed(voice(6.0))
    assert vectors.ndim == 2
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-4)
