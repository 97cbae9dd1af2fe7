"""The teacher: what a person's recordings sound like to the best networks that are installed.

A teacher is one engine or the mean of several outputs: errors of different networks are different, so their mean is
nearer to the speech than any of them. Each recording is listened to once; the result is kept beside the job.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pse_stream.engines.contract import Engine
from pse_stream.errors import EngineError
from pse_stream.training.evaluate import enhance
from pse_stream.training.export import played

Float32s = NDArray[np.float32]
System = Callable[[Float32s], Float32s]
BEST = "best-installed"
BEST_ENGINES = ("house-m", "gru-256")  # the best, and one of another family: as much SI-SDR, and more PESQ than either


class Teacher:
    """One engine or the mean of several.

    Parameters
    ----------
    systems : sequence of functions
        At least one; each gives the speech in a recording, (n,) float32 at 16 kHz, same length.
    identity : str
        Names networks and versions: labels of another teacher are never taken for this one's.
    """

    def __init__(self, systems: Sequence[System], identity: str) -> None:
        self._systems, self.identity = tuple(systems), identity

    def speech(self, noisy: Float32s) -> Float32s:
        """The speech in `noisy`; (n,) float32 at 16 kHz, same length."""
        return np.mean([system(noisy) for system in self._systems], axis=0, dtype=np.float32)


def open_teacher(name: str, open_engine: Callable[[str], Engine]) -> Teacher:
    """A teacher by the id of an engine, ids joined by `+`, or `best-installed`.

    Raises
    ------
    EngineError
        "no_teacher" if none of the best is installed; or as opening an engine raises.
    """
    if name != BEST:
        return _together([open_engine(id) for id in name.split("+")])
    engines, missing = [], []
    for id in BEST_ENGINES:
        try:
            engines.append(open_engine(id))
        except EngineError as error:
            missing.append(error)
    if not engines:
        raise EngineError(
            f"no teacher is installed: {missing[0].text}",
            name="no_teacher",
            hint=f"Name another engine: --teacher ID; {BEST} means {' and '.join(BEST_ENGINES)}.",
        )
    return _together(engines)


def _together(engines: Sequence[Engine]) -> Teacher:
    identity = "+".join(f"{engine.info.id}@{engine.info.version}" for engine in engines)
    return Teacher([_system(engine) for engine in engines], identity)


def _system(engine: Engine) -> System:
    """Whole recordings at once where the engine is a network of ours, 20 times as fast; else hop by hop as live."""
    from pse_stream.engines.onnx import OnnxEngine
    from pse_stream.training.start import trainable

    if isinstance(engine, OnnxEngine):
        try:
            model = trainable(engine.package)
        except EngineError:
            pass  # another family: hop by hop
        else:
            return lambda noisy: played(model, [noisy])[0]
    return lambda noisy: enhance(engine, noisy)


def labelled(teacher: Teacher, noisy: Float32s, folder: Path | None) -> Float32s:
    """As `Teacher.speech`, from `folder` if this very recording was listened to before."""
    if folder is None:
        return teacher.speech(noisy)
    key = hashlib.sha256(teacher.identity.encode() + np.ascontiguousarray(noisy).tobytes()).hexdigest()[:24]
    path = folder / f"{key}.npy"
    try:
        found = np.load(path, allow_pickle=False)
        if found.shape == noisy.shape and found.dtype == np.float32 and np.isfinite(found).all():
            return found
    except (OSError, ValueError, EOFError):
        pass  # not there, or torn by a crash: listened to again
    speech = teacher.speech(noisy)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.part")
    with partial.open("wb") as file:
        np.save(file, speech)
    os.replace(partial, path)
    return speech
