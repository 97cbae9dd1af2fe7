"""Where a running denoiser is found: the runtime folder, its sockets, and the lock that keeps it single.

    $XDG_RUNTIME_DIR/pse-stream/      0700, so that the sockets need no key: whoever gets here is the same user
        default.lock                  held while the instance runs; says its process id
        default.sock                  commands  (ZeroMQ ROUTER)
        default.telemetry.sock        telemetry (ZeroMQ XPUB)

Standard library only: `pse-stream ctl` starts here.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import stat
import time
from pathlib import Path

from pse_stream.errors import BusyError, ControlError

DEFAULT_INSTANCE = "default"
DEFAULT_PORT = 7270  # for tcp://; unassigned by IANA
_INSTANCE = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}\Z")
_UNIX_PATH_BYTES = 107  # sun_path of Linux, less the final zero
_LOCK_TRIES, _LOCK_WAIT_S = 5, 0.02  # a client that looks whether we run holds the lock for microseconds


def runtime_dir(create: bool = False) -> Path:
    """The folder of sockets and locks of this user.

    Parameters
    ----------
    create : bool
        Make it, and insist that it is ours and nobody else's.

    Raises
    ------
    ControlError
        If it exists and others may enter it, or it is a link.
    """
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(base):
        folder = Path(base) / "pse-stream"
    else:
        system = Path(f"/run/user/{os.getuid()}")
        import tempfile  # brings compression modules with it: 10 ms for nothing on most machines

        usable = system.is_dir() and os.access(system, os.W_OK)
        folder = system / "pse-stream" if usable else Path(tempfile.gettempdir()) / f"pse-stream-{os.getuid()}"
    if create:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _insist_private(folder)
    return folder


def _insist_private(folder: Path) -> None:
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise ControlError(
            f"the control folder {folder} is not a folder of this user's own.",
            name="runtime_dir",
            hint="Remove it, or set XDG_RUNTIME_DIR to a folder that only you can enter.",
        )
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise ControlError(
            f"the control folder {folder} can be entered by others ({stat.S_IMODE(found.st_mode):04o}).",
            name="runtime_dir",
            hint=f"Fix: chmod 700 {folder}",
        )


def check_instance(name: str) -> str:
    """`name`, if it can be an instance's name.

    Raises
    ------
    ControlError
        If it could not be part of a file name.
    """
    if not _INSTANCE.match(name):
        raise ControlError(
            f"instance name {name!r} cannot be used; expected 1 to 32 of a-z, 0-9, - and _", name="bad_instance"
        )
    return name


def control_path(instance: str) -> Path:
    """Socket of the command channel."""
    return _checked(runtime_dir() / f"{check_instance(instance)}.sock")


def telemetry_path(instance: str) -> Path:
    """Socket of the telemetry."""
    return _checked(runtime_dir() / f"{check_instance(instance)}.telemetry.sock")


def lock_path(instance: str) -> Path:
    """Lock file of an instance; holds its process id."""
    return runtime_dir() / f"{check_instance(instance)}.lock"


def _checked(path: Path) -> Path:
    if len(os.fsencode(path)) > _UNIX_PATH_BYTES:
        raise ControlError(
            f"the socket name {path} is longer than {_UNIX_PATH_BYTES} bytes.",
            name="runtime_dir",
            hint="Set XDG_RUNTIME_DIR to a shorter folder.",
        )
    return path


def running_pid(instance: str) -> int | None:
    """Process id of the running instance, 0 if it runs but its id is unknown; None if nothing runs."""
    try:
        with lock_path(instance).open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                text = file.read(32).strip()
                return int(text) if text.isdigit() else 0
            return None
    except OSError:
        return None


def running_instances() -> list[str]:
    """Names of the instances of this user that run now."""
    folder = runtime_dir()
    names = sorted(path.stem for path in folder.glob("*.lock")) if folder.is_dir() else []
    return [name for name in names if _INSTANCE.match(name) and running_pid(name) is not None]


class InstanceLock:
    """One process per instance name; taken before anything else is opened, let go last.

    The kernel lets it go if the process is killed, so that nothing is left to clean.
    """

    def __init__(self, instance: str = DEFAULT_INSTANCE) -> None:
        self.instance = check_instance(instance)
        self._fd: int | None = None

    def acquire(self) -> None:
        """Take the name.

        Raises
        ------
        BusyError
            If another process runs under it.
        """
        runtime_dir(create=True)
        path = lock_path(self.instance)
        for _ in range(_LOCK_TRIES):
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_at(fd, path):
                    os.ftruncate(fd, 0)
                    os.write(fd, str(os.getpid()).encode())
                    self._fd = fd
                    return
            os.close(fd)
            time.sleep(_LOCK_WAIT_S)
        pid = running_pid(self.instance)
        raise BusyError(
            f'already running as instance "{self.instance}" (pid {pid or "unknown"}).',
            hint=f"Use --instance NAME or: pse-stream ctl {_named(self.instance)}quit",
        )

    def release(self) -> None:
        """Let the name go; safe to call twice."""
        if self._fd is None:
            return
        lock_path(self.instance).unlink(missing_ok=True)
        os.close(self._fd)
        self._fd = None

    def __enter__(self) -> InstanceLock:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def _is_at(fd: int, path: Path) -> bool:
    """False if the file was removed by its last owner between our opening and locking it."""
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False


def _named(instance: str) -> str:
    return "" if instance == DEFAULT_INSTANCE else f"--instance {instance} "
