#!/usr/bin/env bash
# What it does: labels the same speech by each of several hypotheses, pre-trains on each, fine-tunes on
#   the same corpus, and compares the second, third and so on with the first. Run again, it goes on
#   where it stopped. `lanser entail-label --sweep` ranks hypotheses in minutes, on labelled text.
# Needs: what lanser.sh left in WORK: words.jsonl, shards/, corpus.jsonl.
# Costs: for each hypothesis one entail-label, one pre-training and one fine-tuning.
#
#   WORK=runs/lanser recipes/ablate-template.sh ["HYPOTHESIS"...]
#
# A hypothesis has one slot, {} for a noun or {adjective} (default: the three below).
# What is best here was chosen on this corpus' speakers: report on another.
#
# WORK      (default: runs/lanser); what this makes is in WORK/ablate-template
# NLI       default FacebookAI/roberta-large-mnli     MODEL    default resnet50
# TAXONOMY  default goemotions
# PRETRAIN, FINETUNE                                  further options of these verbs
set -euo pipefail

work=${WORK:-runs/lanser}
[ $# -gt 0 ] || set -- "This person feels {}." "The speaker feels {adjective}." "I feel {}."
read -r -a pretrain <<< "${PRETRAIN:-}"
read -r -a finetune <<< "${FINETUNE:-}"

# Exit 3 means done, with some records rejected and listed: go on.
may_reject() { "$@" || [ $? -eq 3 ]; }

runs=()
for template in "$@"; do
    made="$work/ablate-template/$(tr -cs '[:alnum:]\n' _ <<< "$template")"
    mkdir -p "$made"
    may_reject lanser entail-label "$work/words.jsonl" --template "$template" \
        --taxonomy "${TAXONOMY:-goemotions}" --model "${NLI:-FacebookAI/roberta-large-mnli}" \
        --resume -o "$made/weak.jsonl"
    may_reject lanser pretrain "$work/shards" --labels "$made/weak.jsonl" --model "${MODEL:-resnet50}" \
        "${pretrain[@]}" --resume -o "$made/pretrained"
    may_reject lanser finetune "$work/corpus.jsonl" --init "$made/pretrained" "${finetune[@]}" \
        --resume -o "$made/tuned"
    runs+=("$made/tuned")
done
lanser compare "${runs[@]}" -o "$work/ablate-template/report" --force
