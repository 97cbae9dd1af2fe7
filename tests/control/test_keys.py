from __future__ import annotations

import stat
from pathlib import Path

import pytest

from pse_stream.control.allowed import AllowList
from pse_stream.control.keys import Keyring, fingerprint
from pse_stream.errors import ControlError


@pytest.fixture
def ring(tmp_path: Path) -> Keyring:
    return Keyring(tmp_path / "keys")


def test_a_new_key_is_for_its_owner_alone_and_can_be_read_back(ring: Keyring) -> None:
    pair = ring.new("desk")
    secret = ring.folder / "desk.secret"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert stat.S_IMODE(ring.folder.stat().st_mode) == 0o700
    assert ring.load("desk") == pair
    assert pair.secret not in repr(pair)
    assert pair.secret not in (ring.folder / "desk.public").read_text()


def test_a_key_is_never_overwritten(ring: Keyring) -> None:
    ring.new("desk")
    with pytest.raises(ControlError, match="exists"):
        ring.new("desk")


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_secret_that_others_can_read_is_not_used(ring: Keyring, mode: int) -> None:
    ring.new("desk")
    (ring.folder / "desk.secret").chmod(mode)
    with pytest.raises(ControlError, match="chmod 600") as caught:
        ring.load("desk")
    assert caught.value.name == "key_mode"


def test_a_damaged_secret_is_refused(ring: Keyring) -> None:
    ring.new("desk")
    path = ring.folder / "desk.secret"
    path.write_text(path.read_text()[:-10])
    with pytest.raises(ControlError, match="damaged"):
        ring.load("desk")


def test_a_missing_key_says_how_to_make_one(ring: Keyring) -> None:
    with pytest.raises(ControlError, match="keys new desk"):
        ring.load("desk")


@pytest.mark.parametrize("name", ["", "../desk", "a b", "A", "x" * 33])
def test_names_that_could_be_paths_are_refused(ring: Keyring, name: str) -> None:
    with pytest.raises(ControlError, match="cannot name a key"):
        ring.new(name)


def test_allow_and_revoke(ring: Keyring) -> None:
    desk, laptop = ring.new("desk").public, ring.new("laptop").public
    ring.allow("desk", desk, "control")
    ring.allow("laptop", laptop, "observe")
    assert [(e.name, e.role) for e in ring.allowed()] == [("desk", "control"), ("laptop", "observe")]
    ring.allow("desk", desk, "observe")
    assert {e.name: e.role for e in ring.allowed()} == {"desk": "observe", "laptop": "observe"}
    assert ring.revoke(fingerprint(desk)).name == "desk"
    assert [e.name for e in ring.allowed()] == ["laptop"]
    with pytest.raises(ControlError, match="allowed: laptop"):
        ring.revoke("desk")


def test_an_allow_list_that_others_can_change_lets_nobody_in(ring: Keyring) -> None:
    ring.allow("desk", ring.new("desk").public, "control")
    ring.allowed_path.chmod(0o620)
    with pytest.raises(ControlError, match="changed by others"):
        ring.allowed()
    allowed = AllowList(ring.allowed_path)
    assert not allowed.keys()
    assert "changed by others" in allowed.problem


@pytest.mark.parametrize("line", ["short control desk", "x" * 40 + " admin desk", "x" * 40 + " control"])
def test_a_line_that_cannot_be_read_is_named(ring: Keyring, line: str) -> None:
    ring.allow("desk", ring.new("desk").public, "control")
    ring.allowed_path.write_text(ring.allowed_path.read_text() + line + "\n")
    with pytest.raises(ControlError, match="line 3"):
        ring.allowed()


def test_a_running_server_sees_changes(ring: Keyring) -> None:
    allowed = AllowList(ring.allowed_path)
    public = ring.new("desk").public
    assert allowed.get(public) is None
    ring.allow("desk", public, "control")
    found = allowed.get(public)
    assert found is not None and found.role == "control"
    ring.revoke("desk")
    assert allowed.get(public) is None


def test_servers_are_remembered(ring: Keyring) -> None:
    first, second = ring.new("one").public, ring.new("two").public
    ring.trust("box:7270", first)
    ring.trust("box:7270", second)
    assert ring.known_servers() == {"box:7270": second}


def test_a_public_key_is_found_as_text_file_or_name(ring: Keyring) -> None:
    public = ring.new("desk").public
    assert ring.public_of(public) == public
    assert ring.public_of("desk") == public
    assert ring.public_of(str(ring.folder / "desk.public")) == public
    with pytest.raises(ControlError, match="no public key"):
        ring.public_of("nobody")
