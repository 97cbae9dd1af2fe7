"""A sound server on paper: what `pactl` would print, with every fact of it at hand to be changed."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Sequence
from typing import Any

import pytest

from pse_stream.errors import DeviceError
from pse_stream.streaming.sound_server import SoundServer

MIC, FEED, MONITOR, VIRTUAL = 1, 2, 3, 4
OUR_PID = 4711


def source(index: int, name: str, description: str, **more: Any) -> dict[str, Any]:
    row = {
        "index": index,
        "name": name,
        "description": description,
        "sample_specification": "float32le 1ch 48000Hz",
        "mute": False,
        "volume": {"mono": {"value_percent": "100%"}},
        "state": "RUNNING",
        "monitor_source": "",
        "properties": {},
    }
    return row | more


class PaperServer:
    """A healthy desktop: a microphone, our virtual one, a browser that listens to it."""

    def __init__(self) -> None:
        ours = {"application.id": "pse-stream"}
        self.info = {"server_name": "pulseaudio", "default_source_name": "usb_mic", "default_sink_name": "speakers"}
        self.sources = [
            source(MIC, "usb_mic", "USB PnP"),
            source(MONITOR, "speakers.monitor", "Monitor of Speakers", monitor_source="speakers"),
            source(VIRTUAL, "pse_mic", "Denoised Microphone", properties=ours),
        ]
        self.sinks = [source(FEED, "speakers", "Speakers")]
        self.recordings = [self.reader("firefox", VIRTUAL), self.reader("pse-stream", MIC, OUR_PID)]
        self.modules: list[tuple[int, str, str]] = []
        self.down = False

    def reader(self, program: str, endpoint: int, pid: int = 99) -> dict[str, Any]:
        return {
            "index": 7,
            "source": endpoint,
            "corked": False,
            "properties": {"application.process.id": str(pid), "application.process.binary": program},
        }

    def add_leftover(self, pid: int) -> None:
        owner = f"application.id='pse-stream' pse.pid='{pid}' pse.start='1'"
        arguments = f'sink_name=pse_mic_sink rate=48000 sink_properties="{owner}"'
        self.modules.append((30, "module-null-sink", arguments))

    def run(self, words: Sequence[str]) -> str:
        if self.down:
            raise DeviceError("no sound server answers at x.", name="server_down", hint="Over ssh? Try: enable-linger")
        if list(words[:3]) == ["list", "short", "modules"]:
            return "".join(f"{index}\t{name}\t{arguments}\n" for index, name, arguments in self.modules)
        answers = {
            ("info",): self.info,
            ("list", "sources"): self.sources,
            ("list", "sinks"): self.sinks,
            ("list", "source-outputs"): self.recordings,
        }
        return json.dumps(copy.deepcopy(answers[tuple(words[1:])]))

    @property
    def server(self) -> SoundServer:
        return SoundServer(self.run)


@pytest.fixture
def paper() -> PaperServer:
    """A sound server on paper."""
    return PaperServer()


@pytest.fixture(autouse=True)
def home(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's configuration."""
    for name in list(os.environ):
        if name.startswith(("XDG_", "PSE_STREAM_", "SSH_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
