"""What remote control costs: round trips, missed hops with and without it, a flood, and telemetry.

    python benchmarks/control.py [--seconds 10] [--engine ID]

A denoiser plays a recording in real time in a process of its own, with its control channel on a socket file and over
TCP with keys. Round trips are taken at 50 requests a second; questions (status) and changes (limit, bypass, mute)
apart: a change is answered by the worker between two hops. Missed hops are those that were late, dropped or not there
in time; only their difference to the first line says anything, because other programs make some too. CPU shares are CPU
time of the denoiser's threads over the time that passed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import zmq

from pse_stream.control.client import ControlClient
from pse_stream.control.keys import Keyring
from pse_stream.control.reader import TelemetryReader

ROOT = Path(__file__).resolve().parent.parent
RECORDING = ROOT / "examples" / "noisy.flac"
RATE = 50.0  # requests a second
WANTED = (
    "wanted: ctl toggle < 150 ms; p50 < 1 ms, p99 < 10 ms; missed hops as without control; telemetry < 1 % of a core"
)


def main() -> None:
    """Print a table."""
    arguments = parsed()
    if arguments.serve:
        serve(arguments.engine)
        return
    with denoiser(arguments.engine) as box:
        print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; a ZeroMQ echo alone: {echo()}")
        hotkey()
        print(f"{'':44}{'p50 ms':>8}{'p99 ms':>8}{'missed':>8}{'per 1000 hops':>15}{'CPU %':>7}")
        with ControlClient() as local, ControlClient(box["tcp"], key="desk") as far:
            stretch("without control", local, box, arguments.seconds, None)
            for name, client in (("ipc", local), ("CURVE over TCP", far)):
                stretch(f"status, 50/s, {name}", local, box, arguments.seconds, lambda i, c=client: c.status())
                stretch(f"changes, 50/s, {name}", local, box, arguments.seconds, lambda i, c=client: change(c, i))
            with flood(box["ipc"]) as counts:
                stretch("status, 50/s, beside a flood", local, box, arguments.seconds, lambda i: local.status())
            print(f"    the flood sent {counts['sent'] / arguments.seconds:.0f} a second; "
                  f"{counts['answered'] / arguments.seconds:.0f} were answered, "
                  f"{counts['limited'] / arguments.seconds:.0f} of them with rate_limited")  # fmt: skip
            for name, topics in (("meters, 25/s", ["meters"]), ("what the screen hears", SCREEN)):
                with TelemetryReader(local, topics) as reader:
                    stretch(f"telemetry: {name}", local, box, arguments.seconds, None)
                    heard = sum(message.seq for message in reader.newest(0.1).values())
                    print(f"    {heard} messages, {reader.lost} lost by this reader, which did not read meanwhile")
    print(WANTED)


SCREEN = ["state", "engine", "gate", "governor", "events", "meters", "spectrum"]


def change(client: ControlClient, i: int) -> None:
    """One of three changes that are always possible."""
    if i % 3 == 0:
        client.set_attenuation(10.0 + i % 20)
    elif i % 3 == 1:
        client.set_bypass(bool(i % 2))
    else:
        client.set_mute(bool(i % 2))


def stretch(name: str, local: ControlClient, box: dict[str, Any], seconds: float, ask: Any) -> None:
    """Some seconds of one kind of use; a line of the table."""
    before, cpu = missed(local), control_cpu_s(box)
    began, times = time.perf_counter(), []
    for i in range(round(seconds * RATE)):
        pause = began + i / RATE - time.perf_counter()
        if pause > 0:
            time.sleep(pause)
        if ask is not None:
            asked = time.perf_counter()
            ask(i)
            times.append((time.perf_counter() - asked) * 1000.0)
    passed = time.perf_counter() - began
    after, share = missed(local), 100.0 * (control_cpu_s(box) - cpu) / passed
    hops = after[0] - before[0]
    lost = after[1] - before[1]
    times.sort()
    figures = f"{times[len(times) // 2]:8.2f}{times[int(len(times) * 0.99)]:8.2f}" if times else f"{'-':>8}{'-':>8}"
    print(f"{name:44}{figures}{lost:8}{1000.0 * lost / max(1, hops):15.2f}{share:7.2f}", flush=True)


def missed(client: ControlClient) -> tuple[int, int]:
    """Hops, and hops that were missed."""
    counters = client.status()["counters"]
    return counters["hops"], counters["late_hops"] + counters["dropped_hops"] + counters["underruns"]


def control_cpu_s(box: dict[str, Any]) -> float:
    """CPU time of the server's thread and of libzmq's, s (Linux)."""
    ticks = 0
    for thread in box["threads"]:
        fields = Path(f"/proc/{box['pid']}/task/{thread}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


@contextmanager
def flood(endpoint: str) -> Iterator[dict[str, int]]:
    """Somebody who sends as fast as it goes, and reads."""
    counts = {"sent": 0, "answered": 0, "limited": 0}
    stop = threading.Event()

    def send() -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        socket = context.socket(zmq.DEALER)
        socket.linger = 0
        socket.connect(endpoint)
        socket.send(b'{"jsonrpc":"2.0","id":1,"method":"hello","params":{"proto":"1.0"}}')
        while not stop.is_set():
            try:
                for _ in range(20):
                    socket.send(b'{"jsonrpc":"2.0","id":2,"method":"status"}', zmq.NOBLOCK)
                    counts["sent"] += 1
            except zmq.Again:
                pass
            while socket.poll(0):
                counts["answered"] += 1
                counts["limited"] += b"rate_limited" in socket.recv()
            time.sleep(0.004)
        context.destroy(linger=0)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield counts
    finally:
        stop.set()
        thread.join()


def hotkey() -> None:
    """From the start of a process to its end: `pse-stream ctl toggle`, and the interpreter alone."""
    for name, words in (("python -c pass", ["-c", "pass"]), ("ctl toggle", ["-m", "pse_stream.main", "ctl", "toggle"])):
        runs = []
        for _ in range(15):
            began, used = time.perf_counter(), os.times()
            subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
            after = os.times()
            cpu = after.children_user + after.children_system - used.children_user - used.children_system
            runs.append((time.perf_counter() - began, cpu))
        wall, cpu = (sorted(column)[len(runs) // 2] * 1000.0 for column in zip(*runs, strict=True))
        print(f"{name:44}{wall:6.0f} ms from start to end, {cpu:.0f} ms of CPU time (median of {len(runs)})")


def echo() -> str:
    """Round trips and cost of two bare sockets at the same pace: what this machine can do now."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with tempfile.TemporaryDirectory() as folder:
        back, asking = context.socket(zmq.ROUTER), context.socket(zmq.DEALER)
        back.bind(f"ipc://{folder}/echo")
        asking.connect(f"ipc://{folder}/echo")

        def answer() -> None:
            began = time.thread_time()
            for _ in range(200):
                back.send_multipart(back.recv_multipart())
            costs.append((time.thread_time() - began) / 200 * RATE * 100.0)

        costs: list[float] = []

        thread = threading.Thread(target=answer)
        thread.start()
        times = []
        for _ in range(200):
            began = time.perf_counter()
            asking.send(b"x" * 100)
            asking.recv()
            times.append((time.perf_counter() - began) * 1000.0)
            time.sleep(1.0 / RATE)
        thread.join()
        context.destroy(linger=0)
    times.sort()
    return f"p50 {times[100]:.2f}, p99 {times[197]:.2f} ms, CPU {costs[0]:.2f} % of a core"


@contextmanager
def denoiser(engine: str) -> Iterator[dict[str, Any]]:
    """A denoiser with keys and folders of its own; what it says of itself."""
    with tempfile.TemporaryDirectory(prefix="pse") as folder:
        for name in ("RUNTIME_DIR", "CONFIG_HOME", "STATE_HOME", "DATA_HOME"):
            os.environ[f"XDG_{name}"] = f"{folder}/{name}"
            Path(f"{folder}/{name}").mkdir(mode=0o700)
        ring = Keyring()
        ring.new("server")
        ring.allow("desk", ring.new("desk").public, "control")
        program = [sys.executable, __file__, "--serve", "--engine", engine]
        with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            box = json.loads(process.stdout.readline())
            ring.trust(box["tcp"].removeprefix("tcp://"), ring.load("server").public)
            time.sleep(2.0)
            try:
                yield box
            finally:
                process.communicate()  # its standard input ends: it stops


def serve(engine: str) -> None:
    """The denoiser's process: runs until standard input ends."""
    from pse_stream.control.hosting import control_server
    from pse_stream.control.instance import InstanceLock
    from pse_stream.streaming.denoiser import Denoiser
    from pse_stream.streaming.devices.file import FileDevice
    from pse_stream.streaming.process import sound_process
    from pse_stream.streaming.settings import Settings

    device = FileDevice(RECORDING, realtime=True, loop=True)
    with InstanceLock() as lock, Denoiser(Settings(engine=engine), device=device) as running, sound_process():
        before = tasks()
        with control_server(running, lock, tcp="tcp://127.0.0.1:0") as server:
            box = {
                "pid": os.getpid(),
                "ipc": server.endpoints[0],
                "tcp": server.endpoints[1],
                "threads": sorted(tasks() - before),
            }
            print(json.dumps(box), flush=True)
            sys.stdin.read()


def tasks() -> set[int]:
    """Threads of this process."""
    return {int(path.name) for path in Path("/proc/self/task").iterdir()}


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="What remote control costs.")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each line of the table")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
