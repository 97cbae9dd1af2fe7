"""`pse-stream keys`: who may control a denoiser over a network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pse_stream.cli import flags
from pse_stream.cli.console import Console

if TYPE_CHECKING:
    from pse_stream.control.keys import Keyring

ROLES = click.Choice(["observe", "control"])


@click.group(name="keys")
def command() -> None:
    """Make keys, and say who may control this machine's denoiser over a network.

    \b
    On the machine with the microphone:   On the machine that controls it:
      pse-stream keys new server            pse-stream keys new desk
      pse-stream keys allow desk KEY        pse-stream keys trust box KEY
      pse-stream run --bind tcp://0.0.0.0   pse-stream ctl --connect tcp://box status
    """


def _ring() -> Keyring:
    from pse_stream.control.keys import Keyring

    return Keyring()


@command.command(name="new")
@click.argument("name")
@click.option("--role", type=ROLES, help="Also allow it on this machine, in this role.")
@flags.common()
def new(*, console: Console, name: str, role: Any) -> None:
    """Make a key pair; the name "server" is the denoiser's own."""
    from pse_stream.control import keys_cli
    from pse_stream.control.keys import fingerprint

    pair = keys_cli.new(_ring(), name, role)
    console.result(pair.public)
    console.note(f'key "{name}", fingerprint {fingerprint(pair.public)}')
    console.note(keys_cli.next_step(name, pair, role))
    console.object({"name": name, "public": pair.public, "fingerprint": fingerprint(pair.public), "role": role})


@command.command(name="list")
@flags.common()
def list_(*, console: Console) -> None:
    """List our keys, who is allowed, and the servers we know; never a secret."""
    from pse_stream.control import keys_cli

    found = keys_cli.listing(_ring())
    rows = [["own", row["name"], "-", row["fingerprint"], row["public"]] for row in found["own"]]
    rows += [["allowed", row["name"], row["role"], row["fingerprint"], row["public"]] for row in found["allowed"]]
    rows += [["server", row["server"], "-", row["fingerprint"], row["public"]] for row in found["servers"]]
    console.table(["kind", "name", "role", "fingerprint", "public key"], rows)
    if not rows:
        console.note("There are no keys. Make one: pse-stream keys new NAME")
    console.object(found)


@command.command(name="show")
@click.argument("name", default="server")
@flags.common()
def show(*, console: Console, name: str) -> None:
    """Print the public key of a pair made here (default: the server's)."""
    from pse_stream.control.keys import fingerprint

    public = _ring().load(name).public
    console.result(public)
    console.note(f"fingerprint {fingerprint(public)}")
    console.object({"name": name, "public": public, "fingerprint": fingerprint(public)})


@command.command(name="allow")
@click.argument("name")
@click.argument("public", required=False, metavar="[PUBLIC-KEY|FILE]")
@click.option("--role", type=ROLES, default="control", show_default=True, help="observe looks, control changes.")
@flags.common()
def allow(*, console: Console, name: str, public: str | None, role: Any) -> None:
    """Let the holder of a key control this machine's denoiser; acts at once."""
    from pse_stream.control import keys_cli
    from pse_stream.control.keys import fingerprint

    entry = keys_cli.allow(_ring(), name, public, role)
    console.note(f"{entry.name} may {entry.role}; fingerprint {fingerprint(entry.public)}")
    console.object({"name": entry.name, "role": entry.role, "public": entry.public})


@command.command(name="revoke")
@click.argument("name", metavar="NAME|KEY|FINGERPRINT")
@flags.common()
def revoke(*, console: Console, name: str) -> None:
    """Shut the holder of a key out; acts at once, on connections that are open too."""
    gone = _ring().revoke(name)
    console.note(f"{gone.name} is shut out.")
    console.object({"name": gone.name, "public": gone.public})


@command.command(name="trust")
@click.argument("server", metavar="HOST[:PORT]")
@click.argument("public", metavar="PUBLIC-KEY|FILE")
@flags.common()
def trust(*, console: Console, server: str, public: str) -> None:
    """Remember a denoiser's public key, so that nobody can pose as it."""
    from pse_stream.control import keys_cli

    where = keys_cli.trust(_ring(), server, public)
    console.note(f"Reach it with: pse-stream ctl --connect tcp://{where} status")
    console.object({"server": where})
