"""Sessions on disk: what was heard comes back, whatever happened to the run; deletion, quota and expiry."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pse_stream.errors import AudioFileError, ConfigError
from pse_stream.profiles.profile import Profile, rewrite_profile
from pse_stream.profiles.session_writer import MIN_FREE_BYTES, SEGMENT_HOPS, RecordingStopped, SessionWriter
from pse_stream.profiles.sessions import (
    delete_sessions,
    export_session,
    list_sessions,
    new_session_folder,
    open_session,
    sweep,
)
from pse_stream.profiles.store import new_profile

from .people import HOP, LONG_AGO, RATE, adapt, hops, record, tree

STEP = 2**-15  # of 16 bits


@pytest.fixture
def bob() -> Profile:
    return new_profile("bob")


def test_what_was_written_is_read_again_over_segments_of_ten_seconds(bob: Profile) -> None:
    count = 2 * SEGMENT_HOPS + 7
    writer = SessionWriter(
        new_session_folder(bob, LONG_AGO), sample_rate=RATE, facts={"profile": "bob"}, began=LONG_AGO
    )
    noisy, clean = hops(count), hops(count, seed=1)
    for at in range(0, count, 31):
        part = slice(at * HOP, (at + 31) * HOP)
        writer.note({"at": at})
        writer.write(noisy[part], clean[part])
    writer.close("stopped")
    session = open_session(bob, "last")
    assert (session.segments, session.state, session.reason) == (3, "whole", "stopped")
    assert session.seconds == pytest.approx(count * 0.008)
    np.testing.assert_allclose(session.read("input"), noisy, atol=STEP)
    np.testing.assert_allclose(session.read("output"), clean, atol=STEP)
    assert [(line["hop"], line["at"]) for line in session.decisions()] == [(at, at) for at in range(0, count, 31)]
    assert session.bytes == sum(map(len, tree(session.folder).values()))
    assert len(session.read("input", 16_000)) == pytest.approx(2 * count * HOP, abs=64)


def test_a_killed_run_leaves_readable_sessions(tmp_path: Path, bob: Profile) -> None:
    script = (
        "import sys, time, numpy as np\n"
        "from pse_stream.profiles.sessions import new_session_folder\n"
        "from pse_stream.profiles.session_writer import SessionWriter\n"
        "from pse_stream.profiles.store import open_profile\n"
        "from datetime import datetime, UTC\n"
        "now = datetime.now(UTC)\n"
        "writer = SessionWriter(new_session_folder(open_profile('bob'), now), sample_rate=8000, facts={}, began=now)\n"
        "rng = np.random.default_rng(0)\n"
        "for hop in range(10**6):\n"
        "    x = (0.1 * rng.standard_normal(64 * 25)).astype(np.float32)\n"
        "    writer.note({'hop_of_run': 25 * hop})\n"
        "    writer.write(x, x)\n"
        "    if hop == 120: print('go', flush=True)\n"
    )
    run = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    assert run.stdout.readline() == "go\n"
    assert list_sessions(bob)[0].state == "recording"
    time.sleep(0.05)
    run.send_signal(signal.SIGKILL)
    run.wait(10)
    run.stdout.close()
    session = open_session(bob, "last")
    assert session.state == "cut short"
    assert session.segments >= 2
    expected = (0.1 * np.random.default_rng(0).standard_normal(SEGMENT_HOPS * HOP)).astype(np.float32)
    np.testing.assert_allclose(next(iter(session.blocks("input"))), expected, atol=STEP)
    assert len(session.read("output")) == len(session.read("input")) == session.seconds * RATE
    assert all(line["hop"] == line["hop_of_run"] for line in session.decisions())
    assert delete_sessions(bob, [session]).sessions == (session.id,)  # nobody holds it any more


def test_torn_lines_and_damaged_segments_cost_only_themselves(bob: Profile) -> None:
    writer = record(bob, count=2 * SEGMENT_HOPS + 3)
    with (writer.folder / "decisions.jsonl").open("ab") as log:
        log.write(b'{"hop": 99, "lev')
    (writer.folder / "input-000000.flac").write_bytes(b"fLaC")
    (writer.folder / ".input-000009.flac.part").write_bytes(b"half")
    session = open_session(bob, "last")
    heard = session.read("input")
    assert not heard[: SEGMENT_HOPS * HOP].any()
    np.testing.assert_allclose(heard[SEGMENT_HOPS * HOP :], hops(2 * SEGMENT_HOPS + 3)[SEGMENT_HOPS * HOP :], atol=STEP)
    assert len(list(session.decisions())) == 1
    (writer.folder / "output-000002.flac").unlink()  # killed between the two tracks of the last segment
    assert open_session(bob, "last").segments == 2


def test_nothing_exists_before_the_first_hop_and_nothing_if_none_came(bob: Profile) -> None:
    before = tree(bob.folder)
    writer = SessionWriter(new_session_folder(bob, LONG_AGO), sample_rate=RATE, facts={}, began=LONG_AGO)
    writer.close("stopped")
    assert tree(bob.folder) == before
    assert not bob.sessions.exists()


@pytest.mark.parametrize("hops_before", [0, 3 * SEGMENT_HOPS])
def test_a_gigabyte_stays_free_and_what_was_written_is_whole(bob: Profile, hops_before: int) -> None:
    free = [MIN_FREE_BYTES + 1]
    writer = SessionWriter(
        new_session_folder(bob, LONG_AGO), sample_rate=RATE, facts={}, began=LONG_AGO, free=lambda _: free[0]
    )
    if hops_before:
        writer.write(hops(hops_before), hops(hops_before))
    free[0] = MIN_FREE_BYTES - 1
    with pytest.raises(RecordingStopped, match="less than 1 GiB"):
        writer.write(hops(SEGMENT_HOPS), hops(SEGMENT_HOPS))
    writer.close("full")
    sessions = list_sessions(bob)
    assert [session.segments for session in sessions] == ([hops_before // SEGMENT_HOPS] if hops_before else [])


def test_a_disk_that_fails_or_a_folder_that_goes_ends_it_with_words(bob: Profile) -> None:
    writer = record(bob, count=SEGMENT_HOPS, end=False)
    shutil.rmtree(writer.folder)
    with pytest.raises(RecordingStopped, match="folder is gone"):
        writer.write(hops(SEGMENT_HOPS), hops(SEGMENT_HOPS))
    writer.close("gone")
    assert list_sessions(bob) == []  # a deleted session does not come back

    def refuse(_folder: Path) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    writer = SessionWriter(new_session_folder(bob, LONG_AGO), sample_rate=RATE, facts={}, began=LONG_AGO, free=refuse)
    with pytest.raises(RecordingStopped, match=r"Input/output error"):
        writer.write(hops(1), hops(1))


def test_nan_and_overload_are_kept_as_what_a_listener_would_hear(bob: Profile) -> None:
    writer = SessionWriter(new_session_folder(bob, LONG_AGO), sample_rate=RATE, facts={}, began=LONG_AGO)
    loud = np.full(HOP, 3.0, np.float32)
    loud[0], loud[1], loud[2] = np.nan, np.inf, -np.inf
    writer.write(loud, -loud)
    writer.close("stopped")
    heard = open_session(bob, "last").read("input")
    assert heard[:3].tolist() == pytest.approx([0.0, 1.0, -1.0], abs=STEP)
    assert heard[3:] == pytest.approx(1.0, abs=STEP)  # clipped, not wrapped


def test_sessions_are_found_by_the_beginning_of_their_name_or_the_nearest_is_named(bob: Profile) -> None:
    for number in range(3):
        record(bob, began=LONG_AGO + timedelta(days=number))
    (bob.sessions / "2026-05-09T101112Z").mkdir()  # nothing in it
    (bob.sessions / "my notes").mkdir()
    assert [session.id[:10] for session in list_sessions(bob)] == ["2026-05-02", "2026-05-03", "2026-05-04"]
    assert open_session(bob, "2026-05-03").began == LONG_AGO + timedelta(days=1)
    for wrong, words in (("2026-05-0", "means 3 sessions"), ("2026-05-05T101112Z", "Did you mean"), ("x", "List them")):
        with pytest.raises(ConfigError) as caught:
            open_session(bob, wrong)
        assert words in str(caught.value)
    record(bob)  # in the same second
    assert open_session(bob, "2026-05-02T101112Z-2").seconds > 0


def test_the_clock_deletes_after_the_days_that_were_chosen(bob: Profile) -> None:
    profile = rewrite_profile(bob, {("logging", "keep_days"): 1})
    record(profile, began=LONG_AGO)
    record(profile, began=LONG_AGO + timedelta(hours=20))
    assert sweep(profile, now=LONG_AGO + timedelta(hours=23)).sessions == ()
    assert len(sweep(profile, now=LONG_AGO + timedelta(hours=25)).sessions) == 1
    assert [session.began.hour for session in list_sessions(profile)] == [6]


def test_the_oldest_goes_first_when_it_is_too_much(bob: Profile) -> None:
    for number in range(4):
        record(bob, began=LONG_AGO + timedelta(hours=number), count=SEGMENT_HOPS)
    size = list_sessions(bob)[0].bytes
    profile = rewrite_profile(bob, {("logging", "max_gib"): 2.5 * size / 2**30})
    gone = sweep(profile, now=LONG_AGO + timedelta(days=1))
    assert [id[11:13] for id in gone.sessions] == ["10", "11"]
    assert len(sweep(profile, now=LONG_AGO + timedelta(days=1), room_for=size).sessions) == 1


def test_deletion_deletes_spares_what_is_being_written_and_tells_the_models(bob: Profile, tmp_path: Path) -> None:
    record(bob)
    live = record(bob, began=LONG_AGO + timedelta(hours=1), end=False)
    profile = adapt(bob, tmp_path, "a", sessions=("2026-05-02T101112Z",))
    receipt = delete_sessions(profile, list_sessions(profile))
    assert receipt.sessions == ("2026-05-02T101112Z",)
    assert receipt.kept == (live.folder.name,)
    assert receipt.stale_models == ("a",)
    assert [path.name for path in bob.sessions.iterdir()] == [live.folder.name]
    live.close("stopped")
    assert delete_sessions(profile, list_sessions(profile)).kept == ()
    assert list(bob.sessions.iterdir()) == []


def test_export_is_files_that_any_program_plays(bob: Profile, tmp_path: Path) -> None:
    record(bob, count=SEGMENT_HOPS + 9)
    session = open_session(bob, "last")
    written = export_session(session, tmp_path / "out")
    assert [path.name.removeprefix(f"{session.id}.") for path in written] == [
        "input.flac",
        "output.flac",
        "decisions.jsonl",
        "session.toml",
    ]
    samples, rate = soundfile.read(written[0])
    assert (len(samples), rate) == ((SEGMENT_HOPS + 9) * HOP, RATE)
    assert json.loads(written[2].read_text().splitlines()[0])["engine"] == "wiener"
    with pytest.raises(AudioFileError, match="nothing is overwritten"):
        export_session(session, tmp_path / "out")


def test_began_is_utc_whatever_the_clock_says(bob: Profile) -> None:
    record(bob, began=datetime(2026, 5, 2, 12, 0, 0, tzinfo=UTC))
    assert open_session(bob, "last").id == "2026-05-02T120000Z"
