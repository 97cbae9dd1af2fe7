"""The sound server and who is connected to what; each function looks at one link and says what it saw."""

from __future__ import annotations

import os
from collections.abc import Iterator

from pse_stream.errors import DeviceError
from pse_stream.streaming.devices.base import DeviceInfo
from pse_stream.streaming.devices.names import match
from pse_stream.streaming.health.finding import Finding, fail, ok, refused, warn
from pse_stream.streaming.sound_server import Connection, Endpoint, SoundServer
from pse_stream.streaming.virtual_mic import BASE_NAME, leftovers

FULL_PERCENT = 100.0
BLUETOOTH_PHONE = ("headset", "handsfree", "hsp", "hfp")  # profiles that turn music into a telephone


class SoundCheck:
    """Look at every link between the microphone and the programs.

    Parameters
    ----------
    server : SoundServer
    running : frozenset of int
        Process ids of pse-streams that run.
    wanted : str
        The microphone asked for; "auto" is the default one.
    """

    def __init__(self, server: SoundServer, *, running: frozenset[int] = frozenset(), wanted: str = "auto") -> None:
        self._server, self._running, self._wanted = server, running, wanted
        self._default_source = ""
        self.sources: list[Endpoint] = []
        self.recordings: list[Connection] = []

    def findings(self) -> Iterator[Finding]:
        """In the order that sound takes; nothing more when the server does not answer."""
        try:
            info = self._server.info()
        except DeviceError as error:
            yield refused("server", error)
            return
        yield ok("server", info.get("server_name", "unknown"))
        self._default_source = info.get("default_source_name", "")
        self.sources, self.recordings = self._server.sources(), self._server.recordings()
        yield from self._defaults(info)
        yield from self._microphone()
        yield from self._virtual()
        yield from self._raw_readers()
        yield from self._loops()
        yield from self._echo()
        yield from self._orphans()

    def microphone(self) -> Endpoint:
        """The source that a start would take.

        Raises
        ------
        DeviceError
            As the start would: "no_mic", "ambiguous" or "own_source".
        """
        infos = [
            DeviceInfo(
                name=source.name,
                title=source.description,
                direction="input",
                is_monitor=bool(source.monitor_of),
                is_ours=source.is_ours,
                is_default=source.name == self._default_source,
            )
            for source in self.sources
        ]
        chosen = match(infos, self._wanted, "input")
        return next(source for source in self.sources if source.name == chosen.name)

    def _defaults(self, info: dict[str, str]) -> Iterator[Finding]:
        sink = info.get("default_sink_name", "")
        if sink.startswith(BASE_NAME):
            yield fail(
                "loudspeaker",
                "our own feed is the default output: programs play into the microphone, and you hear nothing",
                "pactl set-default-sink NAME   (names: pactl list short sinks)",
            )

    def _microphone(self) -> Iterator[Finding]:
        try:
            source = self.microphone()
        except DeviceError as error:
            yield refused("microphone", error)
            return
        yield ok("microphone", f"{source.description}, {source.sample_rate} Hz, channels: {source.channels}")
        if source.muted:
            yield fail("mute", f"{source.description} is muted", f"pactl set-source-mute {source.name} 0")
        if source.volume_percent != FULL_PERCENT:
            text = f"{source.description} is at {source.volume_percent:.0f} %; at 100 % the sound is passed as it is"
            yield warn("volume", text, f"pactl set-source-volume {source.name} 100%")
        if source.name.startswith("bluez") and any(
            word in source.properties.get(key, "").lower()
            for word in BLUETOOTH_PHONE
            for key in ("bluetooth.protocol", "api.bluez5.profile", "device.profile.name")
        ):
            yield warn(
                "bluetooth", "opening this microphone puts the headset into telephone quality", "use another one"
            )

    def _virtual(self) -> Iterator[Finding]:
        ours = [s for s in self.sources if s.name.startswith(BASE_NAME) and not s.monitor_of]
        if not self._running:
            yield ok("virtual mic", "made when pse-stream runs; it does not run now")
        elif not ours:
            yield fail("virtual mic", "pse-stream runs, but no program can see its microphone", "pse-stream ctl status")
        for source in ours if self._running else []:
            count = sum(1 for r in self.recordings if r.endpoint == source.index and not r.corked)
            yield ok("virtual mic", f'"{source.description}" is visible; programs that listen: {count}')
            if source.muted:
                yield fail("mute", f'"{source.description}" is muted', f"pactl set-source-mute {source.name} 0")

    def _raw_readers(self) -> Iterator[Finding]:
        real = {s.index: s for s in self.sources if not s.monitor_of and not s.is_ours}
        for reader in self.recordings:
            if reader.endpoint in real and reader.pid and not self._is_ours(reader):
                yield warn(
                    "raw reader",
                    f'{reader.program} records from "{real[reader.endpoint].description}", not from our microphone',
                    f'choose "Denoised Microphone" in {reader.program}, and switch its own noise removal off',
                )

    def _loops(self) -> Iterator[Finding]:
        ours = {s.index for s in self.sources if s.is_ours}
        for reader in self.recordings:
            if reader.endpoint in ours and self._is_ours(reader):
                yield fail("loop", "pse-stream records from its own microphone", "pse-stream ctl device input auto")
        for _, name, arguments in self._server.modules():
            if name == "module-loopback" and f"source={BASE_NAME}" in arguments:
                yield warn(
                    "loop",
                    "a loopback plays the clean microphone to a loudspeaker",
                    "pactl unload-module module-loopback",
                )

    def _echo(self) -> Iterator[Finding]:
        for _, name, arguments in self._server.modules():
            if name != "module-echo-cancel":
                continue
            if f"source_master={BASE_NAME}" in arguments:
                yield warn(
                    "echo", "the echo canceller comes after us; it must come first", "let pse-stream record from it"
                )
            else:
                yield ok("echo", "an echo canceller is loaded; choose its source as our microphone")

    def _orphans(self) -> Iterator[Finding]:
        dead = leftovers(self._server)
        if dead:
            names = ", ".join(f"{left.name} (process {left.pid})" for left in dead)
            yield fail("leftovers", f"microphones of killed runs: {names}", "pse-stream clean")

    def _is_ours(self, reader: Connection) -> bool:
        return reader.pid in self._running or reader.pid == os.getpid()
