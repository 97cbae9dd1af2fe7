"""Topics, late readers, heartbeats, readers that never read; time is an argument, so hours pass at once."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import psutil
import pytest
import zmq
from msgspec import structs

from pse_stream.control.client import ControlClient
from pse_stream.control.reader import TelemetryReader
from pse_stream.control.server import ControlServer
from pse_stream.control.spectrum import BANDS, FLOOR_DB, band_edges, bands_db
from pse_stream.control.telemetry import Telemetry
from pse_stream.control.topics import TOPICS, LogTail

from .fake_denoiser import FakeDenoiser


class Stage:
    """A publisher and its readers in one thread, under a clock of their own."""

    def __init__(self, fake: FakeDenoiser) -> None:
        self.fake = fake
        self.now = 1000.0
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.readers: list[zmq.Socket[bytes]] = []
        self.telemetry = Telemetry(fake, fake.tap)
        self.publisher = self.telemetry.socket(self.context)
        self.publisher.bind("inproc://telemetry")

    def reader(self, *topics: str) -> zmq.Socket[bytes]:
        socket = self.context.socket(zmq.SUB)
        self.readers.append(socket)
        socket.rcvhwm = 100_000
        socket.connect("inproc://telemetry")
        for topic in topics:
            socket.setsockopt(zmq.SUBSCRIBE, topic.encode())
        assert self.publisher.poll(1000)
        self.telemetry.hear(self.publisher)
        return socket

    def tick(self, seconds: float = 0.0) -> float:
        """Let time pass, then look once; seconds until the next look is wanted."""
        self.now += seconds
        return self.telemetry.tick(self.now) - self.now

    def run(self, seconds: float, step: float = 0.01) -> None:
        for _ in range(round(seconds / step)):
            self.tick(step)


def received(socket: zmq.Socket[bytes]) -> list[dict[str, Any]]:
    found = []
    while socket.poll(20):
        topic, body = socket.recv_multipart()
        found.append(json.loads(body))
        assert found[-1]["topic"] == topic.decode()
    return found


@pytest.fixture
def stage(fake: FakeDenoiser) -> Iterator[Stage]:
    made = Stage(fake)
    yield made
    for socket in (*made.readers, made.publisher):
        socket.close(linger=0)
    made.context.term()


def test_nothing_is_computed_while_nobody_listens(stage: Stage) -> None:
    assert stage.tick() == float("inf")


@pytest.mark.parametrize("topic", TOPICS)
def test_each_topic_says_something_at_once(stage: Stage, topic: str) -> None:
    reader = stage.reader(topic)
    stage.tick()
    first = received(reader)[0]
    assert (first["topic"], first["seq"]) == (topic, 1)


def test_state_comes_on_change_and_as_a_heartbeat(stage: Stage) -> None:
    reader = stage.reader("state")
    stage.run(10.0)
    assert len(received(reader)) == pytest.approx(10, abs=1)
    stage.fake.snapshot = structs.replace(stage.fake.snapshot, state="degraded", reason="late")
    stage.telemetry.poke()
    stage.tick()
    change = received(reader)
    assert [m["data"]["state"] for m in change] == ["degraded"]


def test_a_late_reader_gets_the_last_value_and_the_others_the_same_number_again(stage: Stage) -> None:
    early = stage.reader("governor")
    stage.run(10.0)
    assert [m["seq"] for m in received(early)] == [1]
    late = stage.reader("governor")
    stage.run(0.1)
    assert [m["seq"] for m in received(late)] == [1]
    assert [m["seq"] for m in received(early)] == [1]


def test_a_late_reader_is_never_told_what_is_no_longer_true(stage: Stage) -> None:
    early = stage.reader("governor")
    stage.tick()
    early.close()
    stage.publisher.poll(1000)
    stage.telemetry.hear(stage.publisher)
    eco = replace(stage.fake.snapshot.settings, governor="eco")
    stage.fake.snapshot = structs.replace(stage.fake.snapshot, settings=eco)
    late = stage.reader("governor")
    stage.run(0.1)
    assert [m["data"]["mode"] for m in received(late)] == ["eco"]


def test_a_thousand_late_readers_at_once_cost_a_few_messages(stage: Stage) -> None:
    reader = stage.reader("governor")
    stage.run(0.1)
    received(reader)
    for _ in range(100):
        stage.publisher.poll(0)
        stage.telemetry._serve_latecomer(b"governor")
        stage.tick(0.0001)
    stage.run(0.2)
    assert len(received(reader)) < 5


def test_meters_are_25_a_second_and_only_for_those_who_ask(stage: Stage) -> None:
    everything_else = stage.reader("state", "engine", "gate", "governor", "events", "log")
    stage.run(2.0)
    assert not any(m["topic"] == "meters" for m in received(everything_else))
    reader = stage.reader("meters")
    stage.run(2.0, step=0.004)
    assert len(received(reader)) == pytest.approx(50, abs=3)


def test_spectrum_has_64_bands_in_whole_decibels(stage: Stage) -> None:
    reader = stage.reader("spectrum")
    stage.run(1.0)
    columns = received(reader)
    assert len(columns) == pytest.approx(10, abs=1)
    assert len(columns[0]["data"]["in_db"]) == BANDS
    assert columns[0]["data"]["in_db"] == sorted(columns[0]["data"]["in_db"])
    assert all(isinstance(value, int) for value in columns[0]["data"]["out_db"])


def test_numbers_count_what_a_reader_missed(stage: Stage) -> None:
    reader = stage.reader("meters")
    stage.run(2.0)
    assert [m["seq"] for m in received(reader)] == list(range(1, 51))


def test_a_reader_that_never_reads_costs_a_bounded_number_of_messages(stage: Stage) -> None:
    deaf = stage.reader("meters", "spectrum")
    deaf.rcvhwm = 1
    before = psutil.Process().memory_info().rss
    stage.run(240.0, step=0.04)
    assert psutil.Process().memory_info().rss - before < 20_000_000


def test_clocks_that_jump_are_survived(stage: Stage) -> None:
    reader = stage.reader("state")
    stage.tick()
    stage.now += 1e6
    stage.tick()
    stage.run(2.0)
    assert len(received(reader)) >= 3


def test_events_arrive_once_each_though_the_window_slides(stage: Stage) -> None:
    reader = stage.reader("events")
    for window in (("a",), ("a", "b"), ("b", "c"), ("b", "c"), ("c", "c")):
        stage.fake.snapshot = structs.replace(stage.fake.snapshot, events=window)
        stage.tick(0.5)
    assert received(reader)[-1]["data"]["recent"] == ["a", "b", "c", "c"]


def test_numpy_numbers_and_infinities_in_a_snapshot_do_not_break_it(stage: Stage) -> None:
    reader = stage.reader("engine")
    stage.fake.snapshot = structs.replace(stage.fake.snapshot, drift_ppm=np.float32(3.25))
    stage.fake.snapshot = structs.replace(
        stage.fake.snapshot, latency=structs.replace(stage.fake.snapshot.latency, buffer_ms=float("inf"))
    )
    stage.tick()
    data = received(reader)[0]["data"]
    assert (data["drift_ppm"], data["latency"]["buffer_ms"]) == (pytest.approx(3.2, abs=0.06), None)


def test_subscriptions_to_nothing_are_forgotten(stage: Stage) -> None:
    stage.reader("nothing", "state")
    assert stage.telemetry.subscribed("state")
    assert stage.telemetry._subscribed[stage.publisher] <= {b"state"}


def test_the_log_is_kept_short_and_survives_wrong_format_strings() -> None:
    tail = LogTail()
    logger = logging.Logger("x")
    logger.addHandler(tail)
    for i in range(200):
        logger.info("line %d", i)
    logger.info("%d", "not a number")
    assert len(tail.lines()) == 50
    assert tail.lines()[-2]["text"] == "line 199"


# -- the display's bands ---------------------------------------------------------------------------


def test_bands_cover_the_grid_in_order() -> None:
    edges = band_edges()
    assert edges[0] == 0
    assert np.all(np.diff(edges) >= 1)
    assert edges[-1] < 257


def test_a_full_scale_sine_is_0_db_in_its_band_and_silence_is_the_floor() -> None:
    from pse_stream.dsp.spec import STFTSpec
    from pse_stream.dsp.stft import transform

    spec = STFTSpec(16_000)
    sine = np.sin(2 * np.pi * 1000.0 * np.arange(16_000) / 16_000.0).astype(np.float32)
    frame = np.abs(transform(sine, spec)[60]).astype(np.float32)
    levels = bands_db(frame)
    assert max(levels) == pytest.approx(0, abs=1)
    assert bands_db(np.zeros(257, np.float32)) == [FLOOR_DB] * BANDS
    assert min(bands_db(np.full(257, np.nan, np.float32))) == FLOOR_DB


# -- through the server ----------------------------------------------------------------------------


def newest(reader: TelemetryReader, topic: str, true: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    end = time.monotonic() + 5.0
    while time.monotonic() < end:
        message = reader.receive(0.5)
        if message is not None and message.topic == topic and true(message.data):
            return message.data
    raise AssertionError(f"{topic} never said so")


def test_a_change_is_told_to_everybody(client: ControlClient) -> None:
    with TelemetryReader(client, ["state"]) as reader:
        newest(reader, "state", lambda data: not data["settings"]["mute"])
        client.set_mute(True)
        told = newest(reader, "state", lambda data: bool(data["settings"]["mute"]))
    assert told["revision"] == 1
    assert told["origins"]["mute"] == "command"


def test_a_reader_that_never_reads_does_not_hold_up_commands(server: ControlServer, client: ControlClient) -> None:
    with TelemetryReader(client, ["meters", "spectrum", "state"]):
        time.sleep(0.5)
        for i in range(20):
            client.set_mute(bool(i % 2))
    assert client.status()["revision"] > 10
