#!/usr/bin/env bash
# What it does: submits all of LanSER's first half to Slurm: transcribe and entail-label as arrays,
#   after each the merger of its parts, then shard, then pre-training. Each job waits for the one
#   before. Run it again after a failure: it submits what is not whole, and of arrays only the parts
#   that are lost. It submits nothing while a job of it waits or runs, or where SPEECH has changed.
# Needs: Slurm; lanser on the PATH of this machine and of the nodes; a file system that all see. Models
#   of a hub must be in the cache that all see (HF_HOME) where nodes reach no network.
# Costs: seconds to submit, and when run again to load the models. What jobs cost is in docs/scale.md.
#
#   SPEECH=/data/speech OUT=/data/out PARTS=16 recipes/slurm/submit.sh
#
# SPEECH    folder of unlabeled speech, or whatever transcribe takes, in one word; for speech that
#           lies in tars take tars.sbatch instead
# OUT       folder for all that is made: transcribe/, words.jsonl, entail-label/, weak.jsonl, shards/;
#           not in SPEECH
# PARTS     tasks of each array (default: 16); keep it when you run this again
# ASR, NLI, TAXONOMY      (default: embedded, embedded, goemotions)
# PRETRAIN  options of lanser pretrain; without it the last job is shard
# GPU       what sbatch is told for the arrays (default: --gres=gpu:1; empty for CPUs)
# SHARD     what it is told for shard, such as --cpus-per-task=16 (default: nothing)
# For all jobs sbatch itself reads SBATCH_ACCOUNT, SBATCH_PARTITION, SBATCH_TIMELIMIT and the like
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

: "${SPEECH:?folder of unlabeled speech}" "${OUT:?folder for all that is made}"
parts=${PARTS:-16}
read -r -a gpu <<< "${GPU---gres=gpu:1}"
read -r -a shard <<< "${SHARD:-}"
after=()

if [[ $(realpath -m "$OUT")/ = "$(realpath -m "$SPEECH")"/* ]]; then
    echo "$0: OUT lies in SPEECH, which would be another with each log: name a folder elsewhere" >&2
    exit 2
fi

# A folder has one set of settings.
now="$SPEECH in $parts parts, ${ASR:-embedded}, ${NLI:-embedded}, ${TAXONOMY:-goemotions}"
mkdir -p "$OUT"
[ -e "$OUT/settings" ] || echo "$now" > "$OUT/settings"
if [ "$now" != "$(cat "$OUT/settings")" ]; then
    echo "$0: $OUT/settings says '$(cat "$OUT/settings")', not '$now': name another OUT," \
        "or remove that file if nothing is made there yet" >&2
    exit 2
fi

# What waits or runs would be made a second time.
queued=
[ ! -s "$OUT/jobs" ] || queued=$(squeue --noheader --format=%F --jobs="$(paste -sd, "$OUT/jobs")" \
    2> /dev/null | sort -u | paste -sd' ') || true # that it knows none of them any more is an error
if [ -n "$queued" ]; then
    echo "$0: of $OUT there are jobs in the queue: wait for their end, or  scancel $queued" >&2
    exit 2
fi
: > "$OUT/jobs"

# submit WHEN ARGUMENTS...: a job behind the one before; the next begins WHEN it has ended.
submit() {
    local job when=$1
    shift
    job=$(sbatch --parsable --output="$OUT/log/%x-%j.txt" "${after[@]}" "$@")
    after=(--dependency="$when:${job%%;*}" --kill-on-invalid-dep=yes)
    echo "${job%%;*}" >> "$OUT/jobs"
    echo "$job: ${*: -1}" >&2
}

# same ARGUMENTS...: of what is whole lanser says whether it is still that of its input and options.
same() {
    if [ ${#after[@]} -gt 0 ]; then # what it was made of is made anew
        submit afterok "$here/step.sbatch" "$@"
    elif ! lanser "$@" > /dev/null; then
        echo "$0: nothing is submitted: name another OUT; if there are new files in $SPEECH, another" \
            "SPEECH that has them alone will do" >&2
        exit 2
    fi
}

# stage VERB INPUT MERGED OPTIONS...: the parts that are not whole, then all of them as one file.
stage() {
    local verb=$1 input=$2 merged=$3 found again whole
    shift 3
    mkdir -p "$OUT/$verb" "$OUT/log"
    if [ -e "$merged" ]; then
        same "$verb" "$input" "$@" --device cpu --resume -o "$merged"
        return
    fi
    found=$(lanser parts "$OUT/$verb" --of "$parts") || [ -n "$found" ] # 1: not all are whole
    again=${found##*'"array":"'}
    again=${again%%'"'*}
    whole=${found##*'"whole":"'}
    whole=${whole%%[!0-9]*}
    [ ! -e "$OUT/$verb/$whole.jsonl" ] || same "$verb" "$input" "$@" --part "$whole/$parts" \
        --device cpu --resume -o "$OUT/$verb/$whole.jsonl" --rejects "$OUT/$verb/$whole.rejects.jsonl"
    if [ -n "$again" ]; then
        submit afterany --array="$again" "${gpu[@]}" "$here/part.sbatch" "$OUT/$verb" "$parts" \
            "$verb" "$input" "$@"
    fi
    submit afterok "$here/step.sbatch" parts "$OUT/$verb" --of "$parts" --merge "$merged"
}

stage transcribe "$SPEECH" "$OUT/words.jsonl" --model "${ASR:-embedded}"
stage entail-label "$OUT/words.jsonl" "$OUT/weak.jsonl" --model "${NLI:-embedded}" \
    --taxonomy "${TAXONOMY:-goemotions}"
pack=(shard "$OUT/weak.jsonl" --resume -o "$OUT/shards")
if [ -e "$OUT/shards/index.json" ]; then same "${pack[@]}"; else
    submit afterok "${shard[@]}" "$here/step.sbatch" "${pack[@]}"
fi
if [ -n "${PRETRAIN:-}" ]; then
    export SHARDS=$OUT/shards RUN=$OUT/pretrained PRETRAIN
    if [ ${#after[@]} -eq 0 ] && [ -e "$RUN/model.safetensors" ]; then
        echo "$0: $RUN is trained: PRETRAIN is not looked at again; to train anew, move it away" >&2
    else
        submit afterok "$here/pretrain.sbatch"
    fi
fi
