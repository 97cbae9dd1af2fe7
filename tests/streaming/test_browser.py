"""A real browser lists the virtual microphone, records from it, and hears the denoised voice."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pse_stream.dsp.spec import Float32s
from pse_stream.streaming.denoiser import Denoiser
from pse_stream.streaming.devices.pulse import PulseDevice
from pse_stream.streaming.settings import Settings

from ..conftest import ROOM
from ..soundcard import VirtualSoundcard
from .card_programs import Speaking
from .stubs import RATE, noise, shelf

pytestmark = [pytest.mark.soundcard, pytest.mark.browser]

SECONDS = 3
PATIENCE_S = 60.0
SIXTEEN_BIT = 4e-5  # the browser records 16 bit

PAGE = """<!doctype html><script>
const post = (where, body) => fetch(where, {method: 'POST', body});
const worklet = `registerProcessor('tap', class extends AudioWorkletProcessor {
  process(inputs) { if (inputs[0].length) this.port.postMessage(inputs[0][0].slice()); return true; } })`;
(async () => {
  await navigator.mediaDevices.getUserMedia({audio: true});
  const devices = (await navigator.mediaDevices.enumerateDevices()).filter(d => d.kind === 'audioinput');
  const wanted = devices.find(d => d.label.includes('Denoised'));
  const stream = await navigator.mediaDevices.getUserMedia({audio: {deviceId: {exact: wanted.deviceId},
    echoCancellation: false, noiseSuppression: false, autoGainControl: false, channelCount: 1, sampleRate: RATE}});
  const context = new AudioContext({sampleRate: RATE});
  await context.audioWorklet.addModule(URL.createObjectURL(new Blob([worklet], {type: 'text/javascript'})));
  const tap = new AudioWorkletNode(context, 'tap'), silent = new GainNode(context, {gain: 0});
  const sound = new Float32Array(RATE * SECONDS);
  let at = 0;
  tap.port.onmessage = async message => {
    if (at >= sound.length) return;
    const part = message.data.subarray(0, sound.length - at);
    sound.set(part, at);
    at += part.length;
    if (at >= sound.length) {
      await post('/sound', sound.buffer);
      await post('/done', JSON.stringify({labels: devices.map(d => d.label)}));
    }
  };
  context.createMediaStreamSource(stream).connect(tap).connect(silent).connect(context.destination);
})().catch(error => post('/done', JSON.stringify({error: String(error)})));
</script>""".replace("RATE", str(RATE)).replace("SECONDS", str(SECONDS))


class Site(ThreadingHTTPServer):
    """Serves the page and keeps what it sends."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.posted: dict[str, bytes] = {}
        self.done = threading.Event()


class _Handler(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        self._answer(PAGE.encode())

    def do_POST(self) -> None:
        self.server.posted[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(b"")
        if self.path == "/done":
            self.server.done.set()

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def site() -> Iterator[Site]:
    """A page on 127.0.0.1, which browsers take for secure."""
    server = Site()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def browse(site: Site, folder: Path) -> dict[str, Any]:
    """Let a headless browser open the page; what it said at the end."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    words = [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
             f"--user-data-dir={folder}", "--use-fake-ui-for-media-stream",
             "--autoplay-policy=no-user-gesture-required", f"http://127.0.0.1:{site.server_port}/"]  # fmt: skip
    with (folder / "browser.log").open("wb") as log:
        browser = subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True)
        try:
            finished = site.done.wait(PATIENCE_S)
        finally:
            os.killpg(browser.pid, signal.SIGKILL)
            browser.wait()
    assert finished, (folder / "browser.log").read_text()[-2000:]
    said: dict[str, Any] = json.loads(site.posted["/done"])
    assert "error" not in said, said
    return said


def correlation(heard: Float32s, period: Float32s) -> float:
    """How well the best tenth of a second of a recording is part of an endlessly repeated sound.

    Short, because a busy machine lets the browser lose blocks; chance alone gives such a piece of noise below 0.1.
    """
    length = RATE // 10
    twice = np.concatenate([period, period]).astype(np.float64)
    best = 0.0
    for at in range(len(heard) // 4, len(heard) - length, length):
        piece = heard[at : at + length].astype(np.float64)
        best = max(best, _best_match(twice, piece))
    return best


def _best_match(long: NDArray[np.float64], piece: NDArray[np.float64]) -> float:
    size = 1 << (len(long) + len(piece)).bit_length()
    match = np.fft.irfft(np.fft.rfft(long, size) * np.conj(np.fft.rfft(piece, size)), size)
    at = int(np.argmax(match[: len(long) - len(piece)]))
    return float(np.corrcoef(long[at : at + len(piece)], piece)[0, 1])


@pytest.mark.skipif(
    not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), reason="needs Chromium"
)
def test_s32_a_browser_lists_the_virtual_microphone_and_hears_the_voice(
    soundcard: VirtualSoundcard, site: Site, tmp_path: Path
) -> None:
    voice = noise(1.0)
    with (
        Denoiser(Settings(bypass=True, input="room"), device=PulseDevice(), engines=shelf()),
        Speaking(ROOM.sink, voice, seconds=PATIENCE_S),
    ):
        time.sleep(0.5)
        said = browse(site, tmp_path)
    labels = said["labels"]
    assert "Denoised Microphone" in labels
    assert not any("onitor" in label or "(feed)" in label for label in labels)
    heard = np.frombuffer(site.posted["/sound"], np.float32)
    assert len(heard) == SECONDS * RATE
    assert correlation(heard, voice) > 1 - 100 * SIXTEEN_BIT
