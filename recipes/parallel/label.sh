#!/usr/bin/env bash
# What it does: transcribe and label a folder of speech in parts on one machine, or on several over
#   ssh, by GNU parallel. What was killed goes on when you run it again; a part that failed is tried
#   three times.
# Needs: GNU parallel, lanser on the PATH; with HOSTS also ssh and a file system that all see.
# Costs: what the stages cost; each part loads the model once, so take a few parts for each job.
#
#   SPEECH=/data/speech OUT=/data/out recipes/parallel/label.sh
#
# PARTS (default: 8)    JOBS  at once on a machine (default: 2)    HOSTS  host1,host2 (default: here)
# ASR, NLI, TAXONOMY    (default: embedded, embedded, goemotions)
# Variables of lanser, such as LANSER_TRANSCRIBE_SEGMENT=vad, are handed to HOSTS too.
# The jobs of a machine share its processors: LANSER_THREADS says how many each takes.
set -euo pipefail

: "${SPEECH:?folder of unlabeled speech}" "${OUT:?folder for all that is made}"
export PARTS=${PARTS:-8} JOBS=${JOBS:-2}
handed=(part PARTS JOBS)
for name in "${!LANSER_@}"; do # no key: ssh would show it to all who list processes
    [ "$name" = LANSER_LLM_KEY ] || handed+=("$name")
done

part() { # DIR NUMBER VERB INPUT OPTIONS...; exit 3 means done, with some records rejected
    local out=$1/$2 number=$2
    shift 2
    LANSER_THREADS=${LANSER_THREADS:-$((($(nproc) + JOBS - 1) / JOBS))} \
        lanser "$@" --part "$number/$PARTS" --resume -o "$out.jsonl" --rejects "$out.rejects.jsonl" -q \
        || [ $? -eq 3 ]
}
export -f part

stage() { # VERB INPUT MERGED OPTIONS...
    local dir=$OUT/$1 verb=$1 input=$2 merged=$3
    shift 3
    mkdir -p "$dir"
    seq "$PARTS" | parallel --quote --will-cite --jobs "$JOBS" --retries 3 ${HOSTS:+--sshlogin "$HOSTS"} \
        "${handed[@]/#/--env=}" --workdir . part "$dir" {} "$verb" "$input" "$@"
    lanser parts "$dir" --of "$PARTS" --merge "$merged" > /dev/null
}

stage transcribe "$SPEECH" "$OUT/words.jsonl" --model "${ASR:-embedded}"
stage entail-label "$OUT/words.jsonl" "$OUT/weak.jsonl" --model "${NLI:-embedded}" \
    --taxonomy "${TAXONOMY:-goemotions}"
