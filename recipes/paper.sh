#!/usr/bin/env bash
# All of LanSER on your own data: label, pre-train, fine-tune for several amounts of labels with and
# without pre-training, evaluate, probe. One machine; for a cluster see slurm/submit.sh,
# whose outputs this script picks up.
#
#   SPEECH=/data/speech CORPUS="crema-d /data/CREMA-D" recipes/paper.sh
#
# SPEECH    folder of unlabeled speech, utterances of at most 30 s
# CORPUS    kind and folder of the labelled corpus, as lanser manifest takes them
# WORK      folder for all it makes (default: runs/paper); what is there already is not made again
# ASR       default embedded             NLI        default FacebookAI/roberta-large-mnli
# TAXONOMY  default goemotions             MODEL      default resnet50
# FRACTIONS of the labels (default: 0.05 0.1 0.25 0.5 1.0)
# PRETRAIN, FINETUNE                       further options of lanser pretrain and finetune
set -euo pipefail

: "${SPEECH:?folder of unlabeled speech}" "${CORPUS:?kind and folder of the labelled corpus}"
work=${WORK:-runs/paper}
model=${MODEL:-resnet50}
mkdir -p "$work"
read -r kind root <<< "$CORPUS"
read -r -a pretrain <<< "${PRETRAIN:-}"
read -r -a finetune <<< "${FINETUNE:-}"

# Exit 3 means done, with some records rejected and listed: go on.
may_reject() { "$@" || [ $? -eq 3 ]; }

may_reject lanser transcribe "$SPEECH" --model "${ASR:-embedded}" --device all \
    --resume -o "$work/words.jsonl" --rejects "$work/words.rejects.jsonl"
may_reject lanser entail-label "$work/words.jsonl" --model "${NLI:-FacebookAI/roberta-large-mnli}" \
    --taxonomy "${TAXONOMY:-goemotions}" --device all --resume -o "$work/weak.jsonl" \
    --rejects "$work/weak.rejects.jsonl"
may_reject lanser shard "$work/weak.jsonl" --resume -o "$work/shards"
may_reject lanser pretrain "$work/shards" --model "$model" "${pretrain[@]}" --resume -o "$work/pretrained"
may_reject lanser manifest "$kind" "$root" --resume -o "$work/corpus.jsonl"

runs=()
for fraction in ${FRACTIONS:-0.05 0.1 0.25 0.5 1.0}; do
    for start in pretrained scratch; do
        init=()
        [ "$start" = pretrained ] && init=(--init "$work/pretrained")
        run="$work/$start-$fraction"
        may_reject lanser finetune "$work/corpus.jsonl" "${init[@]}" --model "$model" \
            --fraction "$fraction" "${finetune[@]}" --resume -o "$run"
        runs+=("$run")
    done
done
lanser eval "${runs[@]}" -o "$work/report" --force
may_reject lanser probe-prosody "$work/corpus.jsonl" --run "$work/pretrained" -o "$work/prosody" --force
