"""The head above 8 kHz: what learns is what plays, the loss wants what is wanted, and a short training learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from pse_stream.dsp.clues import BANDS, KEPT, LOW_BANDS, N_CLUES
from pse_stream.dsp.highband import JUDGED, Head
from pse_stream.training.corpus import CorpusError
from pse_stream.training.highband import SHARES, Examples, HeadNet, bounded, loss, train, with_memories
from pse_stream.training.wideband import SAMPLES, SPOILED, TRUTH, hear, mixture, read_groups

RATE = 48_000


def _clues(clips: int, hops: int, seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    clues = rng.normal(-6.0, 2.0, (clips, hops, N_CLUES)).astype(np.float32)
    clues[..., KEPT] = 0.5  # where nothing is bounded
    clues[..., -1] = 1.0
    return torch.tensor(clues)


def _examples(clips: int = 12, hops: int = 330) -> Examples:
    """A voice in every other second over steady hiss; the engine is right."""
    rng = np.random.default_rng(1)
    speaks = torch.tensor((np.arange(hops) // 60 % 2 == 1)[None].repeat(clips, 0))
    voice = torch.tensor(rng.gamma(2.0, 0.5, (clips, hops, JUDGED)).astype(np.float32)) * speaks[..., None]
    noisy = voice + 0.1 * torch.tensor(rng.gamma(2.0, 0.5, voice.shape).astype(np.float32))
    clues = _clues(clips, hops)
    clues[..., LOW_BANDS:BANDS] = torch.log(noisy)
    clues[..., 2 * BANDS : 2 * BANDS + LOW_BANDS] = torch.where(speaks, 0.0, -6.0)[..., None]
    heard = with_memories(clues)
    return Examples(
        noisy, voice, voice, ~speaks, speaks, torch.ones(clips, dtype=torch.bool),
        {spoiled + name: heard for spoiled in ("", SPOILED) for name in SHARES},
    )  # fmt: skip


def test_the_folded_head_plays_what_the_network_says():
    torch.manual_seed(3)
    clues = _clues(1, 50)
    net = HeadNet(10, 6)
    net.settle(with_memories(clues).float())
    with torch.no_grad():
        wanted = net(with_memories(clues).float())[0].numpy()
    arrays = net.fold()
    head = Head((arrays["frame"], arrays["band"], arrays["mid"], arrays["tell"]))
    played = np.zeros_like(wanted)
    for row, out in zip(clues[0].numpy(), played, strict=True):
        head.now[:] = row
        head.process(out=out)
    assert wanted.std() > 1e-3
    np.testing.assert_allclose(played, wanted, atol=5e-3)  # the network's memories are in half precision


def test_bounds_are_those_of_the_live_path():
    gains = torch.full((1, 4, JUDGED), 0.5)
    made = bounded(gains, torch.tensor([[1.0, 0.5, 1e-4, 1e-8]]))[0, :, 0]
    np.testing.assert_allclose(made, [1.0, 0.5, 0.5, 0.005], rtol=1e-3)


def test_the_loss_prefers_right_gains():
    examples = _examples()
    right = examples.voice / examples.noisy
    assert loss(right, examples) < loss(torch.ones_like(right), examples) - 3.0
    assert loss(right, examples) < loss(0.3 * right, examples) - 3.0


def test_a_short_training_learns():
    examples = _examples()
    heard = examples.clues["wiener"].float()
    torch.manual_seed(1)
    with torch.no_grad():
        before = loss(HeadNet(8, 4)(heard), examples)
    net = train(examples, size=8, mid=4, updates=40, seed=1)
    with torch.no_grad():
        after = loss(net(heard), examples)
    assert after < before - 3.0


def test_a_mixture_is_a_function_of_its_number():
    rng = np.random.default_rng(0)
    speech = {"a": [rng.normal(size=RATE).astype(np.float32)], "b": [rng.normal(size=2 * RATE).astype(np.float32)]}
    noise = {"x": [rng.normal(size=9 * RATE).astype(np.float32)]}
    first, again, other = (mixture(speech, noise, 1, index) for index in (0, 0, 1))
    assert first[0].shape == first[1].shape == (SAMPLES,)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    level = 10 * np.log10(np.mean((first[0] + first[1]) ** 2))
    assert -36.0 < level < -19.0


def test_a_mixture_is_heard_through_the_transform():
    rng = np.random.default_rng(0)
    voice = (0.1 * rng.normal(size=RATE)).astype(np.float32)
    noise = (0.01 * rng.normal(size=RATE)).astype(np.float32)
    example = hear(voice, noise, {}, rng)
    hops = len(example.voice_low)
    assert example.noisy.shape == example.voice.shape == example.shared.shape == (hops, JUDGED)
    np.testing.assert_allclose(example.shared.sum() / example.noisy.sum(), 100 / 101, atol=0.01)
    assert set(example.clues) == {TRUTH, SPOILED + TRUTH}
    assert example.clues[TRUTH][20:-4, KEPT].mean() > 0.9
    assert (example.clues[SPOILED + TRUTH][:, KEPT] <= example.clues[TRUTH][:, KEPT].max()).all()


def test_recordings_are_read_by_speaker(tmp_path: Path):
    with pytest.raises(CorpusError, match="no recordings"):
        read_groups(tmp_path)
    (tmp_path / "anna").mkdir()
    soundfile.write(tmp_path / "anna" / "1.wav", np.zeros(100, np.float32), RATE)
    assert [len(x) for x in read_groups(tmp_path)["anna"]] == [100]
    soundfile.write(tmp_path / "anna" / "2.wav", np.zeros(100, np.float32), 16_000)
    with pytest.raises(CorpusError, match="16000 Hz"):
        read_groups(tmp_path)
