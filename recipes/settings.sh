#!/usr/bin/env bash
# Which settings of training are good? One change at a time, over the same folds and seeds.
#
#   CORPUS="ravdess /data/RAVDESS" recipes/settings.sh [CHANGE...]
#
# Trains from scratch on CORPUS with the defaults, then with each change; tests by cross-validation
# and compares each with the defaults, paired by speaker. Without a CHANGE all of the list below are
# tried; `recipes/settings.sh list` names them. What is there already is not made again.
#
# A default that is chosen by these figures was chosen on these speakers: what is later reported on
# the same corpus is a development figure. Report on another.
#
# CORPUS   kind and folder of the labelled corpus, as lanser manifest takes them
# WORK     folder for all it makes (default: runs/settings)
# RESULTS  file the points are appended to (default: WORK/results.jsonl)
# SEEDS    trainings of each fold (default: 3)     FOLDS  (default: 4, by speaker, of both sexes)
# STEPS    of each training (default: 3000)        MODEL  (default: resnet18-slim)
# OPTIONS  of lanser finetune that all trainings have, the defaults too
#
# A change is SEEDS x FOLDS trainings: 36,000 steps by default, of which a core with arithmetic for
# bfloat16 makes some 10 a second at a crop of 2 seconds.
set -euo pipefail
here=$(dirname "$0")
# shellcheck source=recipes/experiment.sh
. "$here/experiment.sh"
work=${WORK:-runs/settings}
results=${RESULTS:-$work/results.jsonl}

declare -A options=(
    [default]=""
    [class-weights-sqrt]="--class-weights sqrt"
    [class-weights-balanced]="--class-weights balanced"
    [label-smoothing-0]="--label-smoothing 0"
    [weight-decay-0.01]="--weight-decay 0.01"
    [mixup-0]="--mixup 0"
    [lr-0.0005]="--lr 0.0005"
    [lr-0.002]="--lr 0.002"
    [crop-2]="--crop 2"
    [crop-4]="--crop 4"
    [gain-12]="--gain-db 12"
    [noise-10..40]="--noise-db 10..40"
    [tempo-0.1]="--tempo 0.1"
    [trim]="--trim"
    [normalise-utterance]="--normalise utterance"
    [normalise-speaker]="--normalise speaker" # transductive: it hears the test speakers' other clips
)
mapfile -t all < <(printf '%s\n' "${!options[@]}" | grep -vx default | sort)
[ "${1:-}" = list ] && printf '%s\n' "${all[@]}" && exit
: "${CORPUS:?kind and folder of the labelled corpus}"
read -r kind root <<< "$CORPUS"
changes=("$@")
[ $# -gt 0 ] || changes=("${all[@]}")
for change in "${changes[@]}"; do
    [ -n "${options[$change]+there}" ] && continue
    echo "$0: no change '$change'; $0 list names them" >&2
    exit 2
done

model=${MODEL:-resnet18-slim}
steps=${STEPS:-3000}
seeds=${SEEDS:-3}
folds=${FOLDS:-4}
corpus="$work/$kind/corpus.jsonl"
same_settings "$work/$kind/settings" \
    "$root, $model, $steps steps, $seeds seeds, $folds folds${OPTIONS:+, $OPTIONS}"
manifest "$kind" "$root" "$corpus"
for change in default "${changes[@]}"; do
    run="$work/$kind/$change"
    [ -e "$run/predictions.jsonl" ] && continue
    printf '\n== %s\n' "$change" >&2
    # shellcheck disable=SC2086  # options are words
    may_reject lanser finetune "$corpus" --model "$model" --folds "$folds" \
        --steps "$steps" --seeds "$seeds" ${OPTIONS:-} ${options[$change]} --resume -o "$run"
done
for run in "$work/$kind"/*/predictions.jsonl; do
    change=$(basename "$(dirname "$run")")
    runs=("$(dirname "$run")"/seed-*/predictions.jsonl)
    [ -e "${runs[0]}" ] || runs=("$run")
    python "$here/store_points.py" "${runs[@]}" --to "$results" --set recipe=settings \
        "corpus=$kind" "arm=$change" "folds=$folds" "options=${OPTIONS:-}"
done
lanser compare "$work/$kind/default" "${changes[@]/#/$work/$kind/}" --by speaker
