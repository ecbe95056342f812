#!/usr/bin/env bash
# What recipes of experiments share: real-voices.sh, settings.sh and simulate.sh source it.
set -euo pipefail

# Exit 3 means done, with some records rejected and listed: go on.
may_reject() { "$@" > /dev/null || [ $? -eq 3 ]; }

# same_settings FILE WORDS: a folder has one set of settings, since what is done is not looked at again.
same_settings() {
    mkdir -p "$(dirname "$1")"
    [ -e "$1" ] || { echo "$2" > "$1.$$" && mv "$1.$$" "$1"; } # never half there
    [ "$2" = "$(cat "$1")" ] && return
    echo "$0: $1 says '$(cat "$1")', not '$2': name another WORK," \
        "or remove that file if nothing is made there yet" >&2
    exit 2
}

# manifest KIND ROOT CORPUS.jsonl: made once, also where two parts begin at the same time.
manifest() {
    [ -e "$3" ] || (
        flock 9
        [ -e "$3" ] || may_reject lanser manifest "$1" "$2" -o "$3"
    ) 9> "$3.lock"
}

# stored RESULTS: how many points it has.
stored() { if [ -e "$1" ]; then wc -l < "$1"; else echo 0; fi; }

# say_points FOUND FOLDER BEFORE RESULTS: of so many trainings found below a folder, how many are new.
say_points() {
    if [ "$1" -eq 0 ]; then
        echo "$0: points: no training below $2 has been tested: make its parts first," \
            "or name another WORK" >&2
        exit 1
    fi
    echo "$0: points: $1 tested, $(($(stored "$4") - $3)) new, $(stored "$4") in $4" >&2
}
