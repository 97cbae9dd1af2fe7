#!/bin/sh
# Install what pse-stream needs on Debian or Ubuntu: system packages (only those that are missing, as root or through
# sudo), a virtual environment in .venv, and the package in it. Running it again costs a tenth of a second.
#
#   scripts/setup.sh            everything, with what the tests need
#   EXTRAS=report scripts/setup.sh   only these extras
#   PYTHON=python3.12 scripts/setup.sh
set -eu
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-python3}
EXTRAS=${EXTRAS:-test,report,rnnoise,tui}
STAMP=.venv/.installed

say() { printf 'setup: %s\n' "$*" >&2; }
stop() { say "$*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# --- done already? ---------------------------------------------------------------------------------------------------

wanted=$(cat setup.cfg pyproject.toml scripts/setup.sh | cksum)" $EXTRAS"
if [ -f "$STAMP" ] && [ "$(cat "$STAMP")" = "$wanted" ]; then exit 0; fi

# --- system packages -------------------------------------------------------------------------------------------------

missing=
need() { missing="$missing $1"; }

name=${PYTHON##*/}  # Debian names its packages after the program: python3.12 -> python3.12-venv
have "$PYTHON" || need "$name"
"$PYTHON" -c 'import ensurepip, venv' 2>/dev/null || need "$name-venv"
"$PYTHON" -c 'import os, sysconfig, sys; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' \
    2>/dev/null || need "$name-dev"
have cc || need gcc                                           # PyAudio has no wheel for Linux
[ -e /usr/include/stdlib.h ] || need libc6-dev
[ -e /usr/include/portaudio.h ] || need portaudio19-dev       # microphones and loudspeakers
have pactl || need pulseaudio-utils                           # the virtual microphone
ls /usr/lib/*/alsa-lib/libasound_module_pcm_pulse.so >/dev/null 2>&1 || need libasound2-plugins  # ALSA -> sound server
# A machine without any sound server gets PulseAudio, which the tests start for themselves. Beside PipeWire it is never
# installed: on Debian and Ubuntu that would remove PipeWire's own sound packages.
have pulseaudio || have pipewire || need pulseaudio

if [ -n "$missing" ]; then
    have apt-get || stop "missing:$missing. Install the like of these Debian packages, then run this again."
    root=
    if [ "$(id -u)" -ne 0 ]; then
        have sudo || stop "missing:$missing. As root: apt-get install$missing"
        root=sudo
    fi
    say "installing$missing"
    $root apt-get update -q
    # shellcheck disable=SC2086  # a list of words
    $root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing
fi

"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    stop "$PYTHON is $("$PYTHON" --version); expected Python 3.11 or newer. Try: PYTHON=python3.12 make run"

# --- the package -----------------------------------------------------------------------------------------------------

[ -x .venv/bin/python ] || "$PYTHON" -m venv .venv
say "installing pse-stream[$EXTRAS] into .venv (a few minutes the first time)"
.venv/bin/python -m pip install --quiet --disable-pip-version-check -e ".[$EXTRAS]"
printf '%s' "$wanted" > "$STAMP"
say "done"
