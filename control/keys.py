"""Keys for control over a network: who this machine is, and who may talk to its denoiser.

    $XDG_CONFIG_HOME/pse-stream/keys/         0700
        NAME.secret      0600; both halves of a CURVE key pair; `server.secret` is the denoiser's own
        NAME.public      the half to give away
        allowed          who may talk to this denoiser: public key, role, name; a line each
        known_servers    denoisers this machine talks to: host:port, public key; a line each

Keys are Z85 text as ZeroMQ makes them (RFC 26, RFC 32). A secret that others can read is not used. The allow-list is
read again whenever it changes, so that revoking acts at once. Nothing here goes over the network.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pse_stream.control.allowed import NAME, Z85, Allowed, Role, read_allowed, read_private
from pse_stream.errors import ControlError

SERVER_KEY = "server"  # the name of the denoiser's own pair


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A CURVE pair as Z85 text."""

    name: str
    public: str
    secret: str

    def __repr__(self) -> str:
        return f"KeyPair({self.name!r}, {self.public!r}, secret hidden)"


def fingerprint(public: str) -> str:
    """Short name of a public key, for people to compare: 16 hex digits in fours."""
    digest = hashlib.sha256(public.encode()).hexdigest()[:16]
    return "-".join(digest[i : i + 4] for i in range(0, 16, 4))


def keys_dir() -> Path:
    """Folder of this user's keys."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    root = Path(base) if os.path.isabs(base) else Path.home() / ".config"
    return root / "pse-stream" / "keys"


class Keyring:
    """The keys folder."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or keys_dir()

    @property
    def allowed_path(self) -> Path:
        """The allow-list."""
        return self.folder / "allowed"

    def new(self, name: str) -> KeyPair:
        """Make a pair; an existing one is never overwritten.

        Raises
        ------
        ControlError
            If the name cannot be used or is taken.
        """
        import zmq

        _check_name(name)
        path = self.folder / f"{name}.secret"
        if path.exists():
            raise ControlError(
                f"a key named {name!r} exists ({path}).", name="key_exists", hint="Choose another name, or remove it."
            )
        public, secret = (half.decode() for half in zmq.curve_keypair())
        while public.startswith("-"):  # it is typed as an argument, and would be taken for a flag
            public, secret = (half.decode() for half in zmq.curve_keypair())
        self._make_folder()
        note = f'# secret key "{name}" of pse-stream: whoever has it is you; it stays on this machine\n'
        _write(path, f"{note}public {public}\nsecret {secret}\n")
        _write(self.folder / f"{name}.public", f"{public} {name}\n", mode=0o644)
        return KeyPair(name, public, secret)

    def load(self, name: str) -> KeyPair:
        """Read a pair.

        Raises
        ------
        ControlError
            If there is none, it can be read by others (`key_mode`), or it is damaged.
        """
        _check_name(name)
        path = self.folder / f"{name}.secret"
        try:
            text = read_private(path)
        except FileNotFoundError:
            raise ControlError(
                f"there is no key {name!r} in {self.folder}.",
                name="no_key",
                hint=f"Make one: pse-stream keys new {name}",
            ) from None
        fields = dict(line.split(maxsplit=1) for line in text.splitlines() if " " in line and not line.startswith("# "))
        public, secret = fields.get("public", ""), fields.get("secret", "")
        if not (Z85.match(public) and Z85.match(secret)):
            raise ControlError(f"the key file {path} is damaged; expected a public and a secret line.", name="bad_key")
        return KeyPair(name, public, secret)

    def own(self) -> list[str]:
        """Names of the pairs on this machine."""
        return sorted(path.stem for path in self.folder.glob("*.secret"))

    def public_of(self, text: str) -> str:
        """The public key meant by a Z85 string, a `.public` file, or the name of a pair on this machine.

        Raises
        ------
        ControlError
            If it is none of these.
        """
        if Z85.match(text):
            return text
        for path in (Path(text), self.folder / f"{text}.public"):
            if path.is_file():
                words = path.read_text(encoding="utf-8", errors="replace").split()
                if words and Z85.match(words[0]):
                    return words[0]
        raise ControlError(
            f"{text!r} is no public key.",
            name="bad_key",
            hint="Expected 40 characters, a NAME.public file, or the name of a key made here.",
        )

    def allow(self, name: str, public: str, role: Role) -> None:
        """Let the holder of a key in; a name or key that is there already is replaced."""
        _check_name(name)
        entries = [e for e in self.allowed() if name != e.name and public != e.public]
        self._write_allowed([*entries, Allowed(name, role, public)])

    def revoke(self, name: str) -> Allowed:
        """Shut the holder of a key out, at once.

        Raises
        ------
        ControlError
            If nobody of that name is allowed.
        """
        entries = self.allowed()
        gone = [e for e in entries if name in (e.name, e.public, fingerprint(e.public))]
        if not gone:
            names = ", ".join(e.name for e in entries) or "nobody"
            raise ControlError(f"nobody named {name!r} is allowed; allowed: {names}.", name="no_key")
        self._write_allowed([e for e in entries if e not in gone])
        return gone[0]

    def allowed(self) -> list[Allowed]:
        """Who may talk to this denoiser.

        Raises
        ------
        ControlError
            If the file can be changed by others or a line cannot be read: then nobody is let in.
        """
        return read_allowed(self.allowed_path)

    def trust(self, server: str, public: str) -> None:
        """Remember the public key of a denoiser (`host:port`)."""
        known = {**self.known_servers(), server: public}
        self._make_folder()
        _write(self.folder / "known_servers", "".join(f"{where} {key}\n" for where, key in sorted(known.items())))

    def known_servers(self) -> Mapping[str, str]:
        """host:port -> public key."""
        try:
            lines = (self.folder / "known_servers").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return {}
        pairs = (line.split() for line in lines)
        return {pair[0]: pair[1] for pair in pairs if len(pair) == 2 and Z85.match(pair[1])}

    def _make_folder(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _write_allowed(self, entries: list[Allowed]) -> None:
        self._make_folder()
        head = "# who may control pse-stream on this machine: public key, role (observe or control), name\n"
        _write(self.allowed_path, head + "".join(f"{e.public} {e.role} {e.name}\n" for e in entries))


def _check_name(name: str) -> None:
    if not NAME.match(name):
        raise ControlError(f"{name!r} cannot name a key; expected 1 to 32 of a-z, 0-9, dot, - and _", name="bad_key")


def _write(path: Path, text: str, mode: int = 0o600) -> None:
    """Replace a file in one step; it is never seen half-written or with looser rights."""
    fd, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), mode)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
