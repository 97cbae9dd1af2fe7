"""What remote control costs: round trips, missed hops with and without it, floods, and telemetry.

    python benchmarks/control.py [--rounds 5] [--seconds 4] [--engine ID]

A denoiser plays a recording in real time in a process of its own, set up as `pse-stream run` sets it up, with its
control channel on a socket file and over TCP with keys. Each round measures every kind of use for some seconds, among
them none at all, so that other programs on this machine disturb all of them alike; the middle of the rounds counts.
Requests come 50 a second; questions (status) and changes (limit, bypass, mute) apart: a change is answered when the
worker has made it, between two hops. `echo` is two bare Python sockets in two processes at the same pace: what ZeroMQ
and this machine take by themselves. Missed hops are those that were late, dropped or not there in time. CPU shares are
CPU time of the server's threads and of libzmq's over the time that passed; it grows when others share the core and its
caches, as the plain loop in the first line does. Where other programs want the processor and
the system allows it, `chrt -f 5 python benchmarks/control.py` shows what an idle machine would.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import zmq

from pse_stream.control.client import ControlClient
from pse_stream.control.keys import Keyring
from pse_stream.control.reader import TelemetryReader
from pse_stream.errors import ControlError

ROOT = Path(__file__).resolve().parent.parent
RECORDING = ROOT / "examples" / "noisy.flac"
RATE = 50.0  # requests a second
SCREEN = ["state", "engine", "gate", "governor", "events", "meters", "spectrum"]
WANTED = (
    "wanted: ctl toggle < 150 ms; p50 < 1 ms, p99 < 10 ms; missed hops as without control; telemetry < 1 % of a core"
)
HELLO = b'{"jsonrpc":"2.0","id":1,"method":"hello","params":{"proto":"1.0"}}'
STATUS = b'{"jsonrpc":"2.0","id":2,"method":"status"}'

Ask = Callable[[int], object]


@dataclass
class Use:
    """One kind of use, and what was found in each round."""

    name: str
    ask: Ask | None = None  # called with a number, 50 times a second
    beside: Callable[[], AbstractContextManager[object]] = nullcontext
    round_trips_ms: list[list[float]] = field(default_factory=list)
    hops: int = 0
    missed: int = 0
    shares: list[float] = field(default_factory=list)

    def row(self) -> str:
        """A line of the table: middle of the rounds, missed hops of all of them."""
        per_1000 = 1000.0 * self.missed / max(1, self.hops)
        return f"{self.name:44}{times(self.round_trips_ms)}{self.missed:8}{per_1000:10.2f}{median(self.shares):8.2f}"


def main() -> None:
    """Print a table."""
    arguments = parsed()
    if arguments.serve:
        serve(arguments.engine)
        return
    if arguments.flood:
        flood(*arguments.flood)
        return
    print(
        f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; "
        f"a plain loop takes {loop_ms():.0f} ms of CPU time now"
    )
    with denoiser(arguments.engine) as box, ControlClient() as local, ControlClient(box["tcp"], key="desk") as far:
        hotkey()
        notes: dict[str, str] = {}
        uses = kinds(box, local, far, notes)
        with echo() as ask_echo:
            echoes: list[list[float]] = []
            for _ in range(arguments.rounds):
                echoes.append(round_trips(ask_echo, arguments.seconds))
                for use in uses:
                    stretch(use, box, arguments.seconds)
                    patience(local, box)
        print(f"{'':44}{'p50 ms':>8}{'p99 ms':>8}{'missed':>8}{'per 1000':>10}{'CPU %':>8}")
        print(f"{'echo of bare sockets':44}{times(echoes)}")
        for use in uses:
            print(use.row())
        print(*notes.values(), sep="\n")
    print(f"load average {os.getloadavg()[0]:.1f}, loop {loop_ms():.0f} ms at the end. {WANTED}")


def kinds(box: dict[str, Any], local: ControlClient, far: ControlClient, notes: dict[str, str]) -> list[Use]:
    """What is measured."""

    def flooded(kind: str) -> AbstractContextManager[None]:
        return beside(kind, box["ipc"], notes)

    return [
        Use("without control"),
        Use("status, ipc", lambda _: local.status()),
        Use("changes, ipc", lambda i: change(local, i)),
        Use("status, CURVE over TCP", lambda _: far.status()),
        Use("changes, CURVE over TCP", lambda i: change(far, i)),
        Use("status beside a flood of messages", lambda _: local.status(), lambda: flooded("messages")),
        Use("a flood of connections", beside=lambda: flooded("connections")),
        Use("telemetry: meters, 25 a second", beside=lambda: TelemetryReader(local, ["meters"])),
        Use("telemetry: what the screen hears", beside=lambda: TelemetryReader(local, SCREEN)),
    ]


def change(client: ControlClient, i: int) -> None:
    """One of three changes that are always possible."""
    if i % 3 == 0:
        client.set_attenuation(10.0 + i % 20)
    elif i % 3 == 1:
        client.set_bypass(bool(i % 2))
    else:
        client.set_mute(bool(i % 2))


def stretch(use: Use, box: dict[str, Any], seconds: float) -> None:
    """Some seconds of one kind of use."""
    with use.beside():
        time.sleep(0.3)
        before, cpu, began = counted(box), control_cpu_s(box), time.perf_counter()
        found = round_trips(use.ask, seconds)
        passed = time.perf_counter() - began
        use.shares.append(100.0 * (control_cpu_s(box) - cpu) / passed)
        after = counted(box)
    if use.ask is not None:
        use.round_trips_ms.append(found)
    use.hops += after[0] - before[0]
    use.missed += after[1] - before[1]


def round_trips(ask: Ask | None, seconds: float) -> list[float]:
    """Milliseconds of each."""
    began, found = time.perf_counter(), []
    for i in range(round(seconds * RATE)):
        pause = began + i / RATE - time.perf_counter()
        if pause > 0:
            time.sleep(pause)
        if ask is not None:
            asked = time.perf_counter()
            ask(i)
            found.append((time.perf_counter() - asked) * 1000.0)
    return sorted(found)


def times(rounds: list[list[float]]) -> str:
    """The middle of the rounds' p50 and p99."""
    if not rounds:
        return f"{'-':>8}{'-':>8}"
    p50, p99 = (median(found[int(len(found) * share)] for found in rounds) for share in (0.5, 0.99))
    return f"{p50:8.2f}{p99:8.2f}"


def counted(box: dict[str, Any]) -> tuple[int, int]:
    """Hops, and hops that were missed; asked on a way of its own."""
    box["asking"].write("?\n")
    box["asking"].flush()
    hops, missed = map(int, box["saying"].readline().split())
    return hops, missed


def patience(client: ControlClient, box: dict[str, Any]) -> None:
    """Wait until what a flood has left behind is worked off."""
    for _ in range(40):
        before = control_cpu_s(box)
        time.sleep(0.5)
        if control_cpu_s(box) - before < 0.005:
            break
    with suppress(ControlError):
        client.status()  # hello again, if that is needed


def control_cpu_s(box: dict[str, Any]) -> float:
    """CPU time of the server's thread and of libzmq's, s (Linux)."""
    tasks = (Path(f"/proc/{box['pid']}/task/{thread}/schedstat") for thread in box["threads"])
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


@contextmanager
def beside(kind: str, endpoint: str, notes: dict[str, str]) -> Iterator[None]:
    """A process that floods the channel; it says how much it sent."""
    program = [sys.executable, __file__, "--flood", kind, endpoint]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield
        finally:
            said, _ = process.communicate()  # its standard input ends: it stops
            notes[kind] = said.strip()


def flood(kind: str, endpoint: str) -> None:
    """The flooder's process: thousands of messages a second for as long as standard input is open."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    stdin = zmq.Poller()
    stdin.register(sys.stdin.fileno(), zmq.POLLIN)
    sockets = [connected(context, endpoint) for _ in range(2)]
    offered = taken = answered = limited = connects = 0
    print("ready", flush=True)
    began = time.monotonic()
    while not stdin.poll(8):
        for at, socket in enumerate(sockets):
            for _ in range(20):
                offered += 1
                taken += sent(socket)
            while socket.poll(0):
                answered += 1
                limited += b"rate_limited" in socket.recv()
            if kind == "connections":
                socket.close(linger=50)
                sockets[at] = connected(context, endpoint)
                connects += 1
    passed = time.monotonic() - began
    context.destroy(linger=0)
    print(
        f"a flood of {kind}: {offered / passed:.0f} messages and {connects / passed:.0f} connections a second; "
        f"{taken / passed:.0f} taken off, {answered / passed:.0f} answered, {limited / passed:.0f} with rate_limited"
    )


def connected(context: zmq.Context[zmq.Socket[bytes]], endpoint: str) -> zmq.Socket[bytes]:
    """A socket of somebody with bad manners."""
    socket = context.socket(zmq.DEALER)
    socket.linger = 0
    socket.connect(endpoint)
    socket.send(HELLO)
    return socket


def sent(socket: zmq.Socket[bytes]) -> bool:
    """False if there is no room."""
    try:
        socket.send(STATUS, zmq.NOBLOCK)
    except zmq.Again:
        return False
    return True


@contextmanager
def echo() -> Iterator[Ask]:
    """Two bare sockets in two processes."""
    program = (
        "import sys, zmq; s = zmq.Context().socket(zmq.ROUTER); s.bind(sys.argv[1])\n"
        "while True: s.send_multipart(s.recv_multipart())"
    )
    with tempfile.TemporaryDirectory(prefix="pse") as folder:
        endpoint = f"ipc://{folder}/echo"
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        with subprocess.Popen([sys.executable, "-c", program, endpoint]) as process:
            socket = context.socket(zmq.DEALER)
            socket.connect(endpoint)

            def ask(_: int) -> None:
                socket.send(STATUS)
                socket.recv()

            try:
                ask(0)
                yield ask
            finally:
                process.terminate()
                context.destroy(linger=0)


def loop_ms() -> float:
    """CPU time of a million additions: how fast this machine is now."""
    began, total = time.thread_time(), 0
    for i in range(1_000_000):
        total += i
    return (time.thread_time() - began) * 1000.0


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
            box = json.loads(process.stdout.readline()) | {"asking": process.stdin, "saying": process.stdout}
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
            for _ in sys.stdin:
                now = running.snapshot.counters
                print(now.hops, now.late_hops + now.dropped_hops + now.underruns, flush=True)


def tasks() -> set[int]:
    """Threads of this process."""
    return {int(path.name) for path in Path("/proc/self/task").iterdir()}


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="What remote control costs.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each kind of use in each round")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--flood", nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
