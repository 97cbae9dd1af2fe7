"""`pse-stream sessions`: opt-in recordings of a person's runs."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pse_stream.cli import flags
from pse_stream.cli.console import Console, size_words
from pse_stream.errors import UsageError

if TYPE_CHECKING:
    from pse_stream.profiles.profile import Profile
    from pse_stream.profiles.sessions import Receipt, Session

tracks = click.Choice(["input", "output"])


@click.group(name="sessions")
def command() -> None:
    """Record runs for a profile, only when its person agreed; list, hear, take and erase what was recorded.

    \b
    Examples:
      pse-stream sessions on -p alice           read, agree, and be recorded while the profile is in use
      pse-stream sessions off -p alice          no more; what is there stays until it is deleted
      pse-stream sessions delete --all -p alice
    """


@command.command(name="on")
@flags.profile_name
@click.option("--by-hand", is_flag=True, help="Agree, but record only when told: pse-stream ctl record start.")
@click.option("--agree", is_flag=True, help="You have read the text and agree.")
@flags.common()
def on(*, console: Console, name: str | None, by_hand: bool, agree: bool) -> None:
    """Agree to be recorded while the profile is in use."""
    from pse_stream.profiles.consent import TEXTS
    from pse_stream.profiles.consent import agree as write_consent
    from pse_stream.profiles.profile import rewrite_profile
    from pse_stream.profiles.store import open_profile, own_profile

    whose = flags.whose(name)
    open_profile(whose).insist_writable()
    console.note(TEXTS["record"].words)
    if not console.agrees(f'Record "{whose}"?', yes=agree, flag="--agree, once you have read it"):
        raise click.Abort
    profile = own_profile(whose)
    given = write_consent(profile, "record", by="the person at the keyboard" if not agree else "--agree")
    rewrite_profile(profile, {("logging", "consent"): not by_hand})
    when = (
        "when told (pse-stream ctl record start)" if by_hand else "whenever the profile is in use, from the next start"
    )
    console.result(f'"{whose}" is recorded {when}; agreed until {given.expires:%Y-%m-%d}')
    console.object({"name": whose, "recording": not by_hand, "expires": given.expires.isoformat()})


@command.command(name="off")
@flags.profile_name
@flags.common()
def off(*, console: Console, name: str | None) -> None:
    """Take consent back: nothing is recorded any more, now and later."""
    from pse_stream.profiles.consent import withdraw
    from pse_stream.profiles.profile import rewrite_profile
    from pse_stream.profiles.store import is_example, open_profile

    profile = open_profile(flags.whose(name))
    if not is_example(profile):
        withdraw(profile, "record")
        if profile.logging.consent:
            rewrite_profile(profile, {("logging", "consent"): False})
    stopped = stop_running(profile.id)
    console.result(f'"{profile.id}" is not recorded.')
    for words in stopped:
        console.note(words)
    kept = _kept(profile)
    if kept["count"]:
        console.note(
            f"{kept['count']} sessions are still there. Erase: pse-stream sessions delete --all -p {profile.id}"
        )
    console.object({"name": profile.id, "recording": False, "sessions": kept})


@command.command(name="status")
@flags.profile_name
@flags.common()
def status(*, console: Console, name: str | None) -> None:
    """Say whether a person is recorded, what was agreed to, and how much is kept."""
    from pse_stream.profiles.consent import read_consent
    from pse_stream.profiles.store import open_profile

    profile = open_profile(flags.whose(name))
    consent = read_consent(profile, "record")
    holds = consent is not None and consent.holds(datetime.now(UTC))
    kept = _kept(profile)
    agreed = "never agreed to"
    if consent is not None:
        agreed = f"agreed {consent.agreed:%Y-%m-%d}, {'until' if holds else 'ran out'} {consent.expires:%Y-%m-%d}"
    console.result(f"{profile.id}: recording {'on' if profile.logging.consent and holds else 'off'}; {agreed}")
    console.result(
        f"{kept['count']} sessions, {kept['seconds'] / 60:.1f} min, {size_words(kept['bytes'])} in {profile.sessions}; "
        f"kept {profile.logging.keep_days:g} days, at most {profile.logging.max_gib:g} GiB"
    )
    console.object(
        {
            "name": profile.id,
            "recording": profile.logging.consent and holds,
            "agreed": consent.agreed.isoformat() if consent is not None else None,
            "expires": consent.expires.isoformat() if consent is not None else None,
            "keep_days": profile.logging.keep_days,
            "max_gib": profile.logging.max_gib,
            "sessions": kept,
        }
    )


@command.command(name="list")
@flags.profile_name
@flags.common()
def list_(*, console: Console, name: str | None) -> None:
    """List sessions, oldest first; those that are too old or too much are let go first."""
    from pse_stream.profiles.sessions import list_sessions

    profile = _swept(console, name)
    found = list_sessions(profile)
    rows = [
        [
            session.id,
            f"{session.began.astimezone():%a %d %b %H:%M}",
            f"{session.seconds / 60:.1f} min",
            size_words(session.bytes),
            f"{session.sample_rate / 1000:g} kHz",
            session.state,
        ]
        for session in found
    ]
    console.table(["session", "began", "length", "size", "rate", "state"], rows)
    console.object({"name": profile.id, "sessions": [as_json(session) for session in found]})


@command.command(name="play")
@click.argument("session", default="last")
@flags.profile_name
@click.option(
    "--track", type=tracks, default="input", show_default=True, help="The microphone, or what was made of it."
)
@click.option("-o", "--output", metavar="NAME", default="auto", help="Loudspeaker: a part of its name.")
@click.option("--from", "start", type=click.FloatRange(min=0), default=0.0, metavar="S", help="Begin there.")
@flags.common(json=False)
def play(*, console: Console, session: str, name: str | None, track: Any, output: str, start: float) -> None:
    """Hear a session through the loudspeaker (Ctrl-C stops)."""
    from pse_stream.profiles.sessions import open_session
    from pse_stream.profiles.store import open_profile
    from pse_stream.streaming.devices.live import open_device
    from pse_stream.streaming.playback import play as play_blocks

    found = open_session(open_profile(flags.whose(name)), session)
    device = open_device(virtual_mic=False)
    try:
        console.note(f"{found.id}, {track}, {found.seconds / 60:.1f} min. Ctrl-C stops.")
        play_blocks(device, found.blocks(track), found.sample_rate, name=output, skip_s=start)
    finally:
        device.close()


@command.command(name="export")
@click.argument("session", default="last")
@flags.profile_name
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("."), metavar="DIR", help="Where to.")
@flags.common()
def export(*, console: Console, session: str, name: str | None, output: Path) -> None:
    """Write a session as two FLAC files, its decisions and its description."""
    from pse_stream.profiles.sessions import export_session, open_session
    from pse_stream.profiles.store import open_profile

    written = export_session(open_session(open_profile(flags.whose(name)), session), output)
    for path in written:
        console.result(str(path))
    console.object({"files": [str(path) for path in written]})


@command.command(name="delete")
@click.argument("sessions", nargs=-1)
@flags.profile_name
@click.option("--all", "all_", is_flag=True, help="Every one.")
@click.option("--since", metavar="TIME", help="Those of the last 2h, 3d or 1w.")
@click.option("--before", metavar="TIME", help="Those older than 2h, 3d or 1w.")
@click.option("-n", "--dry-run", is_flag=True, help="Only say what would go.")
@flags.yes
@flags.common()
def delete(
    *,
    console: Console,
    sessions: tuple[str, ...],
    name: str | None,
    all_: bool,
    since: str | None,
    before: str | None,
    dry_run: bool,
    yes: bool,
) -> None:
    """Delete sessions for good."""
    from pse_stream.profiles.sessions import delete_sessions
    from pse_stream.profiles.store import open_profile

    profile = open_profile(flags.whose(name))
    chosen = choose(profile, sessions, all_=all_, since=since, before=before)
    for session in chosen:
        console.note(f"{'would go' if dry_run else 'will go'}: {session.id}, {session.seconds / 60:.1f} min")
    if dry_run or not chosen:
        console.result("nothing was deleted")
        console.object({"name": profile.id, "would_delete": [session.id for session in chosen], "deleted": []})
        return
    if not console.agrees(f"Delete {len(chosen)} sessions for good?", yes=yes):
        raise click.Abort
    receipt = delete_sessions(profile, chosen)
    console.result(_receipt_words(receipt))
    for id in receipt.kept:
        console.warn(f"{id} is being recorded and was left. Stop it first: pse-stream ctl record stop")
    for model in receipt.stale_models:
        console.note(f"the adapted model {model} had learnt from them and is marked so.")
    console.object({"name": profile.id, "deleted": list(receipt.sessions), "bytes": receipt.bytes,
                    "kept": list(receipt.kept), "stale_models": list(receipt.stale_models)})  # fmt: skip


def choose(
    profile: Profile, ids: tuple[str, ...], *, all_: bool, since: str | None, before: str | None
) -> list[Session]:
    """The sessions that a command line means.

    Raises
    ------
    UsageError
        If it means none in particular.
    """
    from pse_stream.profiles.sessions import list_sessions, open_session

    if not (ids or all_ or since or before):
        raise UsageError("which sessions?", hint="Name them, or say --all, --since 2d or --before 1w.")
    named = {open_session(profile, id).id for id in ids}
    now = datetime.now(UTC)
    return [
        session
        for session in list_sessions(profile)
        if (not ids or session.id in named)
        and (since is None or session.began >= now - span(since))
        and (before is None or session.began < now - span(before))
    ]


def span(words: str) -> timedelta:
    """2h, 3d, 1w, 30min.

    Raises
    ------
    UsageError
        If it is nothing of the kind.
    """
    found = re.fullmatch(r"(\d{1,6})\s*(min|h|d|w)", words.strip())
    if found is None:
        raise UsageError(f'"{words}" is no length of time.', hint="Expected such as 30min, 2h, 3d or 1w.")
    unit = {"min": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
    return int(found[1]) * unit[found[2]]


def as_json(session: Session) -> dict[str, Any]:
    """One session as `--json` prints it."""
    return {
        "id": session.id,
        "began": session.began.isoformat(),
        "seconds": round(session.seconds, 3),
        "bytes": session.bytes,
        "sample_rate": session.sample_rate,
        "state": session.state,
        "reason": session.reason or None,
        "folder": str(session.folder),
    }


def stop_running(name: str) -> list[str]:
    """Stop the recordings of running denoisers that use this profile; what was done."""
    from pse_stream.control.client import ControlClient
    from pse_stream.control.instance import running_instances
    from pse_stream.errors import PseError

    said = []
    for instance in running_instances():
        try:
            with ControlClient(instance=instance, name="sessions off") as client:
                now = client.status()
                if now["recording"] and now["settings"]["profile"] == name:
                    client.stop_recording()
                    said.append(f'the running denoiser "{instance}" stopped recording')
        except PseError as error:
            said.append(f'the running denoiser "{instance}" could not be asked to stop recording: {error}')
    return said


def _swept(console: Console, name: str | None) -> Profile:
    """The profile, after what is too old has gone."""
    from pse_stream.profiles.sessions import sweep
    from pse_stream.profiles.store import open_profile

    profile = open_profile(flags.whose(name))
    gone = sweep(profile)
    if gone.sessions:
        console.note(f"too old or too much (profile.toml, [logging]): {_receipt_words(gone)}")
    return profile


def _receipt_words(receipt: Receipt) -> str:
    return (
        f"deleted {len(receipt.sessions)} sessions, {receipt.seconds / 60:.1f} min, {size_words(receipt.bytes)}"
        f"{': ' + ', '.join(receipt.sessions) if receipt.sessions else ''}"
    )


def _kept(profile: Profile) -> dict[str, Any]:
    from pse_stream.profiles.sessions import list_sessions

    sessions = list_sessions(profile)
    return {
        "count": len(sessions),
        "seconds": round(sum(session.seconds for session in sessions), 3),
        "bytes": sum(session.bytes for session in sessions),
    }
