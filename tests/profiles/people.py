"""A profile with everything in it, small, for tests."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from pse_stream.dsp.spec import Float32s
from pse_stream.profiles.adapted import install
from pse_stream.profiles.profile import Profile, read_profile
from pse_stream.profiles.session_writer import SEGMENT_HOPS, SessionWriter
from pse_stream.profiles.sessions import new_session_folder
from pse_stream.profiles.store import new_profile

from ..engines.networks import GAIN_STATES, gain_graph, package

RATE, HOP = 8_000, 64
LONG_AGO = datetime(2026, 5, 2, 10, 11, 12, tzinfo=UTC)


def hops(count: int, *, seed: int = 0) -> Float32s:
    """(count * HOP,) float32 noise at the level of speech."""
    return (0.1 * np.random.default_rng(seed).standard_normal(count * HOP)).clip(-1, 1).astype(np.float32)


def record(
    profile: Profile, *, began: datetime = LONG_AGO, count: int = 10, seed: int = 0, end: bool = True
) -> SessionWriter:
    """A session of `count` hops at 8 kHz; the output is half the input."""
    writer = SessionWriter(
        new_session_folder(profile, began), sample_rate=RATE, facts={"profile": profile.id}, began=began
    )
    writer.note({"engine": "wiener", "level": 1})
    noisy = hops(count, seed=seed)
    writer.write(noisy, noisy / 2)
    if end:
        writer.close("stopped")
    return writer


def adapt(
    profile: Profile, scratch: Path, id: str = "2026-05-02a", *, gain: float = 0.5, sessions: tuple[str, ...] = ()
) -> Profile:
    """Put an adapted package into a profile; it multiplies by `gain`."""
    made = package(scratch / f"package-{id}", [(gain_graph(gain), GAIN_STATES)])
    about = {"sessions": list(sessions), "parent_sha256": "0" * 64, "method": "a test", "verified": "+1.0 dB, n=3"}
    return install(profile, made.folder, about, id=id)


def full_profile(scratch: Path, name: str = "alice") -> Profile:
    """Settings with comments, an adapted model, a voice, a clip, two sessions, a file of somebody else's."""
    profile = new_profile(name, title="Alice", settings={"attenuation_db": 12.0, "engine": "wiener"})
    path = profile.folder / "profile.toml"
    path.write_text(path.read_text() + "\n# mine\n[keyboard]\nclicks = [1, 2]   # kept\n")
    enrolment = profile.folder / "enrolment"
    (enrolment / "clips").mkdir(parents=True)
    (enrolment / "voice.toml").write_text("schema = 1\nvector = [0.1, 0.2]\n")
    (enrolment / "clips" / "block-1.flac").write_bytes(b"fLaC not really")
    for number in range(2):
        record(profile, began=LONG_AGO + timedelta(hours=number), count=SEGMENT_HOPS + 5, seed=number)
    (profile.folder / "notes.txt").write_text("not ours")
    return adapt(read_profile(profile.folder), scratch)


def tree(folder: Path) -> dict[str, bytes]:
    """Every file beneath a folder, by its name."""
    found = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent) / name
            found[str(path.relative_to(folder))] = b"" if path.is_symlink() else path.read_bytes()
    return found
