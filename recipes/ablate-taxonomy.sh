#!/usr/bin/env bash
# What it does: labels the same speech with each of several taxonomies, pre-trains on each, fine-tunes
#   on the same corpus, and compares the second, third and so on with the first. Run again, it goes
#   on where it stopped.
# Needs: what lanser.sh left in WORK: words.jsonl, shards/, corpus.jsonl.
# Costs: for each taxonomy one entail-label, one pre-training and one fine-tuning.
#
#   WORK=runs/lanser recipes/ablate-taxonomy.sh [TAXONOMY...]
#
# A taxonomy is a name that lanser taxonomies lists, or a file (default: goemotions ekman6 meld7).
# What is best here was chosen on this corpus' speakers: report on another.
#
# WORK      (default: runs/lanser); what this makes is in WORK/ablate-taxonomy
# NLI       default FacebookAI/roberta-large-mnli     MODEL    default resnet50
# PRETRAIN, FINETUNE                                  further options of these verbs
set -euo pipefail

work=${WORK:-runs/lanser}
[ $# -gt 0 ] || set -- goemotions ekman6 meld7
read -r -a pretrain <<< "${PRETRAIN:-}"
read -r -a finetune <<< "${FINETUNE:-}"

# Exit 3 means done, with some records rejected and listed: go on.
may_reject() { "$@" || [ $? -eq 3 ]; }

runs=()
for taxonomy in "$@"; do
    made="$work/ablate-taxonomy/$(basename "$taxonomy" .json)"
    mkdir -p "$made"
    may_reject lanser entail-label "$work/words.jsonl" --taxonomy "$taxonomy" \
        --model "${NLI:-FacebookAI/roberta-large-mnli}" --resume -o "$made/weak.jsonl"
    may_reject lanser pretrain "$work/shards" --labels "$made/weak.jsonl" --model "${MODEL:-resnet50}" \
        "${pretrain[@]}" --resume -o "$made/pretrained"
    may_reject lanser finetune "$work/corpus.jsonl" --init "$made/pretrained" "${finetune[@]}" \
        --resume -o "$made/tuned"
    runs+=("$made/tuned")
done
lanser compare "${runs[@]}" -o "$work/ablate-taxonomy/report" --force
