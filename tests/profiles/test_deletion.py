"""Deleting a profile: everything that was listed goes, nothing else does."""

from __future__ import annotations

from pathlib import Path

import pytest

from pse_stream.errors import ConfigError
from pse_stream.profiles.deletion import carry_out, plan_deletion
from pse_stream.profiles.folders import profiles_folder
from pse_stream.profiles.store import new_profile

from .people import full_profile, tree


def test_all_that_is_listed_goes_and_the_receipt_says_what(tmp_path: Path) -> None:
    full_profile(tmp_path)
    new_profile("bob")
    plan = plan_deletion("alice")
    assert [part.what for part in plan.parts] == [
        "voice and clips",
        "adapted models",
        "notes.txt",
        "settings",
        "recorded sessions",
    ]
    found = tree(plan.folder)
    assert (plan.files, plan.bytes, plan.done) == (len(found), sum(map(len, found.values())), None)
    receipt = carry_out(plan)
    assert receipt.done is not None
    assert receipt.parts == plan.parts
    assert [path.name for path in profiles_folder().iterdir()] == ["bob"]


def test_sessions_on_another_disk_go_too_and_nothing_beside_them(tmp_path: Path) -> None:
    profile = full_profile(tmp_path)
    disk = tmp_path / "disk"
    disk.mkdir()
    (disk / "other").write_text("mine")
    profile.sessions.rename(disk / "sessions")
    profile.sessions.symlink_to(disk / "sessions")
    plan = plan_deletion("alice")
    part = next(part for part in plan.parts if part.what == "recorded sessions")
    assert part.path == disk / "sessions"
    assert part.bytes > 0
    carry_out(plan)
    assert tree(disk) == {"other": b"mine"}
    assert list(profiles_folder().iterdir()) == []


def test_a_damaged_profile_can_be_deleted_and_an_example_cannot() -> None:
    profile = new_profile("eve")
    (profile.folder / "profile.toml").write_text("= = =")
    carry_out(plan_deletion("eve"))
    assert list(profiles_folder().iterdir()) == []
    with pytest.raises(ConfigError) as caught:
        plan_deletion("alice")
    assert caught.value.name == "example_profile"
    with pytest.raises(ConfigError, match="no profile"):
        plan_deletion("../alice")
