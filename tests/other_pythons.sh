#!/usr/bin/env bash
# What needs no PyTorch, on other Pythons: a second PyTorch would take gigabytes and many minutes.
# The oldest promised runs all of it, which parses every file too. A newer one runs what touches
# processes, files and the standard library: it takes modules away and warns, but computes alike.
# Says what ran, and which Python is not here; fails where a test fails.
#
# PYTHONS   versions to try (default: the oldest promised, and one newer than the usual: 3.10 3.12)
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

heavy='torch|torchaudio|transformers|openai-whisper|timm'
mapfile -t light < <(sed -n '/^dependencies = \[/,/^\]/s/^  "\(.*\)",$/\1/p' pyproject.toml |
    grep -vE "^($heavy)[<>=]")
newer=(tests/audio tests/corpora tests/shards tests/entailment/test_cache.py
    tests/commands/test_{manifest,completion}.py tests/test_{jsonl,parts,records,settings,start_up}.py)
rooms=("${newer[@]}" tests/prosody/test_targets.py tests/evaluation/test_metrics.py
    tests/entailment/test_{crosswalk,taxonomies,templates}.py tests/test_{house,man,map}.py)

find_python() { # VERSION: its interpreter, on the path or where pyenv keeps it
    for python in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python; do
        if "$python" -c 'import ensurepip, venv' 2> /dev/null; then
            echo "$python"
            return
        fi
    done
}

try_version() {
    local python pip tests=("${rooms[@]}")
    [ "$1" = 3.10 ] || tests=("${newer[@]}")
    python=$(find_python "$1")
    if [ -z "$python" ]; then
        echo "Python $1: not here; nothing was run on it"
        return
    fi
    echo "Python $("$python" -c 'import platform; print(platform.python_version())'): rooms without PyTorch"
    "$python" -m venv "$work/$1"
    # Python's development mode is for our tests, not for pip.
    pip=(env -u PYTHONDEVMODE "$work/$1/bin/pip" --quiet --disable-pip-version-check install
        --no-compile -c constraints.txt)
    "${pip[@]}" "${light[@]}" av pytest pytest-xdist hypothesis hatchling editables
    "${pip[@]}" --no-deps --no-build-isolation -e .
    "$work/$1/bin/python" -m pytest -n 2 --dist worksteal -m "not slow" -p no:cacheprovider \
        "${tests[@]}"
}

# Side by side, for to install is mostly to wait; what each says comes at its end.
declare -A running
for version in ${PYTHONS:-3.10 3.12}; do
    (try_version "$version" > "$work/$version.log" 2>&1) &
    running[$version]=$!
done
failed=0
for version in "${!running[@]}"; do
    wait "${running[$version]}" || failed=1
    cat "$work/$version.log"
done
exit "$failed"
