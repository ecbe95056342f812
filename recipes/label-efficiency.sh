#!/usr/bin/env bash
# What it does: draws UAR against the share of labels used, with and without pre-training, for each
#   of several labelled corpora. Run again, it goes on where it stopped.
# Needs: lanser on the PATH; a run folder of lanser pretrain.
# Costs: 50 trainings of 1,500 steps for each fold of a corpus; EFFICIENCY="--seeds 1" a fifth of it.
#
#   INIT=runs/lanser/pretrained recipes/label-efficiency.sh crema-d=/data/CREMA-D ravdess=/data/RAVDESS
#
# INIT        the run folder
# WORK        folder for all it makes (default: runs/label-efficiency): KIND/report.html for each corpus
# EFFICIENCY  further options of lanser efficiency
set -euo pipefail

: "${INIT:?run folder of lanser pretrain}" "${1:?KIND=FOLDER of each labelled corpus}"
work=${WORK:-runs/label-efficiency}
read -r -a efficiency <<< "${EFFICIENCY:-}"

# Exit 3 means done, with some records rejected and listed: go on.
may_reject() { "$@" || [ $? -eq 3 ]; }

mkdir -p "$work"
for corpus in "$@"; do
    kind=${corpus%%=*}
    may_reject lanser manifest "$kind" "${corpus#*=}" --resume -o "$work/$kind.jsonl"
    may_reject lanser efficiency "$work/$kind.jsonl" --init "$INIT" "${efficiency[@]}" \
        --resume -o "$work/$kind"
done
