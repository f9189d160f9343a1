#!/bin/sh
# Makes the private virtual environment and installs the project into it, editable.
#
#   tools/setup.sh VENV [GROUP]...
#
# GROUP is a dependency group of pyproject.toml. PYTHON names the interpreter; without it the first suitable one of
# python3.13, python3.12, python3.11 and python3 is taken. What is missing is named before anything is downloaded:
# x11-hash has no wheels, so a C compiler and the headers of that Python are needed.
set -eu

venv=${1:?usage: tools/setup.sh VENV [GROUP]...}
shift

fail() {
    echo "setup: $1" >&2
    exit 1
}

# ask PYTHON EXPRESSION: the value of an expression, with sys and sysconfig at hand.
ask() {
    "$1" -c "import sys, sysconfig; print($2)" 2>/dev/null
}

right_version() {
    [ "$(ask "$1" "(3, 11) <= sys.version_info[:2] <= (3, 13)")" = True ]
}

has_venv() {
    "$1" -c "import ensurepip, venv" 2>/dev/null
}

has_headers() {
    [ -f "$(ask "$1" "sysconfig.get_path('include')")/Python.h" ]
}

suitable() {
    right_version "$1" && has_venv "$1" && has_headers "$1"
}

choose_python() {
    best=
    for name in python3.13 python3.12 python3.11 python3; do
        if suitable "$name"; then
            echo "$name"
            return
        fi
        if [ -z "$best" ] && right_version "$name"; then
            best=$name
        fi
    done
    echo "$best"
}

check_python() {
    [ -n "$1" ] || fail "no Python 3.11, 3.12 or 3.13 found; install one, or name it: make PYTHON=/path/to/python3"
    ask "$1" 1 >/dev/null || fail "$1 does not run"
    right_version "$1" || fail "$1 is Python $(ask "$1" "sys.version.split()[0]"); 3.11, 3.12 or 3.13 is needed"
    has_venv "$1" || fail "$1 has no venv module (on Debian and Ubuntu: apt install python3-venv)"
    has_headers "$1" || fail "$1 has no Python.h: its headers are missing (on Debian and Ubuntu: apt install python3-dev)"
}

check_compiler() {
    cc=${CC:-$(ask "$1" "sysconfig.get_config_var('CC') or 'cc'")}
    command -v "${cc%% *}" >/dev/null || fail "no C compiler: ${cc%% *} is not found (on Debian and Ubuntu: apt install gcc)"
    printf '#include <Python.h>\n' |
        $cc -fsyntax-only -x c -I "$(ask "$1" "sysconfig.get_path('include')")" - 2>/dev/null ||
        fail "the C compiler ${cc%% *} cannot compile Python.h (on Debian and Ubuntu: apt install libc6-dev)"
}

python=${PYTHON:-$(choose_python)}
check_python "$python"
check_compiler "$python"

if ! ask "$venv/bin/python" 1 >/dev/null; then
    "$python" -m venv --clear "$venv"
fi
groups=
for group in "$@"; do
    groups="$groups --group $group"
done
pip="$venv/bin/python -m pip --quiet --quiet --disable-pip-version-check"
echo "setup: installing into $venv with $("$venv/bin/python" --version); the first time takes a minute" >&2
$pip install --upgrade "pip >= 25.1"
$pip install --only-binary atheris --editable '.[web]' $groups || case "$groups" in
*fuzz*) fail "the fuzzer is not installed; if atheris is what is missing: it has wheels for CPython 3.11, 3.12 and 3.13 on Linux" ;;
*) exit 1 ;;
esac
