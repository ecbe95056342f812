#!/usr/bin/env bash
# What it does: labels what is new in a folder of speech since the last night: a file of records a
#   night, in OUT/labels/. Safe to run twice: a second run at the same time ends at once, and one
#   after a crash goes on where that stopped. Adds one line to OUT/log; prints only what went wrong,
#   which cron mails.
# Needs: lanser on the PATH; flock (util-linux). Paths without line breaks, links that lead in no circle.
# Costs: seconds where nothing is new; else what transcribe and entail-label take.
#
#   PATH=/opt/lanser/.venv/bin:/usr/bin:/bin
#   0 2 * * *  SPEECH=/data/calls OUT=/data/labels /opt/lanser/recipes/cron/nightly.sh
#
# SETTLED   minutes since which a file has not changed, so that none is read while it is written
#           (default: 5)
# SUFFIXES  of sound (default: wav flac mp3 ogg opus m4a)
# ASR, NLI, TAXONOMY      (default: embedded, embedded, goemotions)
set -euo pipefail
export LC_ALL=C.UTF-8

: "${SPEECH:?folder of speech}" "${OUT:?folder for the labels}"
mkdir -p "$OUT"/{nights,labels}
log() { printf '%s %s\n' "$(date +%FT%T)" "$*" >> "$OUT/log"; }
may_reject() { "$@" || [ $? -eq 3 ]; } # 3: done, with some records rejected and listed

exec 9> "$OUT/.nightly.lock"
flock --nonblock 9 || { log "another run is at work: nothing done" && exit; }
trap '[ $? -eq 0 ] || log "failed; the next run goes on"' EXIT

seen=$OUT/seen.txt
touch "$seen"
night=$(find "$OUT/nights" -name '*.todo' | sort | head -n 1) # left by a run that did not end
if [ -z "$night" ]; then
    suffixes=${SUFFIXES:-wav flac mp3 ogg opus m4a}
    name=$(date +%Y%m%d-%H%M%S)
    while [ -e "$OUT/labels/$name.jsonl" ]; do name+=x; done # the clock was set back
    night=$OUT/nights/$name.todo
    find -L "$SPEECH" -type f -mmin "+${SETTLED:-5}" -regextype posix-extended \
        -iregex ".*\.(${suffixes// /|})" | sort | comm -13 "$seen" - > "$night.new"
    [ -s "$night.new" ] || { rm "$night.new" && log "nothing new" && exit; }
    mv "$night.new" "$night"
fi
words=${night%.todo}.words.jsonl
labels=$OUT/labels/$(basename "${night%.todo}").jsonl
may_reject lanser transcribe - --model "${ASR:-embedded}" --resume -o "$words" \
    --rejects "${night%.todo}.rejects.jsonl" --quiet < "$night"
may_reject lanser entail-label "$words" --model "${NLI:-embedded}" --resume -o "$labels" \
    --taxonomy "${TAXONOMY:-goemotions}" --quiet
sort -mu "$seen" "$night" > "$seen.new"
mv "$seen.new" "$seen"
log "labelled $(wc -l < "$labels") of $(wc -l < "$night") new files: $labels"
rm "$night"
