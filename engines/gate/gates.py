"""From voice readings to a specialist: evidence, scores, and a choice that does not flutter.

Every gate here is one linear head on the same evidence, so that all ensembles share one small network:

    evidence = [voice vector of the last seconds of speech (unit length), SNR of the last second / 10 dB, 1]
    score_k  = softmax_k(weights_k . evidence)

SNR classes (nearest centre), voice classes (logistic) and speaker groups (nearest centroid) are such heads, and so is
whatever joint fine-tuning makes of them. Switching: a newcomer must lead by a factor of two, twice in a row.
"""

from __future__ import annotations

import math

import numpy as np

from pse_stream.dsp.spec import Float32s
from pse_stream.engines.gate.embedding import VoiceReading

BLOCK_S = 0.256  # between two readings
VOICE_S = 2.0  # time constant of the voice vector, in seconds of speech
SNR_S = 1.0  # time constant of the SNR, in seconds of speech
SPEECH_PRESENCE = 0.3  # a block with less speech tells nothing
FIRST_S = 0.5  # of speech before the first choice: two blocks
LEAD = math.log(2.0)  # a newcomer's score must be this much higher, in nats
TIMES = 2  # and so many readings in a row
SNR_SCALE_DB = 10.0


class Evidence:
    """What was heard of a speaker lately; one array that a head reads."""

    def __init__(self, dim: int) -> None:
        self._voice = np.zeros(dim, np.float64)
        self.vector = np.zeros(dim + 2, np.float32)  # [unit voice vector, SNR / 10 dB, 1]
        self.reset()

    def hear(self, reading: VoiceReading) -> bool:
        """Take a reading in; False if it told nothing because nobody spoke."""
        if reading.presence < SPEECH_PRESENCE:
            return False
        share = max(1.0 - math.exp(-BLOCK_S / VOICE_S), 1.0 / (self.readings + 1))
        self._voice += share * (reading.presence * reading.vector - self._voice)
        share = max(1.0 - math.exp(-BLOCK_S / SNR_S), 1.0 / (self.readings + 1))
        self._snr_db += share * (reading.snr_db - self._snr_db)
        self.readings += 1
        self.vector[:-2] = self._voice / max(math.sqrt(self._voice.dot(self._voice)), 1e-9)
        self.vector[-2] = self._snr_db / SNR_SCALE_DB
        self.vector[-1] = 1.0
        return True

    @property
    def seconds(self) -> float:
        """Seconds of speech heard."""
        return self.readings * BLOCK_S

    def reset(self) -> None:
        """Nothing was heard."""
        self._voice.fill(0.0)
        self._snr_db = 0.0
        self.readings = 0
        self.vector.fill(0.0)


class Gate:
    """Choose one of K specialists, reading by reading.

    Parameters
    ----------
    weights : (K, dim + 2) float32
        The linear head.
    """

    def __init__(self, weights: Float32s) -> None:
        self.weights = np.asarray(weights, np.float32)
        self.evidence = Evidence(self.weights.shape[1] - 2)
        self.scores = np.zeros(len(self.weights), np.float32)  # shares that sum to 1; zeros before the first choice
        self.chosen = -1  # index of the specialist; -1: not enough was heard
        self._rival, self._times = -1, 0

    def hear(self, reading: VoiceReading) -> bool:
        """Take a reading in; True if the choice changed."""
        if not self.evidence.hear(reading) or self.evidence.seconds < FIRST_S:
            return False
        logits = self.weights.dot(self.evidence.vector)
        self.scores = softmax(logits)
        best = int(logits.argmax())
        if self.chosen < 0:
            self.chosen = best
            return True
        if best == self.chosen or logits[best] - logits[self.chosen] < LEAD:
            self._rival, self._times = -1, 0
            return False
        self._times = self._times + 1 if best == self._rival else 1
        self._rival = best
        if self._times < TIMES:
            return False
        self.chosen, self._rival, self._times = best, -1, 0
        return True

    def reset(self) -> None:
        """Nothing was heard, nothing is chosen."""
        self.evidence.reset()
        self.scores = np.zeros(len(self.weights), np.float32)
        self.chosen, self._rival, self._times = -1, -1, 0


def softmax(logits: Float32s) -> Float32s:
    """Shares that sum to 1, (K,)."""
    powers = np.exp(logits - logits.max())
    return np.asarray(powers / powers.sum(), np.float32)


def snr_head(centres_db: list[float], dim: int, *, sharpness: float = 4.0) -> Float32s:
    """The head that takes the nearest of some SNRs: -(snr - c)^2 without the term that all share, (K, dim + 2)."""
    head = np.zeros((len(centres_db), dim + 2), np.float32)
    centres = np.array(centres_db) / SNR_SCALE_DB
    head[:, -2], head[:, -1] = 2 * sharpness * centres, -sharpness * centres**2
    return head


def centroid_head(centroids: Float32s, *, sharpness: float = 10.0) -> Float32s:
    """The head that takes the nearest of some unit vectors, (K, dim) -> (K, dim + 2)."""
    head = np.zeros((len(centroids), centroids.shape[1] + 2), np.float32)
    head[:, :-2] = sharpness * centroids
    return head
