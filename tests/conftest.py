"""Fixtures that several floors use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from . import soundcard as card

#: What the virtual card has: two microphones, one in stereo, and a loudspeaker that is the default output.
ROOM = card.Cable("room")
DESK = card.Cable("desk")
STEREO = card.Cable("stereo", channels=2)
SPEAKER = card.Cable("speaker")


def own_soundcard() -> Iterator[card.VirtualSoundcard]:
    """A sound server of the tests' own, with the cables above; nothing of the user's is touched."""
    if not card.available():
        pytest.skip("needs pulseaudio, pulseaudio-utils and util-linux")
    with card.VirtualSoundcard([ROOM, DESK, STEREO, SPEAKER]) as running:
        yield running


soundcard = pytest.fixture(own_soundcard, scope="module", name="soundcard")
