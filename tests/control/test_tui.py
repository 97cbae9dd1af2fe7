"""The screen, driven by Textual's pilot in front of a server: what it shows, what its keys do, how it ends."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from msgspec import structs

os.environ.setdefault("TEXTUAL_FPS", "15")
pytest.importorskip("textual")

from textual.pilot import Pilot
from textual.widgets import Input, OptionList, Static

from pse_stream.control.client import ControlClient
from pse_stream.control.desk import Desk
from pse_stream.control.server import ControlServer
from pse_stream.control.tui.actions import ACTIONS
from pse_stream.control.tui.app import TuiApp
from pse_stream.control.tui.dialogs import ChoiceDialog, ConfirmDialog, HelpDialog, NumberDialog
from pse_stream.control.tui.panel import Panel
from pse_stream.control.tui.spectrogram import Spectrogram
from pse_stream.streaming.diagnosis import OVERLOAD_HOLES, Diagnosis, Observation
from pse_stream.streaming.settings import SetBypass, SetMute
from pse_stream.streaming.snapshot import Counters

from .fake_denoiser import FakeCatalog, FakeDenoiser

Scene = Callable[[TuiApp, "Pilot[None]"], Awaitable[None]]


def play(scene: Scene, size: tuple[int, int] = (80, 24), **look: str) -> None:
    """Run a scene on a screen of its own."""

    async def run() -> None:
        app = TuiApp(ControlClient(timeout_s=1.0), **look)
        async with app.run_test(size=size, notifications=True) as pilot:
            await scene(app, pilot)

    asyncio.run(run())


async def until(pilot: Pilot[None], true: Callable[[], object], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        await pilot.pause(0.05)


def shown(app: TuiApp, id: str) -> str:
    panel = app.query_one(f"#{id}", Panel)
    return panel.text().plain


def screen_text(app: TuiApp) -> str:
    """Everything that can be read."""
    return "\n".join(strip.text for strip in app.screen._compositor.render_strips())


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("size", [(80, 24), (160, 48), (60, 16)])
def test_the_screen_fits_and_says_the_main_things(size: tuple[int, int]) -> None:
    async def scene(app: TuiApp, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.model.connected and app.model.engine and app.model.state)
        await until(pilot, lambda: "q quit" in screen_text(app) and "27.2 ms" in screen_text(app))
        lines = screen_text(app).splitlines()
        assert len(lines) == size[1]
        assert all(len(line) <= size[0] for line in lines)
        assert "RUNNING" in lines[0]
        assert "gru-256 level 2/2" in lines[0]
        assert "REC off" in lines[0]
        text = "\n".join(lines)
        for word in ("USB PnP", "bypass off", "mute off", "27.2 ms", "late 0", "-30.0 rms", "q quit"):
            assert word in text, word

    play(scene, size)


@pytest.mark.usefixtures("server")
def test_on_a_wide_screen_gate_and_governor_have_places() -> None:
    async def scene(app: TuiApp, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.model.governor and app.model.gate)
        await pilot.pause(0.6)
        text = screen_text(app)
        assert "governor auto: level 2" in text
        assert "gate auto: no specialists" in text

    play(scene, (160, 48))


@pytest.mark.usefixtures("server")
def test_on_a_wide_screen_a_long_reason_is_read_to_its_end(fake: FakeDenoiser) -> None:
    diagnosis = Diagnosis()
    diagnosis.look(Observation(now=0.0))
    reason = diagnosis.look(Observation(now=0.0, counters=Counters(late_hops=OVERLOAD_HOLES))).reason
    fake.snapshot = structs.replace(fake.snapshot, state="degraded", reason=reason)

    async def scene(app: TuiApp, pilot: Pilot[None]) -> None:
        def left() -> list[str]:
            return [line[:62] for line in screen_text(app).splitlines()]

        await until(pilot, lambda: reason in " ".join("".join(left()).split()))
        lines = left()
        begins = next(k for k, line in enumerate(lines) if reason[:20] in line)
        assert [len(line) - len(line.lstrip()) for line in lines[begins - 1 : begins + 3]] == [2] * 4  # in one column

    play(scene, (120, 36))


def test_keys_change_the_denoiser_and_say_so(server: ControlServer, fake: FakeDenoiser) -> None:
    async def scene(app: TuiApp, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.model.connected)
        await pilot.press("b")
        await until(pilot, lambda: SetBypass(None) in fake.applied)
        await pilot.press("m")
        await until(pilot, lambda: SetMute(None) in fake.applied)
        await until(pilot, lambda: any("you: mute on" in event for event in app.model.events))
        await until(pilot, lambda: "bypass  ON" in shown(app, "devices") and "mute  ON" in shown(app, "devices"))
        await pilot.press("minus")
        await until(pilot, lambda: fake.snapshot.settings.level == 1)
        await pilot.press("plus")
        await until(pilot, lambda: fake.snapshot.settings.level == 2)

    play(scene)


def test_a_refusal_is_shown_and_changes_nothing(server: ControlServer, fake: FakeDenoiser) -> None:
    async def scene(app: TuiApp, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.model.connected)
        await pilot.press("r")
        await until(pilot, lambda: "consent_needed" in screen_text(app))
        assert "refused: nobody agreed to a recording" in shown(app, "events")

    play(scene)


LISTS: tuple[tuple[str, str, str, object], ...] = (
    ("e", "up", "engine", "wiener"),
    ("p", "down", "profile", "alice"),
    ("l", "down", "level", 0),
    ("v", "down", "governor", "eco"),
    ("g", "down", "gate", "off"),
    ("i", "down", "input", "USB PnP"),
    ("o", "down", "output", "Headphones"),
)


@pytest.mark.usefixtures("server")
def test_lists_choose(fake: FakeDenoiser) -> None:
    async def scene(app: TuiApp, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.model.connected and app.model.engine and app.model.gate and app.model.governor)
        for key, move, setting, value in LISTS:
            await pilot.press(key)
            await until(pilot, lambda: isinstance(app.screen, ChoiceDialog))
            await pilot.pause()
            assert app.screen.query_one(OptionList).has_focus
            await pilot.press(move, "enter")
            await until(pilot, lambda s=setting, v=value: getattr(fake.snapshot.settings, s) == v)

    play(scene)


def test_a_list_can_be_left_without_a_choice(server: ControlServer, fake: FakeDenoiser) -> None:
    async def scene(app: TuiApp, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.model.connected)
        await pilot.press("e")
        await until(pilot, lambda: isinstance(app.screen, ChoiceDialog))
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, ChoiceDialog))

    play(scene)
    assert fake.applied == []


def test_the_limit_is_typed_and_checked(server: ControlServer, fake: FakeDenoiser) -> None:
    async def scene(app: TuiApp, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.model.connected and app.model.state)
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, NumberDialog))
        app.screen.query_one(Input).value = "300"
        await pilot.press("enter")
        assert isinstance(app.screen, NumberDialog)
        assert "0 to 100" in screen_text(app)
        app.screen.query_one(Input).value = "18"
        await pilot.press("enter")
        await until(pilot, lambda: fake.snapshot.settings.attenuation_db == 18.0)

    play(scene)


def test_stopping_the_denoiser_is_asked_twice(server: ControlServer, fake: FakeDenoiser) -> None:
    async def scene(app: TuiApp, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.model.connected)
        await pilot.press("Q")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("enter")
        await pilot.pause(0.2)
        assert fake.snapshot.state == "running"
        await pilot.press("Q")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("y")
        await until(pilot, lambda: fake.snapshot.state == "stopped")

    play(scene)


def test_q_leaves_the_denoiser_running(server: ControlServer, fake: FakeDenoiser) -> None:
    async def scene(app: TuiApp, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.model.connected)
        await pilot.press("q")
        await until(pilot, lambda: not app.is_running)

    play(scene)
    with ControlClient() as client:
        assert client.status()["state"] == "running"


@pytest.mark.usefixtures("server")
def test_help_explains_the_part_with_the_focus_and_all_keys() -> None:
    async def scene(app: TuiApp, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.model.connected)
        app.query_one("#meters").focus()
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(app.screen, HelpDialog))
        text = str(app.screen.query_one("VerticalScroll Static", Static).render())
        assert text.startswith("Meters:")
        for action in ACTIONS:
            assert action.summary in text

    play(scene)


def test_every_action_is_there_and_every_part_has_help() -> None:
    for action in ACTIONS:
        assert callable(getattr(TuiApp, f"action_{action.name}"))
    keys = [key for action in ACTIONS for key in action.key.split(",")]
    assert len(keys) == len(set(keys))
    assert Spectrogram.HELP


@pytest.mark.usefixtures("server")
def test_the_palette_knows_every_action() -> None:
    async def scene(app: TuiApp, pilot: Pilot[None]) -> None:
        titles = [command.title for command in app.get_system_commands(app.screen)]
        for action in ACTIONS:
            assert any(action.summary in title for title in titles)

    play(scene)


@pytest.mark.usefixtures("server")
def test_spectrograms_are_drawn_a_column_at_a_time() -> None:
    async def scene(app: TuiApp, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "▀" in screen_text(app))
        drawn = screen_text(app).count("▀")
        await until(pilot, lambda: screen_text(app).count("▀") > drawn)
        await pilot.press("s")
        await until(pilot, lambda: "▀" not in screen_text(app))

    play(scene)


@pytest.mark.usefixtures("server")
def test_without_colour_loudness_is_shades() -> None:
    async def scene(app: TuiApp, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: any(shade in screen_text(app) for shade in "░▒▓"))
        assert "▀" not in screen_text(app)

    play(scene, colour="never")


@pytest.mark.usefixtures("server")
def test_a_screen_that_changes_its_size_begins_its_spectrogram_anew() -> None:
    async def scene(app: TuiApp, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "▀" in screen_text(app))
        for size in ((160, 48), (76, 20), (80, 24)):
            await pilot.resize_terminal(*size)
            await pilot.pause(0.5)
            width = app.query_one("#spectrum-in", Spectrogram).size.width
            assert 0 < app.query_one("#spectrum-in", Spectrogram).drawn <= width - 4
        await until(pilot, lambda: "▀" in screen_text(app))

    play(scene)


@pytest.mark.usefixtures("server")
def test_events_can_be_filtered(fake: FakeDenoiser) -> None:
    fake.snapshot = structs.replace(fake.snapshot, events=("microphone opened", "governor 4 to 3", "microphone lost"))

    async def scene(app: TuiApp, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "governor 4 to 3" in shown(app, "events"))
        await pilot.press("slash", *"micro", "enter")
        await until(pilot, lambda: "governor 4 to 3" not in shown(app, "events"))
        assert "microphone lost" in shown(app, "events")

    play(scene)


def test_a_lost_denoiser_is_said_greyed_and_found_again(home: Path, fake: FakeDenoiser) -> None:
    async def scene(app: TuiApp, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "DISCONNECTED" in shown(app, "header"))
        assert "retry in" in shown(app, "header") or "trying" in shown(app, "header")
        first = ControlServer(Desk(fake, FakeCatalog()), tap=fake.tap)
        first.start()
        await pilot.press("x")
        await until(pilot, lambda: "RUNNING" in shown(app, "header"))
        assert not app.screen.has_class("-stale")
        first.stop()
        await until(pilot, lambda: "DISCONNECTED" in shown(app, "header"), seconds=15)
        assert app.screen.has_class("-stale")
        assert "stale" in shown(app, "header")
        with ControlServer(Desk(fake, FakeCatalog()), tap=fake.tap):
            await pilot.press("x")
            await until(pilot, lambda: "RUNNING" in shown(app, "header"))

    play(scene)


def test_words_are_drawn_only_when_they_change(server: ControlServer) -> None:
    async def scene(app: TuiApp, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.model.connected and app.model.state and app.model.engine)
        await pilot.pause(1.0)
        panel = app.query_one("#devices", Panel)
        drawn: list[object] = []
        panel.refresh = lambda *args, **more: drawn.append(args)  # type: ignore[assignment,method-assign]
        for _ in range(5):
            panel.refresh_text()
        assert drawn == []

    play(scene)


def test_plain_says_changes_in_sentences(server: ControlServer, fake: FakeDenoiser, home: Path) -> None:
    program = [sys.executable, "-m", "pse_stream.main", "tui", "--plain"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "connected to default\n"
        assert "state running" not in process.stdout.readline()
        fake.submit(SetMute(True))
        said = ""
        end = time.monotonic() + 10.0
        while "mute on" not in said:
            assert time.monotonic() < end
            said = process.stdout.readline()
        assert "\x1b" not in said
        process.terminate()
        process.wait(10)
