from __future__ import annotations

import pytest

from pse_stream.control.faults import FAULTS, RemoteError, fault_of
from pse_stream.errors import BusyError, ConfigError, DeviceError, EngineError, PseError, SpecError


def test_codes_are_unique_and_in_the_ranges_of_json_rpc() -> None:
    codes = [fault.code for fault in FAULTS.values()]
    assert len(set(codes)) == len(codes)
    assert all(-32768 <= code <= -32000 for code in codes)


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (SpecError("x"), "bad_value"),
        (EngineError("x"), "engine_failed"),
        (EngineError("x", name="bad_level"), "bad_value"),
        (EngineError("x", name="something_new"), "engine_failed"),
        (DeviceError("x"), "no_device"),
        (ConfigError("x", name="consent"), "consent_needed"),
        (BusyError("x"), "busy"),
        (PseError("x"), "internal_error"),
        (PseError("x", name="not_supported"), "not_supported"),
    ],
)
def test_errors_inside_have_one_name_outside(error: PseError, name: str) -> None:
    assert fault_of(error.name, error.exit_code).name == name


def test_a_remote_error_ends_the_program_with_the_exit_code_of_its_name() -> None:
    assert RemoteError("x", name="no_device").exit_code == 4
    assert RemoteError("x", name="of_a_newer_server").exit_code == 6
