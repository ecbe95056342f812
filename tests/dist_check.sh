#!/usr/bin/env bash
# The sdist holds all of the repository and passes its own tests; the wheel holds all of the package.
#
#   tests/dist_check.sh [PYTEST ARGUMENT...]    which of the quick tests to run; default all
#
# PYTHON    an interpreter with what the tests need (default: .venv/bin/python)
set -euo pipefail
cd "$(dirname "$0")/.."
python=$(realpath --no-symlinks "${PYTHON:-.venv/bin/python}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

git ls-files | sort > "$work/tracked"
"$python" -m build --no-isolation --outdir "$work" . > "$work/log" 2>&1 || { cat "$work/log"; exit 1; }
sdist=$(ls "$work"/*.tar.gz) wheel=$(ls "$work"/*.whl)

same() { # FILE WANTED FOUND
    diff "$2" "$3" > "$work/diff" || { echo "$1 is not what git has (<) but (>):"; cat "$work/diff"; exit 1; }
}
tar -tzf "$sdist" | sed 's:^[^/]*/::' | grep -v '^PKG-INFO$' | sort > "$work/packed"
same "$(basename "$sdist")" "$work/tracked" "$work/packed"
grep '^lanser_cli/' "$work/tracked" > "$work/tracked-package"
grep '^docs/man/' "$work/tracked" > "$work/tracked-manual"
"$python" -m zipfile -l "$wheel" | awk '{print $1}' | sort > "$work/listed"
grep '^lanser_cli/' "$work/listed" > "$work/wheeled"
sed -n 's:.*/share/man/man1/:docs/man/:p' "$work/listed" > "$work/manual"
same "$(basename "$wheel")" "$work/tracked-package" "$work/wheeled"
same "$(basename "$wheel"), manual" "$work/tracked-manual" "$work/manual"
grep -qx lanser_cli/py.typed "$work/wheeled" || { echo "no py.typed in the wheel"; exit 1; }
echo "$(basename "$sdist"): $(wc -l < "$work/packed") files; $(basename "$wheel"): $(wc -l < "$work/wheeled")"

tar -xzf "$sdist" -C "$work"
cd "$work"/lanser-*/
PYTHONPATH=$PWD "$python" -m pytest -n 2 --dist worksteal -m "not slow" -p no:cacheprovider "$@"
