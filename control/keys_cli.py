"""What `pse-stream keys …` does, as functions that return what is to be shown."""

from __future__ import annotations

from typing import Any

from pse_stream.control.allowed import Allowed, Role
from pse_stream.control.keys import SERVER_KEY, KeyPair, Keyring, fingerprint
from pse_stream.control.link import normal_tcp


def new(ring: Keyring, name: str, role: Role | None) -> KeyPair:
    """Make a pair; with a role it may also control the denoiser of this machine."""
    pair = ring.new(name)
    if role is not None:
        ring.allow(name, pair.public, role)
    return pair


def listing(ring: Keyring) -> dict[str, Any]:
    """Our own pairs, who is allowed here, and which servers we know; no secret among them."""
    own = [
        {"name": name, "public": (public := ring.load(name).public), "fingerprint": fingerprint(public)}
        for name in ring.own()
    ]
    allowed = [
        {"name": entry.name, "role": entry.role, "public": entry.public, "fingerprint": fingerprint(entry.public)}
        for entry in ring.allowed()
    ]
    servers = [
        {"server": server, "public": public, "fingerprint": fingerprint(public)}
        for server, public in sorted(ring.known_servers().items())
    ]
    return {"own": own, "allowed": allowed, "servers": servers}


def allow(ring: Keyring, name: str, public: str | None, role: Role) -> Allowed:
    """Let a key in; without a key, the pair of that name made here."""
    entry = Allowed(name, role, ring.public_of(public or name))
    ring.allow(entry.name, entry.public, entry.role)
    return entry


def trust(ring: Keyring, server: str, public: str) -> str:
    """Remember a server's key; the server as `host:port`."""
    address = server if server.startswith("tcp://") else f"tcp://{server}"
    where = normal_tcp(address).removeprefix("tcp://")
    ring.trust(where, ring.public_of(public))
    return where


def next_step(name: str, pair: KeyPair, role: Role | None) -> str:
    """What to do with a key that was just made."""
    if name == SERVER_KEY:
        return (
            f"On each machine that should reach this one: pse-stream keys trust THIS-HOST '{pair.public}'\n"
            "Then start with: pse-stream run --bind tcp://ADDRESS"
        )
    if role is not None:
        return f"It may {role} the denoiser of this machine."
    return f"On the machine to be controlled: pse-stream keys allow {name} '{pair.public}' --role control"
