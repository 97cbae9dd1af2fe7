from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from pse_stream.control import audit
from pse_stream.control.audit import AuditLog


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_changes_and_refusals_are_lines_for_the_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "state" / "audit.log"
    log = AuditLog(path)
    log.accepted("desk", "mute.set", {"on": True}, {"revision": 4})
    log.refused("laptop", "mute.set", "not_allowed", "this key has observe")
    log.close()
    first, second = lines(path)
    assert (first["event"], first["user"], first["outcome"]) == ("accepted", "desk", {"revision": 4})
    assert (second["event"], second["name"]) == ("refused", "not_allowed")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_flood_of_refusals_is_counted_not_written(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "audit.log")
    for _ in range(10_000):
        log.refused("desk", "", "parse_error", "x")
    log.close()
    assert len(lines(tmp_path / "audit.log")) < 100


def test_the_log_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    log = AuditLog(path)
    for _ in range(2_000):
        log.accepted("desk", "x", {"text": "y" * 1000}, None)
        log.flush()
    log.close()
    sizes = [file.stat().st_size for file in tmp_path.iterdir()]
    assert len(sizes) == 2
    assert sum(sizes) < 2.1 * audit.MAX_BYTES


def test_a_place_that_cannot_be_written_is_counted_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    log = AuditLog(tmp_path / "file" / "audit.log")
    log.note("hello")
    assert log.lost == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_disk_that_is_full_is_counted_and_nothing_else() -> None:
    log = AuditLog(Path("/dev/full"))
    log.note("hello")
    log.flush()
    assert log.lost > 0
    log.close()
