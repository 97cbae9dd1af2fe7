"""Consent: a record with an end, before the first byte, withdrawn first."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pse_stream.errors import ConfigError, ConsentError
from pse_stream.profiles.consent import agree, insist_consent, read_consent, withdraw
from pse_stream.profiles.store import new_profile

NOW = datetime(2026, 5, 2, 10, 11, 12, 345, tzinfo=UTC)


def test_nothing_was_agreed_until_it_was_written_down() -> None:
    profile = new_profile("bob")
    assert read_consent(profile, "record") is None
    with pytest.raises(ConsentError, match=r"never agreed to\. Nothing was written") as caught:
        insist_consent(profile, "record", NOW)
    assert (caught.value.exit_code, caught.value.name) == (10, "consent")
    assert "pse-stream sessions on -p bob" in caught.value.hint


def test_consent_is_for_one_purpose_and_runs_out() -> None:
    profile = new_profile("bob")
    agree(profile, "record", by="a test", now=NOW)
    insist_consent(profile, "record", NOW + timedelta(days=364))
    for moment in (NOW + timedelta(days=365), NOW - timedelta(days=1)):
        with pytest.raises(ConsentError, match="has run out"):
            insist_consent(profile, "record", moment)
    with pytest.raises(ConsentError):
        insist_consent(profile, "enrol", NOW)


def test_another_text_asks_again() -> None:
    profile = new_profile("bob")
    agree(profile, "record", by="a test", now=NOW)
    path = profile.folder / "consent.toml"
    path.write_text(path.read_text().replace("text = 1", "text = 0"))
    with pytest.raises(ConsentError):
        insist_consent(profile, "record", NOW)


def test_withdrawn_is_gone_and_the_other_purpose_stays() -> None:
    profile = new_profile("bob")
    assert not withdraw(profile, "record")
    agree(profile, "record", by="a test", now=NOW)
    agree(profile, "enrol", by="a test", now=NOW)
    assert withdraw(profile, "record")
    assert read_consent(profile, "record") is None
    assert read_consent(profile, "enrol") is not None
    assert withdraw(profile, "enrol")
    assert not (profile.folder / "consent.toml").exists()


@pytest.mark.parametrize("text", ["record = true\n", "[record]\nagreed = 'yes'\n", "[record]\nagreed = 2026-01-01\n"])
def test_what_makes_no_sense_allows_nothing(text: str) -> None:
    profile = new_profile("bob")
    (profile.folder / "consent.toml").write_text(text)
    with pytest.raises(ConfigError, match="Decide anew"):
        insist_consent(profile, "record", NOW)
