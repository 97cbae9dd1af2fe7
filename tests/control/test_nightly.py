"""The nightly timer: two units that appear together and go together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from pse_stream.control.nightly import Nightly
from pse_stream.control.service import ServiceError
from pse_stream.profiles.store import new_profile


@pytest.fixture(autouse=True)
def ann(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    new_profile("ann")


class Manager:
    """A user manager that notes what it is told, and may refuse."""

    def __init__(self, refuses: str = "") -> None:
        self.told: list[tuple[str, ...]] = []
        self._refuses = refuses

    def __call__(self, words: Sequence[str]) -> tuple[int, str]:
        self.told.append(tuple(words[2:]))
        return (1, "no bus") if self._refuses and self._refuses in words else (0, "")


def test_install_writes_both_units_and_starts_the_timer() -> None:
    manager = Manager()
    nightly = Nightly("ann", manager)
    nightly.install()
    assert [path.suffix for path in nightly.paths if path.is_file()] == [".service", ".timer"]
    assert manager.told[-1] == ("enable", "--now", "pse-stream-adapt-ann.timer")
    assert nightly.remove() and not any(path.exists() for path in nightly.paths)
    assert not nightly.remove()


def test_a_refusal_leaves_nothing_behind() -> None:
    nightly = Nightly("ann", Manager(refuses="enable"))
    with pytest.raises(ServiceError, match="no bus"):
        nightly.install()
    assert not any(path.exists() for path in nightly.paths)
