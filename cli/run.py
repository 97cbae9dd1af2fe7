"""`pse-stream [run]`: clean the microphone until somebody stops it."""

from __future__ import annotations

import contextlib
import locale
import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from pse_stream.cli import flags
from pse_stream.cli.console import Console
from pse_stream.errors import DeviceError, LimitError

if TYPE_CHECKING:
    from pse_stream.streaming.configuration import Resolved
    from pse_stream.streaming.denoiser import Denoiser
    from pse_stream.streaming.devices.base import Device
    from pse_stream.streaming.snapshot import Snapshot

SCREEN_S = 0.2  # five looks a second; the screen shares a process with the sound and must stay cheap
PING_S = 5.0  # systemd is told to wait for 30
LINE_S = 5.0  # without a screen: a line as often as this, and at every event
SETTLE_S = 2.0  # the delay is known once the buffers have found their level
SMALLEST_SCREEN = (60, 16)  # columns, rows; below it lines are better


@click.command(name="run")
@flags.profile
@flags.engine
@flags.level
@flags.gate
@flags.attenuation
@click.option("-i", "--input", type=flags.SettingWord("input", "NAME"), help="Microphone: a part of its name.")
@click.option(
    "-o", "--output", type=flags.SettingWord("output", "NAME"), help="Play to this instead of a virtual microphone."
)
@click.option("--channels", type=flags.SettingWord("channels", "WHICH"), help="auto, left, right or mix.")
@click.option("--governor", type=flags.SettingWord("governor", "MODE"), help="off, auto, eco or quality.")
@click.option(
    "--max-latency-ms",
    type=click.FloatRange(min=0, min_open=True),
    metavar="MS",
    help="Stop (exit 7) if the delay is above this.",
)
@click.option(
    "--seconds", type=click.FloatRange(min=0, min_open=True), metavar="S", help="Stop by itself after this time."
)
@click.option(
    "--play",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Take this recording as the microphone, in real time.",
)
@click.option(
    "--save",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="With --play or --demo: write before.wav, after.wav and spectrogram.png there (default: out).",
)
@click.option(
    "--demo", is_flag=True, help="Where there is no microphone, play the recording that comes with the program."
)
@click.option(
    "--instance", default="default", metavar="NAME", help="A second denoiser on one machine needs a name of its own."
)
@click.option("--bind", metavar="ADDRESS", help="Be controlled over a network too: tcp://host[:port]; needs keys.")
@click.option("--no-control", "controlled", is_flag=True, flag_value=False, default=True, help="Listen to nobody.")
@click.option(
    "--wait-s", type=click.FloatRange(min=0), default=0.0, metavar="S", help="Wait this long for a sound server."
)
@click.option(
    "--realtime", is_flag=True, help="Ask for real-time scheduling: no holes beside busy programs, where it is allowed."
)
@click.option("--check", is_flag=True, help="Only check the configuration, the engine and the devices; no sound.")
@flags.config
@flags.common(json=False)
def command(
    *,
    console: Console,
    config: Path | None,
    wait_s: float,
    check: bool,
    demo: bool,
    play: Path | None,
    save: Path | None,
    seconds: float | None,
    max_latency_ms: float | None,
    instance: str,
    bind: str | None,
    controlled: bool,
    realtime: bool,
    **settings: Any,
) -> int | None:
    """Clean the microphone and offer the result to every program as "Denoised Microphone".

    \b
    Examples:
      pse-stream                            the default microphone
      pse-stream --profile alice            with a person's settings
      pse-stream --input Yeti --attenuation-db 18
      pse-stream --check                    would it start?
    """
    from pse_stream.streaming.configuration import resolve

    resolved = resolve(settings, config=config, run_on=not check)
    for note in resolved.notes:
        console.warn(note)
    if check:
        return check_only(console, resolved)
    from pse_stream.cli.demonstration import Demonstration, bundled_recording
    from pse_stream.streaming.devices.live import open_device

    show = Demonstration(play, save or Path("out")) if play is not None else None
    if show is None and demo and (why := no_microphone()):
        console.note(f"{why}\nPlaying a recording through the same path instead.")
        show = Demonstration(bundled_recording(), save or Path("out"))
    channel = Channel(instance, bind, controlled)

    def devices() -> Device:
        return show.device() if show is not None else open_device(instance=instance, wait_s=wait_s)

    sound(
        console,
        resolved,
        devices,
        channel,
        config=config,
        record=resolved.logging and show is None,  # a file is nobody's voice; ctl record start still records it
        seconds=seconds,
        max_latency_ms=max_latency_ms,
        realtime=realtime,
    )
    if show is not None:
        show.finish(console)
    return None


class Channel(NamedTuple):
    """How this denoiser may be controlled while it runs."""

    instance: str
    bind: str | None  # tcp://…, besides the socket file
    wanted: bool


def sound(
    console: Console,
    resolved: Resolved,
    devices: Callable[[], Device],
    channel: Channel,
    *,
    config: Path | None = None,
    record: bool = False,
    seconds: float | None = None,
    max_latency_ms: float | None = None,
    realtime: bool = False,
) -> None:
    """Run a denoiser and show it until it ends, the time is up or somebody stops it."""
    console.note("Starting: opening the devices and the engine.")
    import pse_stream.cli.status  # noqa: F401  # now: Ctrl-C while modules load would end us by signal, not with 130
    from pse_stream.control.hosting import control_server
    from pse_stream.control.instance import InstanceLock
    from pse_stream.control.systemd import notify
    from pse_stream.streaming.configuration import ground
    from pse_stream.streaming.denoiser import Denoiser
    from pse_stream.streaming.process import run_thread_promptly, sound_process

    run_thread_promptly()  # threads inherit it: whoever holds the interpreter must not hold up the sound
    with contextlib.ExitStack() as stack:
        lock = stack.enter_context(InstanceLock(channel.instance))  # before a device is touched
        device = devices()
        try:
            denoiser = Denoiser(
                resolved.settings,
                device=device,
                origins=resolved.origins,
                ground=lambda profile: ground(profile, config=config),
                realtime=realtime,
                calibrate=True,
                record=record,
            )
        except BaseException:
            device.close()
            raise
        stack.enter_context(denoiser)
        stack.enter_context(sound_process())  # everything is loaded and warm
        if channel.wanted:
            stack.enter_context(control_server(denoiser, lock, tcp=channel.bind))
        stack.callback(notify, "STOPPING=1")
        notify("READY=1")  # the virtual microphone and the channel are there
        titles = Titles(device)
        watch = Watch(denoiser, titles, seconds=seconds, max_latency_ms=max_latency_ms)
        welcome(console, titles.put_into(denoiser.snapshot))
        if screen_wanted(console):
            show_page(watch)
        else:
            show_lines(console, watch)
        last = denoiser.snapshot
    if last.state == "failed":
        raise DeviceError(last.reason, name="failed", hint="Try: pse-stream doctor")


class Titles:
    """What devices are called on the screen; their stable names are for machines."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._known: dict[str, str] = {}

    def put_into(self, now: Snapshot) -> Snapshot:
        """The same moment with titles for names."""
        from msgspec.structs import replace

        return replace(now, input_device=self._of(now.input_device), output_device=self._of(now.output_device))

    def _of(self, name: str) -> str:
        if name and name not in self._known:  # asking takes some 20 ms: once for each device
            with contextlib.suppress(DeviceError):
                for direction in ("input", "output"):
                    self._known |= {info.name: info.title for info in self._device.names(direction)}
            self._known.setdefault(name, name)
        return self._known.get(name, name)


class Watch:
    """Looks at a denoiser at a steady pace, and knows when it is over."""

    def __init__(
        self, denoiser: Denoiser, titles: Titles, *, seconds: float | None, max_latency_ms: float | None
    ) -> None:
        self._titles = titles
        self._denoiser, self._seconds, self._max_latency_ms = denoiser, seconds, max_latency_ms
        self._began = time.monotonic()
        self._pinged = 0.0

    def next(self, pause_s: float) -> Snapshot | None:
        """Wait, then what is true; None when it is over.

        Raises
        ------
        LimitError
            If the delay is above what was allowed.
        """
        over = self._denoiser.wait(pause_s)
        now = self._denoiser.snapshot
        self._ping()
        ran = time.monotonic() - self._began
        delay = now.latency
        if self._max_latency_ms is not None and ran >= SETTLE_S and delay.total_ms > self._max_latency_ms:
            engine = delay.algorithm_ms + delay.lookahead_ms
            raise LimitError(
                f"measured {delay.total_ms:.0f} ms, limit {self._max_latency_ms:g} ms "
                f"(engine {engine:.0f}, buffers {delay.buffer_ms:.0f}, device {delay.device_ms:.0f}).",
                name="latency",
                hint="Try another engine (pse-stream engines) or another device.",
            )
        late = self._seconds is not None and ran >= self._seconds
        return None if over or late or now.state == "failed" else self._titles.put_into(now)

    def _ping(self) -> None:
        """Tell systemd, if it waits for that, that we are alive."""
        from pse_stream.control.systemd import notify

        if time.monotonic() - self._pinged > PING_S:
            self._pinged = time.monotonic()
            notify("WATCHDOG=1")


def screen_wanted(console: Console) -> bool:
    """Whether stderr is a screen large enough, and nobody asked for plain text."""
    if not console.live or os.environ.get("NO_COLOR") or console.colour == "never":
        return False
    columns, rows = os.get_terminal_size(sys.stderr.fileno())
    return columns >= SMALLEST_SCREEN[0] and rows >= SMALLEST_SCREEN[1]


def show_page(watch: Watch) -> None:
    """A page that is drawn over and over."""
    from rich.console import Console as Screen
    from rich.live import Live

    from pse_stream.cli.status import page

    unicode = "utf" in locale.getpreferredencoding(False).lower()
    screen = Screen(stderr=True, highlight=False)
    with Live(console=screen, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as live:
        while (now := watch.next(SCREEN_S)) is not None:
            live.update(page(now, unicode=unicode), refresh=True)


def show_lines(console: Console, watch: Watch) -> None:
    """A line at every event, and now and then one in between."""
    from pse_stream.cli.status import delay_words, line

    said: tuple[str, ...] = ()
    settled, due = time.monotonic() + SETTLE_S, time.monotonic() + LINE_S
    while (now := watch.next(1.0)) is not None:
        for event in fresh_events(said, now.events):
            console.note(event)
        said = now.events
        if time.monotonic() >= settled:
            settled = math.inf
            console.note(f"delay: {delay_words(now)}")
        if time.monotonic() >= due:
            due += LINE_S
            console.note(line(now))


def fresh_events(before: tuple[str, ...], now: tuple[str, ...]) -> tuple[str, ...]:
    """What was added to a list of the last few events; the same sentence may come again."""
    for forgotten in range(len(before) + 1):
        kept = before[forgotten:]
        if now[: len(kept)] == kept:
            return now[len(kept) :]
    return now


def welcome(console: Console, now: Snapshot) -> None:
    """What a person must know to use it."""
    console.note(f"microphone: {now.input_device}, {now.sample_rate / 1000:g} kHz")
    if now.virtual_mic:
        console.note(f'choose in your programs: "{now.virtual_mic}"')
    else:
        console.note(f"plays to: {now.output_device}")
    console.note(f"engine: {now.engine.id}, level {now.engine.level} ({now.engine.level_name})")
    console.note("to see and change it: pse-stream tui, or pse-stream ctl. Ctrl-C stops.")


def no_microphone() -> str:
    """Why there is none, in words; "" if there is one."""
    from pse_stream.streaming.devices.live import open_device

    try:
        device = open_device(virtual_mic=False)
    except DeviceError as error:
        return f"There is no microphone here: {error.text}"
    try:
        usable = [info for info in device.names("input") if not info.is_monitor and not info.is_ours]
    finally:
        device.close()
    return "" if usable else "There is no microphone here."


def check_only(console: Console, resolved: Resolved) -> int:
    """Say whether `run` would start."""
    from pse_stream.streaming.health.examine import check_start

    findings = check_start(resolved)
    for finding in findings:
        console.result(finding.line())
    return max((finding.exit_code for finding in findings), default=0)
