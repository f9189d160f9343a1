#!/bin/sh
# Holds the built wheel against the source tree, and runs the tests against it where no source tree can help them.
#
#   tools/wheel-test.sh PYTHON DIST [TESTS]...
#
# The sdist in DIST is unpacked elsewhere and its packages are deleted; what is left (tests, docs, README) runs in a new
# virtual environment that has the wheel and what the tests need, nothing else. What is installed there has to be the
# package of the tree this is called in, file by file: none lacks, none is left over, none is another.
set -eu

python=${1:?usage: tools/wheel-test.sh PYTHON DIST [TESTS]...}
dist=${2:?usage: tools/wheel-test.sh PYTHON DIST [TESTS]...}
shift 2

if [ -d ../shared/vectors ]; then
    PHASEGATE_VECTORS=${PHASEGATE_VECTORS:-$(cd ../shared && pwd)}
    export PHASEGATE_VECTORS
fi

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"$python" -m venv "$place/venv"
tar -xzf "$dist"/phasegate-*.tar.gz -C "$place"
rm -rf "$place"/phasegate-*/phasegate "$place"/phasegate-*/phasegate.egg-info

pip="$place/venv/bin/python -m pip --quiet --quiet --disable-pip-version-check"
$pip install --upgrade "pip >= 25.1"
wheel=$(echo "$dist"/phasegate-*.whl)
$pip install --group pyproject.toml:test "$wheel[web]"
installed=$(cd "$place" && venv/bin/python -P -c "import phasegate; print(phasegate.__path__[0])")
diff -r -x __pycache__ phasegate "$installed" || { echo "wheel-test: the wheel is not the tree" >&2; exit 1; }

cd "$place"/phasegate-*/
workers=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
[ "$workers" -ge 4 ] && workers=4 || workers=$((workers + 1))
"$place/venv/bin/pytest" -p no:cacheprovider -m "not soak" -n "$workers" --dist loadfile --no-loadscope-reorder "$@"
