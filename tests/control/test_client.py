"""The client library: no server, a server that hangs, dies, comes back; never twice, never for ever."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from pse_stream.control.client import ControlClient
from pse_stream.control.desk import Desk
from pse_stream.control.faults import NoAnswerError, RemoteError
from pse_stream.control.instance import InstanceLock
from pse_stream.control.keys import Keyring
from pse_stream.control.link import find_keys, normal_tcp
from pse_stream.control.reader import TelemetryReader
from pse_stream.control.server import ControlServer
from pse_stream.errors import ControlError
from pse_stream.streaming.settings import SetBypass, SetMute

from .fake_denoiser import FakeCatalog, FakeDenoiser


def test_no_server_is_said_at_once_with_the_way_to_start_it(home: Path) -> None:
    began = time.monotonic()
    with pytest.raises(NoAnswerError, match="pse-stream run") as caught:
        ControlClient().status()
    assert caught.value.name == "not_running"
    assert time.monotonic() - began < 0.5


def test_a_process_that_runs_and_says_nothing_is_told_apart(home: Path) -> None:
    began = time.monotonic()
    silent = pytest.raises(NoAnswerError, match="does not answer")
    with InstanceLock("default"), ControlClient(timeout_s=0.3) as client, silent as caught:
        client.status()
    assert caught.value.name == "no_answer"
    assert time.monotonic() - began < 2.0


def test_nobody_at_a_network_address(home: Path) -> None:
    ring = Keyring()
    ring.new("desk")
    server = ring.new("box").public
    client = ControlClient("tcp://127.0.0.1:9", key="desk", server_key=server, timeout_s=0.3)
    with client, pytest.raises(NoAnswerError, match="--bind"):
        client.status()


def test_an_unanswered_change_is_asked_again_and_made_once(
    server: ControlServer, client: ControlClient, fake: FakeDenoiser
) -> None:
    impatient = ControlClient(timeout_s=0.3, retries=5)
    fake.hold = True
    threading.Timer(0.8, fake.release).start()
    with impatient:
        assert impatient.toggle_bypass().changed == {"bypass": (False, True)}
    assert fake.applied == [SetBypass(None)]


def test_a_change_that_is_never_answered_ends_in_time(server: ControlServer, fake: FakeDenoiser) -> None:
    fake.hold = True
    began = time.monotonic()
    with ControlClient(timeout_s=0.2, retries=1) as client, pytest.raises(NoAnswerError):
        client.set_mute(True)
    assert time.monotonic() - began < 2.0


def test_a_restarted_server_is_greeted_again(home: Path, fake: FakeDenoiser) -> None:
    with ControlClient() as client:
        with ControlServer(Desk(fake, FakeCatalog())):
            client.set_mute(True)
        with ControlServer(Desk(fake, FakeCatalog())):
            assert client.status()["settings"]["mute"] is True
            assert client.set_mute(False).changed == {"mute": (True, False)}


def test_a_toggle_over_a_restart_is_not_guessed(home: Path, fake: FakeDenoiser) -> None:
    with ControlClient(timeout_s=0.5) as client:
        with ControlServer(Desk(fake, FakeCatalog())):
            client.status()
        with ControlServer(Desk(fake, FakeCatalog())), pytest.raises(NoAnswerError) as caught:
            client.toggle_mute()
    assert caught.value.name == "restarted"
    assert SetMute(None) not in fake.applied


def test_a_server_that_went_away_is_said(home: Path, fake: FakeDenoiser) -> None:
    with ControlClient(timeout_s=0.3) as client:
        with ControlServer(Desk(fake, FakeCatalog())):
            client.status()
        with pytest.raises(NoAnswerError) as caught:
            client.status()
    assert caught.value.name == "not_running"


def test_a_client_that_asks_too_much_is_slowed_down_not_refused(client: ControlClient) -> None:
    for _ in range(80):
        assert client.status()["state"] == "running"


def test_many_threads_may_share_a_client(client: ControlClient, fake: FakeDenoiser) -> None:
    errors: list[BaseException] = []

    def work(on: bool) -> None:
        try:
            for _ in range(5):
                client.set_mute(on)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(bool(i % 2),)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(fake.applied) == 20


def test_every_typed_verb_reaches_the_denoiser(client: ControlClient, fake: FakeDenoiser) -> None:
    assert client.set_engine("wiener").changed
    assert client.set_level(1).changed
    assert client.pin_level().changed
    assert client.release_level().changed
    assert client.set_governor("eco").changed
    assert client.set_gate("off").changed
    assert client.pin_specialist("keyboard").changed
    assert client.use_profile("alice").changed
    assert client.set_attenuation(18).changed
    assert client.set_devices("Built-in", "Headphones").changed
    assert client.set_bypass(True).changed
    assert client.set_mute(True).changed
    assert client.toggle_mute().changed
    assert client.patch_config(attenuation_db=12.0, bypass=False).changed
    assert client.config()["settings"]["gate"] == "keyboard"
    assert client.devices()["inputs"]
    assert [row["id"] for row in client.engines()] == ["bypass", "wiener", "gru-256"]
    assert client.profiles() == {"in_use": "alice", "profiles": [{"name": "alice"}]}
    assert client.doctor() == {"findings": []}
    with pytest.raises(RemoteError, match="agreed"):
        client.start_recording()
    client.validate_config(mute=False)
    client.shutdown()
    assert fake.snapshot.state == "stopped"


def test_a_reader_goes_on_after_a_restart_and_counts_what_it_lost(home: Path, fake: FakeDenoiser) -> None:
    first = ControlServer(Desk(fake, FakeCatalog()))
    first.start()
    with ControlClient() as client, TelemetryReader(client, ["state"]) as reader:
        assert reader.receive(2.0) is not None
        first.stop()
        with ControlServer(Desk(fake, FakeCatalog())):
            assert reader.receive(5.0) is not None
            assert reader.silent_s < 1.0
        assert reader.lost == 0


@pytest.mark.parametrize(
    ("address", "normal"),
    [
        ("tcp://box", "tcp://box:7270"),
        ("tcp://box:1", "tcp://box:1"),
        ("tcp://[::1]", "tcp://[::1]:7270"),
        ("tcp://[::1]:5", "tcp://[::1]:5"),
    ],
)
def test_addresses_get_the_usual_port(address: str, normal: str) -> None:
    assert normal_tcp(address) == normal


@pytest.mark.parametrize("address", ["box", "ipc:///tmp/x", "tcp://", "tcp://a/b"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ControlError, match="no address"):
        normal_tcp(address)


def test_keys_for_an_address_are_found_or_asked_for(home: Path) -> None:
    ring = Keyring()
    with pytest.raises(ControlError, match="is not known"):
        find_keys("tcp://box", None, None)
    ring.trust("box:7270", ring.new("box").public)
    (ring.folder / "box.secret").unlink()
    with pytest.raises(ControlError, match="which key"):
        find_keys("tcp://box", None, None)
    ring.new("desk")
    assert find_keys("tcp://box", None, None).public == ring.load("desk").public
    ring.new("other")
    with pytest.raises(ControlError, match="desk, other"):
        find_keys("tcp://box", None, None)
    assert find_keys("tcp://box", "other", None).public == ring.load("other").public
