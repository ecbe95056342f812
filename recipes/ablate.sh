#!/usr/bin/env bash
# What it does: labels the same speech with each of several values of one option of lanser entail-label,
#   pre-trains on each, fine-tunes on the same corpus, and compares the second, third and so on with
#   the first. Run again, it goes on where it stopped. `lanser entail-label --sweep` ranks hypotheses
#   in minutes, on labelled text.
# Needs: what lanser.sh left in WORK: words.jsonl, shards/, corpus.jsonl.
# Costs: for each value one entail-label, one pre-training and one fine-tuning.
#
#   WORK=runs/lanser recipes/ablate.sh OPTION VALUE VALUE...
#
#   recipes/ablate.sh taxonomy goemotions ekman6 meld7
#   recipes/ablate.sh template "This person feels {}." "The speaker feels {adjective}." "I feel {}."
#
# What is best here was chosen on this corpus' speakers: report on another.
#
# WORK      (default: runs/lanser); what this makes is in WORK/ablate-OPTION
# NLI       default FacebookAI/roberta-large-mnli     MODEL    default resnet50
# TAXONOMY  default goemotions
# PRETRAIN, FINETUNE                                  further options of these verbs
set -euo pipefail

[ $# -ge 3 ] || { echo "usage: $0 OPTION VALUE VALUE..." >&2 && exit 2; }
option=$1
shift
work=${WORK:-runs/lanser}
read -r -a pretrain <<< "${PRETRAIN:-}"
read -r -a finetune <<< "${FINETUNE:-}"

# Exit 3 means done, with some records rejected and listed: go on.
may_reject() { "$@" || [ $? -eq 3 ]; }

# Variables yield to OPTION, which may be one of these two, or --labels in place of a taxonomy.
export LANSER_ENTAIL_LABEL_TAXONOMY=${TAXONOMY:-goemotions}
export LANSER_ENTAIL_LABEL_MODEL=${NLI:-FacebookAI/roberta-large-mnli}

runs=()
for value in "$@"; do
    made="$work/ablate-$option/$(basename -- "$value" .json | tr -cs '[:alnum:]\n' _)"
    while [[ " ${runs[*]} " = *" $made/tuned "* ]]; do made+=_; done # of another value
    mkdir -p "$made"
    may_reject lanser entail-label "$work/words.jsonl" "--$option" "$value" \
        --resume -o "$made/weak.jsonl"
    may_reject lanser pretrain "$work/shards" --labels "$made/weak.jsonl" --model "${MODEL:-resnet50}" \
        "${pretrain[@]}" --resume -o "$made/pretrained"
    may_reject lanser finetune "$work/corpus.jsonl" --init "$made/pretrained" "${finetune[@]}" \
        --resume -o "$made/tuned"
    runs+=("$made/tuned")
done
lanser compare "${runs[@]}" -o "$work/ablate-$option/report" --force
