"""Another profile while sound flows: what a person chose for this run stays, the rest is as the profile says."""

from __future__ import annotations

from pathlib import Path

import pytest

from pse_stream.engines.bypass import BypassEngine
from pse_stream.engines.contract import Engine, EngineInfo
from pse_stream.errors import ConfigError
from pse_stream.profiles.store import new_profile
from pse_stream.streaming.configuration import ground, resolve
from pse_stream.streaming.denoiser import Denoiser
from pse_stream.streaming.devices.fake import FakeDevice
from pse_stream.streaming.settings import SetAttenuation, SetProfile

from ..profiles.people import adapt
from .stubs import Levels, clickiness, shelf, tone


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS"):
        monkeypatch.setenv(name, str(tmp_path / name))
    return tmp_path


def configure(home: Path, text: str) -> None:
    path = home / "XDG_CONFIG_HOME" / "pse-stream" / "config.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def running(device: FakeDevice, **flags: object) -> Denoiser:
    resolved = resolve(flags, environ={})
    denoiser = Denoiser(
        resolved.settings,
        device=device,
        origins=resolved.origins,
        engines=shelf(),
        ground=lambda name: ground(name, environ={}),
    )
    denoiser.start()
    device.advance(0.3)
    return denoiser


def use(denoiser: Denoiser, device: FakeDevice, name: str | None) -> dict[str, tuple[object, object]]:
    future = denoiser.submit(SetProfile(name))
    device.advance(0.3)
    return future.result(timeout=0).changed


def test_a_profile_brings_its_settings_and_takes_them_away_again(home: Path) -> None:
    configure(home, "[sound]\nattenuation_limit_db = 18\n")
    new_profile("bob", settings={"engine": "levels", "level": 1, "attenuation_db": 6.0})
    device = FakeDevice(source=tone())
    denoiser = running(device, engine=None)
    fresh = denoiser.snapshot
    changed = use(denoiser, device, "bob")
    assert changed == {
        "profile": (None, "bob"),
        "engine": ("auto", "levels"),
        "level": (None, 1),
        "level_pinned": (False, True),
        "attenuation_db": (18.0, 6.0),
    }
    now = denoiser.snapshot
    assert (now.engine.id, now.engine.level, now.engine.level_pinned) == ("levels", 1, True)
    assert (now.origins["attenuation_db"], now.origins["profile"]) == ("profile", "command")
    use(denoiser, device, None)
    back = denoiser.snapshot
    assert back.settings == fresh.settings
    assert back.origins["attenuation_db"] == "config"
    assert back.origins["engine"] == "default"
    denoiser.stop()


def test_flags_and_commands_of_this_run_stand_above_any_profile() -> None:
    new_profile("bob", settings={"engine": "levels", "attenuation_db": 6.0})
    device = FakeDevice(source=tone())
    denoiser = running(device, engine="silencer")
    denoiser.submit(SetAttenuation(3.0))
    device.advance(0.05)
    assert use(denoiser, device, "bob") == {"profile": (None, "bob")}
    assert (denoiser.snapshot.settings.engine, denoiser.snapshot.settings.attenuation_db) == ("silencer", 3.0)
    denoiser.stop()


def test_a_b_a_keeps_the_output_open_and_does_not_click() -> None:
    new_profile("anna", settings={"engine": "bypass", "attenuation_db": 100.0})
    new_profile("bob", settings={"engine": "levels", "level": 2, "attenuation_db": 100.0})
    device = FakeDevice(source=tone())
    denoiser = running(device, profile="anna")
    for name in ("bob", "anna", "bob", None, "anna"):
        use(denoiser, device, name)
    assert device.opened == {"input": 1, "output": 1}
    assert clickiness(device.output[9600:]) < 0.01
    counters = denoiser.snapshot.counters
    assert counters.dropped_hops == counters.underruns == counters.late_hops == 0
    denoiser.stop()


def test_a_profile_s_microphone_is_opened_and_a_missing_one_changes_nothing() -> None:
    new_profile("bob", settings={"input": "spare", "attenuation_db": 6.0})
    new_profile("eve", settings={"input": "Yeti", "attenuation_db": 7.0})
    device = FakeDevice(source=tone())
    denoiser = running(device)
    use(denoiser, device, "bob")
    assert denoiser.snapshot.input_device == "spare"
    future = denoiser.submit(SetProfile("eve"))
    device.advance(0.3)
    assert getattr(future.exception(timeout=0), "name", "") == "no_mic"
    now = denoiser.snapshot
    assert (now.settings.profile, now.settings.attenuation_db, now.input_device) == ("bob", 6.0, "spare")
    use(denoiser, device, None)
    assert denoiser.snapshot.input_device == "mic"
    assert device.opened["output"] == 1
    denoiser.stop()


@pytest.mark.parametrize(
    ("text", "name"), [("schema = = 1", "bad_toml"), ("schema = 1\n[sound]\nlevel = 'x'\n", "bad_value")]
)
def test_a_damaged_profile_is_refused_and_the_sound_goes_on(text: str, name: str) -> None:
    profile = new_profile("bob")
    (profile.folder / "profile.toml").write_text(text)
    device = FakeDevice(source=tone())
    denoiser = running(device)
    before = denoiser.snapshot.settings
    future = denoiser.submit(SetProfile("bob"))
    device.advance(0.3)
    error = future.exception(timeout=0)
    assert isinstance(error, ConfigError)
    assert error.name == name
    assert denoiser.snapshot.settings == before
    assert clickiness(device.output[9600:]) < 0.01
    denoiser.stop()


def test_at_a_start_a_damaged_profile_is_left_out_with_words_and_an_unknown_one_is_an_error() -> None:
    profile = new_profile("bob")
    (profile.folder / "profile.toml").write_text("schema = 1\n[sound]\nlevel = = 1\n")
    resolved = resolve({"profile": "bob"}, environ={}, run_on=True)
    assert resolved.settings.profile is None
    assert "line 3" in resolved.notes[0]
    assert resolved.notes[0].endswith("It runs on without this profile.")
    with pytest.raises(ConfigError):
        resolve({"profile": "bob"}, environ={})
    with pytest.raises(ConfigError, match="no profile"):
        resolve({"profile": "bbo"}, environ={}, run_on=True)


def test_an_adapted_package_is_what_the_profile_means_and_a_changed_one_is_said(tmp_path: Path) -> None:
    profile = adapt(new_profile("bob", settings={"engine": "wiener"}), tmp_path, "a")
    assert resolve({"profile": "bob"}, environ={}).settings.engine == "bob.a"
    assert resolve({"profile": "bob", "engine": "wiener"}, environ={}).settings.engine == "wiener"

    class Adapted(BypassEngine):
        info = EngineInfo(id="adapted", title="Adapted")

    def opener(id: str) -> Engine:
        return Adapted() if id == "bob.a" else Levels() if id == "wiener" else shelf()(id)

    device = FakeDevice(source=tone())
    denoiser = Denoiser(resolve({}, environ={}).settings, device=device, engines=opener)
    denoiser.start()
    device.advance(0.3)
    use(denoiser, device, "bob")
    assert denoiser.snapshot.engine.id == "adapted"
    use(denoiser, device, None)
    (profile.folder / "models" / "a" / "model.toml").write_text("changed")
    use(denoiser, device, "bob")
    now = denoiser.snapshot
    assert now.engine.id == "levels"
    assert any('adapted model "a"' in event and "general engine" in event for event in now.events)
    denoiser.stop()


def test_a_profile_of_a_later_version_is_used_and_said() -> None:
    profile = new_profile("bob")
    (profile.folder / "profile.toml").write_text("schema = 7\n[sound]\nattenuation_limit_db = 6\n")
    resolved = resolve({"profile": "bob"}, environ={})
    assert resolved.settings.attenuation_db == 6.0
    assert "later version (schema 7)" in resolved.notes[0]
