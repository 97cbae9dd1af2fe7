"""Requests become commands of the denoiser; a patch is all or nothing."""

from __future__ import annotations

import json

import pytest
from msgspec import structs

from pse_stream.control.commands import ConfigPatch
from pse_stream.control.desk import Desk, refusal_of
from pse_stream.control.messages import Refusal, Request, decode, encode
from pse_stream.errors import PseError
from pse_stream.streaming.settings import (
    SETTING_NAMES,
    Applied,
    Command,
    SetAttenuation,
    SetBypass,
    SetDevices,
    SetEngine,
    SetGate,
    SetGovernor,
    SetLevel,
    SetMute,
    SetProfile,
    SetRecording,
    Shutdown,
)
from pse_stream.streaming.snapshot import GovernorStatus

from .fake_denoiser import FakeCatalog, FakeDenoiser


def request(method: str, **params: object) -> Request:
    return decode(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode())


def apply(fake: FakeDenoiser, method: str, **params: object) -> Applied:
    return Desk(fake, FakeCatalog()).submit(request(method, **params)).result(1.0)


@pytest.mark.parametrize(
    ("method", "params", "command"),
    [
        ("engine.set", {"id": "wiener"}, SetEngine("wiener")),
        ("level.set", {"level": 1}, SetLevel(1)),
        ("level.pin", {"level": 0}, SetLevel(0, pin=True)),
        ("level.pin", {}, SetLevel(2, pin=True)),
        ("level.release", {}, SetLevel(None)),
        ("governor.set", {"mode": "eco"}, SetGovernor("eco")),
        ("gate.set", {"mode": "off"}, SetGate("off")),
        ("gate.pin", {"specialist": "keyboard"}, SetGate("keyboard")),
        ("profile.use", {"name": "alice"}, SetProfile("alice")),
        ("profile.use", {"name": None}, SetProfile(None)),
        ("attenuation.set", {"db": 0}, SetAttenuation(0.0)),
        ("bypass.set", {"on": True}, SetBypass(True)),
        ("bypass.toggle", {}, SetBypass(None)),
        ("mute.set", {"on": False}, SetMute(False)),
        ("mute.toggle", {}, SetMute(None)),
        ("devices.set", {"output": "Headphones"}, SetDevices(None, "Headphones")),
        ("devices.set", {"channels": "left"}, SetDevices(channels="left")),
        ("config.patch", {"channels": "mix"}, SetDevices(channels="mix")),
        ("shutdown", {}, Shutdown()),
    ],
)
def test_each_request_is_one_command(
    fake: FakeDenoiser, method: str, params: dict[str, object], command: Command
) -> None:
    apply(fake, method, **params)
    assert fake.applied == [command]


def test_recording_is_asked_of_the_denoiser_which_knows_about_consent(fake: FakeDenoiser) -> None:
    with pytest.raises(PseError) as caught:
        apply(fake, "record.start")
    assert refusal_of(caught.value).name == "consent_needed"
    assert SetRecording(True) not in fake.applied


@pytest.mark.parametrize(
    ("method", "params", "low", "high"),
    [
        ("level.set", {"level": 3}, 0, 2),
        ("level.set", {"level": -1}, 0, 2),
        ("level.pin", {"level": 9}, 0, 2),
        ("attenuation.set", {"db": -0.1}, 0, 100),
        ("attenuation.set", {"db": 100.1}, 0, 100),
    ],
)
def test_out_of_range_says_the_range(
    fake: FakeDenoiser, method: str, params: dict[str, object], low: float, high: float
) -> None:
    with pytest.raises(Refusal) as caught:
        apply(fake, method, **params)
    assert (caught.value.name, caught.value.data) == ("bad_value", {"min": low, "max": high})
    assert fake.applied == []


def test_levels_are_those_of_the_chosen_engine_while_another_stands_in(fake: FakeDenoiser) -> None:
    now = fake.snapshot
    fake.snapshot = structs.replace(
        now, engine=structs.replace(now.engine, level=0, level_count=1), governor=GovernorStatus(levels=3)
    )
    apply(fake, "level.pin", level=2)
    assert fake.applied[-1] == SetLevel(2, pin=True)


def test_a_feature_that_is_not_there_is_refused_by_name(fake: FakeDenoiser) -> None:
    fake.missing.add(SetGate)
    desk = Desk(fake, FakeCatalog())
    assert "gate.set" not in desk.capabilities
    with pytest.raises(Refusal, match=r"gate\.set is not supported") as caught:
        desk.submit(request("gate.set", mode="off"))
    assert caught.value.name == "not_supported"


def test_every_setting_can_be_patched() -> None:
    assert set(SETTING_NAMES) == {*ConfigPatch.__struct_fields__} - {"if_revision"}


def test_a_patch_is_answered_once_with_everything_that_changed(fake: FakeDenoiser) -> None:
    applied = apply(fake, "config.patch", engine="wiener", level=1, mute=True, attenuation_db=12)
    assert applied.changed == {
        "engine": ("gru-256", "wiener"),
        "level": (None, 1),
        "mute": (False, True),
        "attenuation_db": (30.0, 12.0),
    }
    assert applied.revision == fake.snapshot.revision


def test_a_patch_that_fails_half_way_is_taken_back(fake: FakeDenoiser) -> None:
    before = fake.snapshot.settings
    with pytest.raises(PseError):
        apply(fake, "config.patch", input="Built-in", engine="nonsense", mute=True)
    assert fake.snapshot.settings == before


@pytest.mark.parametrize("patch", [{}, {"attenuation_db": 300.0}, {"input": "/etc/passwd"}, {"level": -4}])
def test_a_patch_that_is_wrong_changes_nothing(fake: FakeDenoiser, patch: dict[str, object]) -> None:
    with pytest.raises(PseError):
        apply(fake, "config.patch", **patch)
    assert fake.applied == []


def test_a_patch_may_be_tried_without_being_made(fake: FakeDenoiser) -> None:
    desk = Desk(fake, FakeCatalog())
    assert desk.answer(request("config.validate", mute=True)) == {"valid": True}
    with pytest.raises(PseError):
        desk.answer(request("config.validate", attenuation_db=-1))
    assert fake.applied == []


def test_the_status_is_the_snapshot(fake: FakeDenoiser) -> None:
    answer = Desk(fake, FakeCatalog()).answer(request("status"))
    assert json.loads(encode(answer)) == fake.snapshot.as_dict()


def test_each_setting_says_where_it_comes_from(fake: FakeDenoiser) -> None:
    apply(fake, "mute.set", on=True)
    answer = Desk(fake, FakeCatalog()).answer(request("config.get"))
    assert isinstance(answer, dict)
    assert answer["settings"]["mute"] is True
    assert (answer["origins"]["mute"], answer["origins"]["engine"]) == ("command", "default")


def test_an_unexpected_error_tells_nothing_of_its_inside() -> None:
    refusal = refusal_of(KeyError("secret"))
    assert refusal.name == "internal_error"
    assert "secret" not in str(refusal)
