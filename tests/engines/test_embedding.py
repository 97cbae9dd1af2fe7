"""engines/gate/embedding.py and voice_package.py: the shipped voice network, and folders that are no such network."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from pse_stream.dsp.spec import ENGINE_RATE, STFTSpec
from pse_stream.dsp.stft import transform
from pse_stream.engines.gate.embedding import (
    ONE_VOICE,
    SHIPPED_FOLDER,
    SPEECH_PRESENCE,
    VoiceNetwork,
    VoiceStream,
    embed,
    mean_voice,
    readings,
    shipped_network,
    speech_share,
    voices_alike,
)
from pse_stream.engines.gate.voice_package import read_voice
from pse_stream.errors import EngineError


def talk(seed: int, seconds: float = 4.0, *, pitch: float = 120.0) -> np.ndarray:
    """Something like a voice: harmonics of a gliding pitch under two resonances, in syllables; (n,) float32."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * ENGINE_RATE)) / ENGINE_RATE
    glide = pitch * (1 + 0.15 * np.sin(2 * np.pi * 0.6 * t + rng.uniform(0, 6)))
    phase = 2 * np.pi * np.cumsum(glide) / ENGINE_RATE
    wave = np.zeros_like(t)
    for k in range(1, int(4000 / pitch)):
        f = k * pitch
        wave += (1 / (1 + ((f - 600) / 250) ** 2) + 0.4 / (1 + ((f - 1800) / 300) ** 2) + 0.02) * np.sin(k * phase)
    wave *= np.clip(0.6 + np.sin(2 * np.pi * 4 * t), 0.0, None)
    return (0.05 * wave / np.sqrt(np.mean(wave**2)) + 0.001 * rng.standard_normal(len(t))).astype(np.float32)


def test_a_vector_comes_every_quarter_of_a_second() -> None:
    network, frames = shipped_network(), transform(talk(0, 2.0), STFTSpec(ENGINE_RATE))
    stream = VoiceStream(network)
    times = [t for t, frame in enumerate(frames) if stream.push(frame) is not None]
    assert times == list(range(31, len(frames), 32))
    assert 0.25 <= network.block_hops / 125 <= 0.5


def test_vectors_are_unit_vectors_where_somebody_speaks() -> None:
    vectors = embed(talk(0))
    assert vectors.shape[1] == shipped_network().dim and len(vectors) > 5
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    assert np.linalg.norm(mean_voice(vectors)) == pytest.approx(1.0, abs=1e-5)


def test_one_voice_is_nearer_to_itself_than_to_another() -> None:
    low, again, high = (mean_voice(embed(talk(s, pitch=p))) for s, p in ((0, 110.0), (1, 110.0), (2, 230.0)))
    assert low @ again > low @ high + 0.2


@pytest.mark.parametrize("gain_db", [-30.0, 20.0])
def test_loudness_changes_nothing(gain_db: float) -> None:
    wave = talk(0) * np.float32(0.05)
    plain, scaled = mean_voice(embed(wave)), mean_voice(embed(wave * np.float32(10 ** (gain_db / 20))))
    assert plain @ scaled > 0.999


@pytest.mark.parametrize("sound", ["silence", "noise"])
def test_where_nobody_speaks_there_is_no_voice(sound: str) -> None:
    wave = np.zeros(3 * ENGINE_RATE, np.float32)
    if sound == "noise":
        wave += 0.03 * np.random.default_rng(0).standard_normal(len(wave)).astype(np.float32)
    assert all(r.presence < SPEECH_PRESENCE for r in readings(wave))
    assert embed(wave).shape == (0, shipped_network().dim)
    with pytest.raises(EngineError, match="no speech"):
        mean_voice(embed(wave))


def test_two_voices_are_told_from_one() -> None:
    one, two = embed(talk(0, 6.0, pitch=110.0)), embed(talk(1, 6.0, pitch=230.0))
    assert voices_alike(np.concatenate([one, one])) > ONE_VOICE > voices_alike(np.concatenate([one, two]))
    assert voices_alike(one[:5]) == 1.0


def test_the_share_of_speech_is_counted() -> None:
    voice = talk(0, 4.0)
    assert speech_share(voice) > 0.9
    assert speech_share(np.concatenate([voice, np.zeros(3 * len(voice), np.float32)])) == pytest.approx(0.25, abs=0.1)


def test_reset_is_fresh() -> None:
    stream, frames = VoiceStream(shipped_network()), transform(talk(0, 1.0), STFTSpec(ENGINE_RATE))
    first = [r.vector.copy() for f in frames if (r := stream.push(f)) is not None]
    stream.reset()
    again = [r.vector.copy() for f in frames if (r := stream.push(f)) is not None]
    np.testing.assert_array_equal(first, again)


def _copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SHIPPED_FOLDER, tmp_path / "voice"))


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        ("voice.toml", b"schema = 1", b"schema = 7", "reads schema = 1"),
        ("voice.toml", b"dim = ", b"dimm = ", "unknown field"),
        ("voice.toml", b"schema", b"= = schema", "not TOML"),
        ("card.md", b"#", b"-", "damaged or was changed"),
        ("voice.onnx", b"pytorch", b"pYtorch", "damaged or was changed"),
    ],
)
def test_a_changed_folder_is_refused(tmp_path: Path, file: str, old: bytes, new: bytes, words: str) -> None:
    folder = _copy(tmp_path)
    data = (folder / file).read_bytes()
    assert old in data
    (folder / file).write_bytes(data.replace(old, new, 1))
    with pytest.raises(EngineError, match=words):
        read_voice(folder)


def test_missing_and_linked_files_are_refused(tmp_path: Path) -> None:
    folder = _copy(tmp_path)
    (folder / "card.md").unlink()
    with pytest.raises(EngineError, match="missing"):
        read_voice(folder)
    (folder / "card.md").symlink_to(SHIPPED_FOLDER / "card.md")
    with pytest.raises(EngineError, match="link"):
        read_voice(folder)


def test_a_network_that_plays_something_else_is_refused(tmp_path: Path) -> None:
    package = read_voice(SHIPPED_FOLDER)
    package.golden["voice"][:] = -package.golden["voice"]
    with pytest.raises(EngineError, match="golden"):
        VoiceNetwork(package)
