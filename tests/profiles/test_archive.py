"""Archives: the same profile is the same bytes, sound only when asked for, and a hostile one leaves no trace."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pse_stream.errors import ConfigError, EngineError
from pse_stream.profiles.archive import export_profile, portable_name
from pse_stream.profiles.folders import profiles_folder
from pse_stream.profiles.profile import read_profile, rewrite_profile
from pse_stream.profiles.store import open_profile, profile_names
from pse_stream.profiles.unpack import import_profile

from .people import full_profile, tree

Member = tuple[str, bytes, dict[str, Any]]  # name, contents, what is odd about its header
PROFILE = b'schema = 1\nname = "Mallory"\n'


@pytest.mark.parametrize("audio", [False, True])
def test_export_import_export_is_the_same_bytes(tmp_path: Path, audio: bool) -> None:
    profile = full_profile(tmp_path)
    first = export_profile(profile, tmp_path / "1.psep", with_audio=audio)
    made = import_profile(tmp_path / "1.psep").profile
    assert made.id == "alice-2"  # nothing is overwritten
    made.folder.rename(tmp_path / "elsewhere")
    profile.folder.rename(tmp_path / "old")
    again = import_profile(tmp_path / "1.psep").profile
    assert again.id == "alice"
    assert export_profile(again, tmp_path / "2.psep", with_audio=audio) == first
    assert (tmp_path / "1.psep").read_bytes() == (tmp_path / "2.psep").read_bytes()


def test_what_travels_and_what_does_not(tmp_path: Path) -> None:
    profile = full_profile(tmp_path)
    (profile.folder / "consent.toml").write_text("[record]\n")
    profile = rewrite_profile(profile, {("logging", "consent"): True, ("devices", "input"): "usb-Yeti_797_0001-00"})
    (profile.folder / "models" / "unused").mkdir()
    (profile.folder / "models" / "unused" / "x").write_text("x")
    export_profile(profile, tmp_path / "a.psep")
    made = import_profile(tmp_path / "a.psep").profile
    files = set(tree(made.folder))
    assert files == {"profile.toml", "enrolment/voice.toml"} | {
        f"models/2026-05-02a/{name}" for name in ("card.md", "golden.npz", "l0.onnx", "model.toml", "provenance.toml")
    }
    assert not made.logging.consent
    assert made.settings["input"].value == "usb-Yeti"
    assert made.adapted == profile.adapted
    assert "clicks = [1, 2]   # kept" in (made.folder / "profile.toml").read_text()
    export_profile(profile, tmp_path / "b.psep", with_audio=True)
    sound = set(tree(import_profile(tmp_path / "b.psep").profile.folder)) - files
    assert {name.split("/")[0] for name in sound} == {"enrolment", "sessions"}
    assert "sessions/2026-05-02T101112Z/input-000001.flac" in sound
    assert profile.folder.exists()


def test_export_refuses_what_it_would_spoil(tmp_path: Path) -> None:
    profile = full_profile(tmp_path)
    target = tmp_path / "a.psep"
    target.write_text("mine")
    with pytest.raises(ConfigError, match="nothing is overwritten"):
        export_profile(profile, target)
    assert target.read_text() == "mine"
    with pytest.raises(ConfigError, match="could not be written"):
        export_profile(profile, tmp_path / "none" / "a.psep")
    (profile.folder / "models" / "2026-05-02a" / "l0.onnx").write_bytes(b"changed")
    with pytest.raises(EngineError, match="cannot be used"):
        export_profile(profile, tmp_path / "b.psep")
    assert sorted(path.name for path in tmp_path.glob("*.psep*")) == ["a.psep"]


def archive(
    path: Path,
    members: list[Member],
    *,
    manifest: Callable[[dict[str, Any]], Any] = lambda told: told,
    form: int = tarfile.USTAR_FORMAT,
    head: bool = True,
) -> Path:
    """An archive with these members; the manifest is true unless `manifest` changes it."""
    files = {name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data, _ in members}
    told = manifest({"schema": 1, "profile": "mallory", "audio": False, "files": files})
    with tarfile.open(path, "w", format=form) as tar:
        first: list[Member] = [("manifest.json", json.dumps(told).encode(), {})] if head else []
        for name, data, odd in [*first, *members]:
            member = tarfile.TarInfo(name)
            member.size = 0 if "type" in odd else len(data)
            for field, value in odd.items():
                setattr(member, field, value)
            tar.addfile(member, io.BytesIO(data))
    return path


def changed(**values: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda told: {**told, **values}


def entry_of(name: str, **values: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def change(told: dict[str, Any]) -> dict[str, Any]:
        told["files"][name] = {**told["files"][name], **values}
        return told

    return change


GOOD: list[Member] = [("profile.toml", PROFILE, {})]
SESSION = "sessions/2026-05-02T101112Z"
#: What a stranger may try: members, more for `archive`, and what the refusal says.
HOSTILE: dict[str, tuple[list[Member], dict[str, Any], str]] = {
    "path upwards": ([*GOOD, ("../evil.toml", b"x", {})], {}, "nothing that belongs"),
    "path upwards inside": ([*GOOD, ("models/../../evil", b"x", {})], {}, "nothing that belongs"),
    "dots as a model": ([*GOOD, ("models/../evil", b"x", {})], {}, "nothing that belongs"),
    "absolute path": ([*GOOD, ("/tmp/evil", b"x", {})], {}, "nothing that belongs"),
    "backslashes": ([*GOOD, ("..\\evil", b"x", {})], {}, "nothing that belongs"),
    "consent": ([*GOOD, ("consent.toml", b"[record]", {})], {}, "nothing that belongs"),
    "code": ([*GOOD, ("models/m/../x.py", b"import os", {})], {}, "nothing that belongs"),
    "hidden file": ([*GOOD, ("enrolment/.bashrc", b"x", {})], {}, "nothing that belongs"),
    "newline in a name": ([*GOOD, ("profile.toml\n", b"x", {})], {}, "nothing that belongs"),
    "symbolic link": ([("profile.toml", PROFILE, {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"})], {}, "a link"),
    "hard link": ([("profile.toml", PROFILE, {"type": tarfile.LNKTYPE, "linkname": "manifest.json"})], {}, "a link"),
    "character device": ([("profile.toml", PROFILE, {"type": tarfile.CHRTYPE})], {}, "a device or pipe"),
    "pipe": ([("profile.toml", PROFILE, {"type": tarfile.FIFOTYPE})], {}, "a device or pipe"),
    "folder": ([("profile.toml", PROFILE, {"type": tarfile.DIRTYPE})], {}, "a folder"),
    "extended headers": (
        [("profile.toml", PROFILE, {"pax_headers": {"path": "profile.toml", "comment": "x"}})],
        {"form": tarfile.PAX_FORMAT},
        "of a kind that no archive of ours has",
    ),
    "file twice": ([*GOOD, *GOOD], {}, "twice in it"),
    "file besides the manifest": (
        [*GOOD, ("enrolment/voice.toml", b"x", {})],
        {"manifest": lambda told: {**told, "files": {"profile.toml": told["files"]["profile.toml"]}}},
        "not in its manifest",
    ),
    "file missing": (
        GOOD,
        {
            "manifest": lambda t: {
                **t,
                "files": {**t["files"], "enrolment/voice.toml": {"bytes": 1, "sha256": "0" * 64}},
            }
        },
        "is missing",
    ),
    "wrong hash": (GOOD, {"manifest": entry_of("profile.toml", sha256="0" * 64)}, "hash of"),
    "wrong size": (GOOD, {"manifest": entry_of("profile.toml", bytes=5)}, "its manifest says 5"),
    "huge size claimed": (GOOD, {"manifest": entry_of("profile.toml", bytes=1 << 40)}, "too much"),
    "negative size": (GOOD, {"manifest": entry_of("profile.toml", bytes=-1)}, "the manifest says"),
    "settings of gigabytes": ([("profile.toml", b"#" * (1 << 21), {})], {}, "2097152 bytes"),
    "sound that is not told": ([*GOOD, (f"{SESSION}/input-000000.flac", b"x", {})], {}, "is sound"),
    "name with a slash": (GOOD, {"manifest": changed(profile="../x")}, "cannot be the name"),
    "name of nobody": (GOOD, {"manifest": changed(profile="")}, "cannot be the name"),
    "later version of archives": (GOOD, {"manifest": changed(schema=2)}, "later version"),
    "unknown field": (GOOD, {"manifest": changed(run="rm -rf")}, "makes no sense"),
    "manifest of another kind": (GOOD, {"manifest": lambda told: [told]}, "makes no sense"),
    "manifest without files": (GOOD, {"manifest": changed(files={})}, "no profile.toml"),
    "no manifest": (GOOD, {"head": False}, "does not begin with"),
    "later version of profiles": ([("profile.toml", b"schema = 9\n", {})], {}, "later version"),
    "damaged settings": ([("profile.toml", b"schema = = 1\n", {})], {}, "line 1"),
    "wrong setting": ([("profile.toml", b"schema = 1\n[sound]\nlevel = 'x'\n", {})], {}, ":3: sound.level"),
    "settings that record": ([("profile.toml", b"schema = 1\n[logging]\nconsent = true\n", {})], {}, "recording on"),
    "model that is none": ([*GOOD, ("models/m/model.toml", b"schema = 1\n", {})], {}, "model.toml"),
    "model in use that is missing": (
        [("profile.toml", b'schema = 1\n[adapted]\nactive = "m"\n', {})],
        {},
        "cannot be used",
    ),
}


@pytest.mark.parametrize("attack", HOSTILE)
def test_a_hostile_archive_is_refused_by_what_is_wrong_and_leaves_no_trace(tmp_path: Path, attack: str) -> None:
    members, more, words = HOSTILE[attack]
    path = archive(tmp_path / "m.psep", members, **more)
    outside = set(tmp_path.rglob("*")) - set((tmp_path / "data").rglob("*"))
    with pytest.raises(ConfigError) as caught:
        import_profile(path)
    assert caught.value.name == "bad_archive"
    assert words in caught.value.text
    assert ".draft" not in caught.value.text
    assert profile_names() == ["alice"]  # the example
    assert not profiles_folder().is_dir() or list(profiles_folder().iterdir()) == []
    assert set(tmp_path.rglob("*")) - set((tmp_path / "data").rglob("*")) - {tmp_path / "data"} <= outside


def test_the_plain_archive_of_these_attacks_is_taken(tmp_path: Path) -> None:
    made = import_profile(archive(tmp_path / "m.psep", GOOD)).profile
    assert (made.id, made.title) == ("mallory", "Mallory")


def test_a_half_copied_archive_is_refused_wherever_it_ends(tmp_path: Path) -> None:
    full_profile(tmp_path)
    export_profile(open_profile("alice"), tmp_path / "a.psep")
    data = (tmp_path / "a.psep").read_bytes()
    for end in (0, 1, 511, 700, len(data) // 2, len(data) - 10_240, len(data) - 513):
        (tmp_path / "half.psep").write_bytes(data[:end])
        with pytest.raises(ConfigError) as caught:
            import_profile(tmp_path / "half.psep")
        assert caught.value.name == "bad_archive", end
    assert profile_names() == ["alice"]
    with pytest.raises(ConfigError, match="there is no file"):
        import_profile(tmp_path / "none.psep")
    with pytest.raises(ConfigError, match="is a folder"):
        import_profile(tmp_path)


@settings(max_examples=40, deadline=None)
@given(at=st.integers(0, 100_000), byte=st.integers(1, 255))
def test_a_changed_byte_is_found_or_means_nothing(tmp_path_factory: pytest.TempPathFactory, at: int, byte: int) -> None:
    folder = tmp_path_factory.mktemp("bits")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(folder / "data"))
        path = archive(folder / "m.psep", [*GOOD, ("enrolment/voice.toml", b"schema = 1\n" * 50, {})])
        data = bytearray(path.read_bytes())
        data[at % len(data)] ^= byte
        path.write_bytes(data)
        try:
            made = import_profile(path).profile
        except ConfigError:
            assert not profiles_folder().is_dir() or list(profiles_folder().iterdir()) == []
        else:  # a time, an owner or padding in the header of a member
            assert tree(made.folder) == {"profile.toml": PROFILE, "enrolment/voice.toml": b"schema = 1\n" * 50}


@pytest.mark.parametrize(
    ("name", "portable"),
    [
        ("auto", "auto"),
        ("Yeti", "Yeti"),
        ("alsa_input.pci-0000_00_1f.3.analog-stereo", "alsa_input.pci-0000_00_1f.3.analog-stereo"),
        (
            "alsa_input.usb-Blue_Microphones_Yeti_REV8_797_2018-00.analog-stereo",
            "alsa_input.usb-Blue_Microphones_Yeti_REV8",
        ),
        ("alsa_input.usb-046d_HD_Webcam_C525_3C2FB640-02.mono", "HD_Webcam"),
        ("bluez_input.00:1B:66:AA:BB:CC.0", "auto"),
        ("bluez_source.00_1B_66_AA_BB_CC.headset", "auto"),
    ],
)
def test_names_of_devices_lose_their_serial_numbers(name: str, portable: str) -> None:
    assert portable_name(name) == portable


@settings(max_examples=100, deadline=None)
@given(
    serial=st.text("0123456789ABCDEF", min_size=8, max_size=16),
    name=st.lists(st.text("abcXYZ", min_size=1, max_size=9), min_size=1, max_size=3).map("_".join),
)
def test_no_serial_number_leaves_and_the_rest_still_finds_the_device(serial: str, name: str) -> None:
    full = f"alsa_input.usb-{name}_{serial}-00.mono"
    kept = portable_name(full)
    assert serial not in kept
    assert kept == portable_name(kept)
    assert kept == "auto" or kept in full


def test_an_imported_profile_is_read_like_any_other(tmp_path: Path) -> None:
    profile = full_profile(tmp_path)
    export_profile(profile, tmp_path / "a.psep")
    made = import_profile(tmp_path / "a.psep")
    assert read_profile(made.profile.folder).settings.keys() == profile.settings.keys()
    assert (made.asked_for, made.profile.id) == ("alice", "alice-2")
