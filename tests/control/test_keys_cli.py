from __future__ import annotations

import json
from pathlib import Path

import pytest

from pse_stream.control import keys_cli
from pse_stream.control.keys import Keyring
from pse_stream.errors import ControlError


@pytest.fixture
def ring(tmp_path: Path) -> Keyring:
    return Keyring(tmp_path / "keys")


def test_a_new_key_may_be_allowed_in_one_step(ring: Keyring) -> None:
    pair = keys_cli.new(ring, "desk", "observe")
    assert [(e.name, e.role, e.public) for e in ring.allowed()] == [("desk", "observe", pair.public)]
    assert "may observe" in keys_cli.next_step("desk", pair, "observe")


def test_the_next_step_can_be_typed_as_it_is_shown(ring: Keyring) -> None:
    pair = keys_cli.new(ring, "desk", None)
    assert f"keys allow desk '{pair.public}'" in keys_cli.next_step("desk", pair, None)
    server = keys_cli.new(ring, "server", None)
    assert f"keys trust THIS-HOST '{server.public}'" in keys_cli.next_step("server", server, None)
    assert "'" not in pair.public + server.public


def test_the_list_holds_no_secret(ring: Keyring) -> None:
    pair = keys_cli.new(ring, "desk", "control")
    keys_cli.trust(ring, "box", pair.public)
    found = keys_cli.listing(ring)
    assert [row["name"] for row in found["own"]] == ["desk"]
    assert [(row["name"], row["role"]) for row in found["allowed"]] == [("desk", "control")]
    assert [row["server"] for row in found["servers"]] == ["box:7270"]
    assert pair.secret not in json.dumps(found)


def test_a_pair_made_here_can_be_allowed_by_its_name(ring: Keyring) -> None:
    pair = ring.new("desk")
    assert keys_cli.allow(ring, "desk", None, "control").public == pair.public


def test_a_server_is_named_with_its_port(ring: Keyring) -> None:
    public = ring.new("x").public
    assert keys_cli.trust(ring, "tcp://box:9", public) == "box:9"
    with pytest.raises(ControlError):
        keys_cli.trust(ring, "a/b", public)
