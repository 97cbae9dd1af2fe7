"""The server at its socket file: handshake, answers, ids, limits, and clients with bad manners."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import threading
import time
from pathlib import Path

import psutil
import pytest
import zmq

from pse_stream.control.audit import AuditLog
from pse_stream.control.client import ControlClient
from pse_stream.control.commands import METHODS
from pse_stream.control.desk import Desk
from pse_stream.control.instance import control_path, running_pid, runtime_dir
from pse_stream.control.messages import MESSAGE_BYTES
from pse_stream.control.reception import LOCAL, Reception
from pse_stream.control.server import ControlServer
from pse_stream.control.sessions import MAX_PENDING, Peer
from pse_stream.errors import BusyError
from pse_stream.streaming.settings import SetBypass, SetMute

from .bad_messages import DeafRouter, bad_message
from .fake_denoiser import FakeCatalog, FakeDenoiser
from .raw_client import raw_client

#: ZMTP 3.0 (RFC 23): a greeting without security, and the READY command of a DEALER.
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
READY = b"\x04\x1c\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"


def wait_until(true: object, seconds: float = 5.0) -> None:
    assert callable(true)
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


# -- handshake -------------------------------------------------------------------------------------


def test_hello_says_versions_capabilities_and_revision(server: ControlServer) -> None:
    with raw_client(server.endpoints[0]) as client:
        said = client.hello()["result"]
    assert said["proto"] == "1.0"
    assert said["role"] == "control"
    assert set(said["caps"]) <= set(METHODS)
    assert said["revision"] == 0


def test_a_newer_minor_version_is_welcome_and_another_major_one_is_not(server: ControlServer) -> None:
    with raw_client(server.endpoints[0]) as client:
        assert "result" in client.hello(proto="1.7")
        error = client.hello(proto="2.0")["error"]
    assert error["name"] == "wrong_protocol"
    assert "1.0" in error["message"] and "2.0" in error["message"]


def test_nothing_is_done_before_hello(server: ControlServer, fake: FakeDenoiser) -> None:
    with raw_client(server.endpoints[0]) as client:
        assert client.ask("mute.set", on=True)["error"]["name"] == "hello_needed"
    assert fake.applied == []


def test_a_req_socket_is_served_too(server: ControlServer) -> None:
    with raw_client(server.endpoints[0], zmq.REQ) as client:
        assert client.hello()["result"]["proto"] == "1.0"
        assert client.ask("status")["result"]["state"] == "running"


# -- answers ---------------------------------------------------------------------------------------


def test_a_change_is_answered_with_revision_hop_and_both_values(client: ControlClient) -> None:
    applied = client.set_attenuation(12.0)
    assert applied.revision == 1
    assert applied.hop_index == 1
    assert applied.changed == {"attenuation_db": (30.0, 12.0)}


def test_a_change_on_condition(client: ControlClient) -> None:
    revision = client.set_mute(True).revision
    assert client.set_mute(False, if_revision=revision).changed == {"mute": (True, False)}
    with pytest.raises(Exception, match="revision") as caught:
        client.set_mute(True, if_revision=revision)
    assert getattr(caught.value, "name", "") == "revision_conflict"
    assert getattr(caught.value, "data", {})["revision"] == revision + 1


def test_answers_wait_for_the_worker_and_questions_do_not(server: ControlServer, fake: FakeDenoiser) -> None:
    fake.hold = True
    with raw_client(server.endpoints[0]) as client:
        client.hello()
        client.send(b'{"jsonrpc":"2.0","id":"change","method":"mute.set","params":{"on":true}}')
        assert client.ask("status", "question")["id"] == "question"
        assert client.receive(100) is None
        fake.release()
        reply = client.receive()
    assert reply is not None
    assert (reply["id"], reply["result"]["changed"]) == ("change", {"mute": [False, True]})


def test_devices_are_chosen_from_the_list(client: ControlClient, fake: FakeDenoiser) -> None:
    assert client.set_devices("Built-in").changed == {"input": ("auto", "Built-in")}
    with pytest.raises(Exception, match="no input device") as caught:
        client.set_devices("/etc/passwd")
    assert getattr(caught.value, "data", {})["choices"] == ["auto", "USB PnP", "Built-in"]
    assert len(fake.applied) == 1


# -- ids -------------------------------------------------------------------------------------------


def test_a_repeated_id_is_answered_again_and_applied_once(server: ControlServer, fake: FakeDenoiser) -> None:
    with raw_client(server.endpoints[0]) as client:
        client.hello()
        first = client.ask("bypass.toggle", "a")
        assert client.ask("bypass.toggle", "a") == first
        assert client.ask("mute.toggle", "a")["error"]["name"] == "duplicate_id"
    assert fake.applied == [SetBypass(None)]


def test_a_client_that_reconnects_gets_the_answer_it_missed(server: ControlServer, fake: FakeDenoiser) -> None:
    fake.hold = True
    request = b'{"jsonrpc":"2.0","id":"t1","method":"bypass.toggle","params":{}}'
    with raw_client(server.endpoints[0]) as lost:
        lost.hello(token="me")
        lost.send(request)
        wait_until(lambda: fake.held)
    with raw_client(server.endpoints[0]) as back:
        back.hello(token="me")
        back.send(request)
        assert back.receive(100) is None
        fake.release()
        reply = back.receive()
    assert reply is not None and reply["result"]["changed"] == {"bypass": [False, True]}
    assert fake.applied == [SetBypass(None)]


def test_another_client_may_use_the_same_id(server: ControlServer, fake: FakeDenoiser) -> None:
    for _ in range(2):
        with raw_client(server.endpoints[0]) as client:
            client.hello()
            assert "result" in client.ask("bypass.toggle", 1)
    assert len(fake.applied) == 2


# -- bad manners -----------------------------------------------------------------------------------


def test_too_long_is_answered_and_much_too_long_is_cut_off(server: ControlServer) -> None:
    with raw_client(server.endpoints[0]) as client:
        client.send(b" " * (MESSAGE_BYTES + 1))
        reply = client.receive()
        assert reply is not None and reply["error"]["name"] == "too_large"
        client.send(b" " * (4 * MESSAGE_BYTES))
        assert client.receive(200) is None
    with raw_client(server.endpoints[0]) as other:
        assert "result" in other.hello()


def test_a_message_of_many_frames_is_refused(server: ControlServer) -> None:
    with raw_client(server.endpoints[0]) as client:
        client.send(b"{}", b"{}", b"{}")
        reply = client.receive()
        assert reply is not None and reply["error"]["name"] == "invalid_request"
        client.send(b"", b"", b"{}")
        reply = client.receive()
        assert reply is not None and reply["error"]["name"] == "invalid_request"


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        GREETING[:9],  # cut off in the middle
        GREETING,  # and then nothing
        GREETING + READY[:5],
        GREETING + READY + b"\x00\xff{cut off",  # a frame that promises more than comes
        GREETING + READY + b"\x02" + b"\x7f" * 8 + b"x",  # a frame of 9e18 bytes
        GREETING + b"\x04\x26" + b"\xff" * 38,  # a command that is none
        bytes(range(256)) * 40,
    ],
)
def test_a_connection_that_ends_in_the_middle_is_closed_and_forgotten(server: ControlServer, said: bytes) -> None:
    with raw_client(server.endpoints[0]) as client:
        client.hello()
        before = psutil.Process().num_fds()
        for _ in range(30):
            with socket.socket(socket.AF_UNIX) as plug:
                plug.connect(str(control_path("default")))
                with contextlib.suppress(OSError):  # it may have been closed on us
                    plug.sendall(said)
        wait_until(lambda: psutil.Process().num_fds() <= before)
        assert client.ask("status")["result"]["state"] == "running"


def test_a_client_that_vanishes_costs_nothing(server: ControlServer, fake: FakeDenoiser) -> None:
    fake.hold = True
    with raw_client(server.endpoints[0]) as client:
        client.hello()
        client.send(b'{"jsonrpc":"2.0","id":1,"method":"mute.set","params":{"on":true}}')
        wait_until(lambda: fake.held)
    fake.release()
    with raw_client(server.endpoints[0]) as other:
        other.hello()
        assert other.ask("status")["result"]["settings"]["mute"] is True


def test_too_many_changes_under_way_are_refused(server: ControlServer, fake: FakeDenoiser) -> None:
    fake.hold = True
    with raw_client(server.endpoints[0]) as client:
        client.hello()
        for i in range(MAX_PENDING):
            client.send(f'{{"jsonrpc":"2.0","id":{i},"method":"mute.set","params":{{"on":true}}}}'.encode())
        assert client.ask("mute.set", "one more", on=True)["error"]["name"] == "busy"
        fake.release()


def test_a_flood_is_limited_and_others_are_served(server: ControlServer) -> None:
    stop = threading.Event()
    counts = {"sent": 0, "limited": 0}

    def flood() -> None:
        with raw_client(server.endpoints[0]) as client:
            client.hello()
            while not stop.is_set():
                try:
                    client.socket.send(b'{"jsonrpc":"2.0","id":1,"method":"status"}', zmq.NOBLOCK)
                    counts["sent"] += 1
                except zmq.Again:
                    time.sleep(0.001)
                while (reply := client.receive(0)) is not None:
                    counts["limited"] += reply.get("error", {}).get("name") == "rate_limited"

    flooder = threading.Thread(target=flood)
    flooder.start()
    try:
        wait_until(lambda: counts["limited"] > 20)
        with raw_client(server.endpoints[0]) as client:
            client.hello()
            for i in range(20):
                assert client.ask("status", i)["id"] == i
    finally:
        stop.set()
        flooder.join()
    assert counts["sent"] > counts["limited"] > 20


def test_a_flood_of_connections_does_not_push_others_out(fake: FakeDenoiser) -> None:
    reception = Reception(Desk(fake, FakeCatalog()), "default", AuditLog(None), None)
    router, friend = DeafRouter(), Peer(DeafRouter(), b"friend")
    hello = b'{"jsonrpc":"2.0","id":"me","method":"hello","params":{"proto":"1.0"}}'
    reception.take(friend, LOCAL, hello, now=0.0)
    read = sum(reception.take(Peer(router, b"%d" % i), LOCAL, hello, now=i / 1000.0) for i in range(2_000))
    reception.take(friend, LOCAL, b'{"jsonrpc":"2.0","id":1,"method":"status"}', now=2.0)
    reception.close()
    assert read < 120  # of 2,000 in two seconds
    assert len(router.bodies) == 2_000
    last = json.loads(router.bodies[-1])
    assert (last["id"], last["error"]["name"]) == ("me", "rate_limited")
    assert json.loads(friend.router.bodies[-1])["result"]["state"] == "running"


def test_ten_thousand_bad_messages_leave_nothing_behind(fake: FakeDenoiser, tmp_path: Path) -> None:
    audit = AuditLog(tmp_path / "audit.log")
    reception = Reception(Desk(fake, FakeCatalog()), "default", audit, None)
    router, source = DeafRouter(), random.Random(1)

    def send(count: int) -> None:
        for i in range(count):
            peer = Peer(router, source.randbytes(5))
            reception.take(peer, LOCAL, bad_message(source), now=float(i))
            router.bodies.clear()

    send(2_000)
    before = psutil.Process().memory_info().rss
    send(10_000)
    grown = psutil.Process().memory_info().rss - before
    reception.close()
    audit.close()
    assert fake.applied == []
    assert grown < 2_000_000


def test_every_bad_message_is_answered_with_an_error(fake: FakeDenoiser) -> None:
    reception = Reception(Desk(fake, FakeCatalog()), "default", AuditLog(None), None)
    router, source = DeafRouter(), random.Random(2)
    for i in range(300):
        reception.take(Peer(router, b"x"), LOCAL, bad_message(source), now=float(i))
    reception.close()
    assert len(router.bodies) == 300
    assert all("error" in json.loads(body) for body in router.bodies)


def test_a_denoiser_that_never_answers_is_answered_for(fake: FakeDenoiser) -> None:
    reception = Reception(Desk(fake, FakeCatalog()), "default", AuditLog(None), None)
    router, fake.hold = DeafRouter(), True
    peer = Peer(router, b"x")
    reception.take(peer, LOCAL, b'{"jsonrpc":"2.0","id":0,"method":"hello","params":{"proto":"1.0"}}', now=0.0)
    reception.take(peer, LOCAL, b'{"jsonrpc":"2.0","id":1,"method":"mute.set","params":{"on":true}}', now=0.0)
    reception.deliver(now=5.0)
    assert len(router.bodies) == 1
    reception.deliver(now=60.0)
    assert json.loads(router.bodies[-1])["error"]["name"] == "not_applied"
    fake.release()
    assert SetMute(True) not in fake.applied
    reception.close()


def test_a_bug_behind_the_desk_is_an_answer_and_not_the_end(
    server: ControlServer, fake: FakeDenoiser, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(fake, "submit", broken)
    with raw_client(server.endpoints[0]) as client:
        client.hello()
        error = client.ask("mute.set", on=True)["error"]
        assert error["name"] == "internal_error"
        assert "secret" not in json.dumps(error)
        assert client.ask("status")["result"]["state"] == "running"
    assert "secret detail" in caplog.text


# -- life ------------------------------------------------------------------------------------------


def test_two_servers_cannot_have_one_name_and_can_have_two(server: ControlServer, fake: FakeDenoiser) -> None:
    with pytest.raises(BusyError, match="already running"):
        ControlServer(Desk(fake, FakeCatalog())).start()
    with ControlServer(Desk(fake, FakeCatalog()), instance="second"):
        assert control_path("second").exists()
    with raw_client(server.endpoints[0]) as client:
        assert "result" in client.hello()


def test_nothing_is_left_when_it_stops(home: Path, fake: FakeDenoiser) -> None:
    with ControlServer(Desk(fake, FakeCatalog())):
        assert control_path("default").is_socket()
        assert running_pid("default") is not None
    assert list(runtime_dir().iterdir()) == []


def test_a_socket_file_of_a_killed_server_is_taken_over(home: Path, fake: FakeDenoiser) -> None:
    runtime_dir(create=True)
    control_path("default").touch()
    with ControlServer(Desk(fake, FakeCatalog())) as server, raw_client(server.endpoints[0]) as client:
        assert "result" in client.hello()


def test_whoever_waits_when_it_stops_is_told(home: Path, fake: FakeDenoiser) -> None:
    fake.hold = True
    server = ControlServer(Desk(fake, FakeCatalog()))
    server.start()
    with raw_client(server.endpoints[0]) as client:
        client.hello()
        client.send(b'{"jsonrpc":"2.0","id":1,"method":"mute.set","params":{"on":true}}')
        wait_until(lambda: fake.held)
        server.stop()
        reply = client.receive()
    assert reply is not None and reply["error"]["name"] == "stopping"


def test_changes_and_refusals_are_in_the_audit_log(server: ControlServer, home: Path) -> None:
    with raw_client(server.endpoints[0]) as client:
        client.hello()
        client.ask("status", 1)
        client.ask("attenuation.set", 2, db=12)
        client.ask("attenuation.set", 3, db=200)
    server.stop()
    entries = [json.loads(line) for line in (home / "audit.log").read_text().splitlines()]
    asked = [(e["event"], e.get("method"), e.get("name")) for e in entries if e["event"] != "server"]
    assert asked == [("accepted", "attenuation.set", None), ("refused", "attenuation.set", "bad_value")]
