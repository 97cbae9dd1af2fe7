"""Folders of their own, a fake denoiser, and a server in front of it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pse_stream.control.client import ControlClient
from pse_stream.control.desk import Desk
from pse_stream.control.keys import Keyring
from pse_stream.control.server import ControlServer

from .fake_denoiser import FakeCatalog, FakeDenoiser


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """XDG folders in a short path (socket names hold 107 bytes) that is removed."""
    folder = Path(tempfile.mkdtemp(prefix="pse"))
    for name in ("runtime", "config", "state", "data"):
        (folder / name).mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder / "runtime"))
    for name in ("config", "state", "data"):
        monkeypatch.setenv(f"XDG_{name.upper()}_HOME", str(folder / name))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def fake() -> FakeDenoiser:
    return FakeDenoiser()


@pytest.fixture
def server(home: Path, fake: FakeDenoiser) -> Iterator[ControlServer]:
    """Serves `fake` at the socket file."""
    with ControlServer(Desk(fake, FakeCatalog()), tap=fake.tap, audit=home / "audit.log") as running:
        yield running


@pytest.fixture
def client(server: ControlServer) -> Iterator[ControlClient]:
    with ControlClient() as connected:
        yield connected


@pytest.fixture
def keyring(home: Path) -> Keyring:
    """A machine with a server key, and `desk` allowed to control."""
    ring = Keyring()
    ring.new("server")
    ring.allow("desk", ring.new("desk").public, "control")
    return ring


@pytest.fixture
def network(keyring: Keyring, fake: FakeDenoiser, home: Path) -> Iterator[str]:
    """Serves `fake` over TCP with keys; the address."""
    desk = Desk(fake, FakeCatalog())
    with ControlServer(desk, tcp="tcp://127.0.0.1:0", tap=fake.tap, audit=home / "audit.log") as running:
        yield running.endpoints[1]


@pytest.fixture
def connect(network: str, keyring: Keyring) -> Iterator[Callable[..., ControlClient]]:
    """Makes clients that come over TCP with a named key."""
    made: list[ControlClient] = []

    def make(key: str, server_key: str = "server", timeout_s: float = 2.0) -> ControlClient:
        made.append(ControlClient(network, key=key, server_key=server_key, timeout_s=timeout_s))
        return made[-1]

    yield make
    for each in made:
        each.close()
