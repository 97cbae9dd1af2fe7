from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pse_stream.control.instance import (
    InstanceLock,
    control_path,
    lock_path,
    running_instances,
    running_pid,
    runtime_dir,
)
from pse_stream.errors import BusyError, ControlError


def test_the_folder_is_made_for_its_owner_alone(home: Path) -> None:
    folder = runtime_dir(create=True)
    assert folder == home / "runtime" / "pse-stream"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_folder_that_others_can_enter_is_refused_with_the_fix(home: Path) -> None:
    runtime_dir(create=True).chmod(0o755)
    with pytest.raises(ControlError, match="chmod 700"):
        runtime_dir(create=True)


def test_a_link_in_place_of_the_folder_is_refused(home: Path) -> None:
    (home / "elsewhere").mkdir(mode=0o700)
    (home / "runtime" / "pse-stream").symlink_to(home / "elsewhere")
    with pytest.raises(ControlError, match="not a folder"):
        runtime_dir(create=True)


def test_a_relative_runtime_dir_is_ignored_as_xdg_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "relative")
    assert runtime_dir().is_absolute()


@pytest.mark.parametrize("name", ["", "../x", "a/b", "UPPER", "-x", "x" * 33, "a\n"])
def test_names_that_could_be_paths_are_refused(home: Path, name: str) -> None:
    with pytest.raises(ControlError, match="instance name"):
        control_path(name)


def test_a_socket_name_that_the_kernel_cannot_hold_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/tmp/" + "x" * 120)
    with pytest.raises(ControlError, match="107 bytes"):
        control_path("default")


def test_one_process_per_name_and_several_names(home: Path) -> None:
    with InstanceLock("default"), InstanceLock("second"):
        with pytest.raises(BusyError, match=str(os.getpid())):
            InstanceLock("default").acquire()
        assert running_pid("default") == os.getpid()
        assert running_instances() == ["default", "second"]
    assert running_pid("default") is None
    assert not lock_path("default").exists()


def test_a_killed_owner_leaves_nothing_that_has_to_be_cleaned(home: Path) -> None:
    program = (
        "import sys, time; from pse_stream.control.instance import InstanceLock;"
        "InstanceLock('default').acquire(); print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"held\n"
        assert running_pid("default") == owner.pid
        owner.kill()
        owner.wait()
    assert lock_path("default").exists()
    assert running_pid("default") is None
    with InstanceLock("default"):
        assert running_pid("default") == os.getpid()
