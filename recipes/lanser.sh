#!/usr/bin/env bash
# What it does: all of LanSER on your own data, from a folder of speech to the reports: transcribe,
#   label, pack, pre-train; fine-tune on a labelled corpus with and without pre-training, and
#   evaluate both beside a linear baseline; draw UAR against the share of labels; probe prosody. Run
#   again, it goes on where it stopped. On a cluster slurm/submit.sh makes the first half, in the
#   same places.
# Needs: lanser on the PATH; bash 4.4 or newer; a GPU for more than some hours of speech.
# Costs: docs/scale.md says it for each stage.
#
#   SPEECH=/data/speech CORPUS="crema-d /data/CREMA-D" recipes/lanser.sh [--dry-run]
#
# --dry-run prints the commands and runs none.
# SPEECH    folder of unlabeled speech, utterances of at most 30 s unless they are cut, see below
# CORPUS    kind and folder of the labelled corpus, as lanser manifest takes them
# WORK      folder for all it makes (default: runs/lanser)
# STAGE, STOP_STAGE  first and last stage; a stage is called by its verb (default: all)
# ASR       default embedded             NLI        default FacebookAI/roberta-large-mnli
# TAXONOMY  default goemotions           MODEL      default resnet50
# PRETRAIN, FINETUNE, EFFICIENCY, BASELINE  further options of these verbs; what divides the corpus,
#           such as --folds, belongs into the last three alike, and what says what the network hears
#           (--crop, --trim, --normalise) into FINETUNE too, for it to be the same without a start
# Any other option is set by a variable, as for all of lanser: LANSER_TRANSCRIBE_SEGMENT=vad cuts long
# recordings, LANSER_MANIFEST_LABEL_COLUMN=emotion names a column of CORPUS="csv table.csv".
set -euo pipefail

: "${SPEECH:?folder of unlabeled speech}" "${CORPUS:?kind and folder of the labelled corpus}"
work=${WORK:-runs/lanser}
model=${MODEL:-resnet50}
read -r kind root <<< "$CORPUS"
read -r -a pretrain <<< "${PRETRAIN:-}"
read -r -a finetune <<< "${FINETUNE:-}"
read -r -a efficiency <<< "${EFFICIENCY:-}"
read -r -a baseline <<< "${BASELINE:-}"
[ $# -eq 0 ] || [ "$*" = --dry-run ] || { echo "usage: $0 [--dry-run]" >&2 && exit 2; }

stages=(transcribe entail-label shard pretrain manifest finetune baseline eval efficiency
    probe-prosody)
place() {
    for at in "${!stages[@]}"; do [ "${stages[at]}" != "$1" ] || { echo "$at" && return; }; done
    echo "$0: no stage '$1'; there are: ${stages[*]}" >&2
    exit 2
}
first=$(place "${STAGE:-transcribe}")
last=$(place "${STOP_STAGE:-probe-prosody}")
((first <= last)) || { echo "$0: STAGE $STAGE comes after STOP_STAGE $STOP_STAGE" >&2 && exit 2; }
dry=${1:-}
for option in --crop --trim --normalise; do
    [[ " ${pretrain[*]//=/ } " != *" $option "* || " ${finetune[*]//=/ } " = *" $option "* ]] && continue
    echo "$0: PRETRAIN has $option, and the network from scratch not: name it in FINETUNE too" >&2
    exit 2
done

# asked VERB: whether it is among the stages to run.
asked() {
    local at
    at=$(place "$1")
    ((first <= at && at <= last))
}

# stage VERB...: run it, if it is asked for. Exit 3 is done, with some records rejected: go on.
stage() {
    asked "$1" || return 0
    printf 'lanser%s\n' "$(printf ' %q' "$@")" >&"$([ -n "$dry" ] && echo 1 || echo 2)"
    [ -n "$dry" ] || lanser "$@" || [ $? -eq 3 ]
}

if [[ $(realpath -m "$work")/ = "$(realpath -m "$SPEECH")"/* ]]; then
    echo "$0: WORK lies in SPEECH, which it would change: name a folder elsewhere" >&2
    exit 2
fi
[ -n "$dry" ] || mkdir -p "$work"
stage transcribe "$SPEECH" --model "${ASR:-embedded}" --device all \
    --resume -o "$work/words.jsonl" --rejects "$work/words.rejects.jsonl"
stage entail-label "$work/words.jsonl" --model "${NLI:-FacebookAI/roberta-large-mnli}" \
    --taxonomy "${TAXONOMY:-goemotions}" --device all \
    --resume -o "$work/weak.jsonl" --rejects "$work/weak.rejects.jsonl"
stage shard "$work/weak.jsonl" --resume -o "$work/shards"
stage pretrain "$work/shards" --model "$model" "${pretrain[@]}" --resume -o "$work/pretrained"
stage manifest "$kind" "$root" --resume -o "$work/corpus.jsonl"
for start in pretrained scratch; do
    init=(--model "$model")
    [ "$start" = scratch ] || init=(--init "$work/pretrained")
    stage finetune "$work/corpus.jsonl" "${init[@]}" "${finetune[@]}" --resume -o "$work/$start-tuned"
done
# It takes a minute: made anew if it was cut off.
if asked baseline && [ ! -e "$work/baseline/logistic/config.json" ]; then
    [ -n "$dry" ] || rm -rf "$work/baseline"
    stage baseline "$work/corpus.jsonl" "${baseline[@]}" -o "$work/baseline"
fi
stage eval "$work"/{scratch,pretrained}-tuned "$work/baseline/svm" -o "$work/report" --force
stage efficiency "$work/corpus.jsonl" --init "$work/pretrained" "${efficiency[@]}" \
    --resume -o "$work/efficiency"
stage probe-prosody "$work/corpus.jsonl" --run "$work/pretrained" -o "$work/prosody" --force
