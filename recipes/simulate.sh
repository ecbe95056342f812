#!/usr/bin/env bash
# Does pre-training on weak labels teach prosody? Real voices, a simulated prosody, a known answer.
#
#   SPEECH=speech.jsonl CORPUS=corpus.jsonl recipes/simulate.sh [PART...]
#
# Recordings are said again by a vocoder, with a prosody that follows an emotion
# (simulated_speech.py): those of SPEECH by STRENGTH, to pre-train on, with weak labels that are
# right with probability ACCURACY; those of CORPUS, by other people, at strength 1, to probe and to
# fine-tune with. Where both are 1, the probe must say "shown" and a gain over scratch must come
# out; where the strength is 0 or the labels are right by chance, neither may.
#
# Parts, in this order; without any all are done, and what is there already is not made again:
#   said                          CORPUS in every emotion
#   scratch-SEED                  the fine-tuning without pre-training
#   speech-STRENGTH-SEED          SPEECH in every emotion, and its weak labels
#   cell-STRENGTH-ACCURACY-SEED   a pre-training, its probe and its fine-tuning
#   points                        what each found, as lines of RESULTS
#   compare                       every cell there with scratch, paired by speaker; all must have the
#                                 same seeds
# `recipes/simulate.sh list` names them. A part may be stopped; the next call goes on with it.
#
# SPEECH, CORPUS  JSONL of recordings, as `lanser manifest` writes it. The people of CORPUS, six or
#                 more, say the same sentences, as those of EmoDB do; only its neutral ones are used
# WORK            folder for all it makes (default: runs/simulate)
# RESULTS         file the points are appended to (default: WORK/results.jsonl)
# STRENGTHS, ACCURACIES   (default: 0 0.5 1; chance 0.7 1)
# SEEDS           each draws prosody, labels and weights anew (default: 0)
# RECORDINGS      of SPEECH that are taken (default: all)
# MODEL, CROP             (default: resnet18-slim, 2 seconds)
# FRACTION, FOLDS         share of the labels to fine-tune on; by speaker (default: 0.1; 3)
# PRETRAIN_STEPS, STEPS   (default: 1500, 200)
# BATCH                   utterances a step of fine-tuning (default: 16; the points stored: 32)
#
# Needs pyworld (pip install pyworld-prebuilt). With 500 recordings a cell takes about 6 minutes of
# a core that has arithmetic for bfloat16, or 15 of one that has not. The speech of a strength takes
# 3 minutes of two.
set -euo pipefail
here=$(dirname "$0")
# shellcheck source=recipes/experiment.sh
. "$here/experiment.sh"
work=${WORK:-runs/simulate}
results=${RESULTS:-$work/results.jsonl}
strengths=${STRENGTHS:-0 0.5 1}
accuracies=${ACCURACIES:-chance 0.7 1}
seeds=${SEEDS:-0}
recordings=${RECORDINGS:-}
model=${MODEL:-resnet18-slim}
crop=${CROP:-2}
fraction=${FRACTION:-0.1}
folds=${FOLDS:-3}
pretrain_steps=${PRETRAIN_STEPS:-1500}
steps=${STEPS:-200}
batch=${BATCH:-16}

# say RECORDINGS FOLDER OPTION...: what is said already gets its labels alone, for new accuracies.
say() {
    local there=()
    [ ! -e "$2/speech.jsonl" ] || there=(--labels-only)
    python "$here/simulated_speech.py" "$1" --out "$2" "${there[@]}" "${@:3}"
}

# cell STRENGTH ACCURACY SEED
cell() {
    local speech="$work/speech-$1-$3" cell="$work/$1-$2-$3"
    may_reject lanser pretrain "$speech/speech.jsonl" --labels "$speech/labels-$2.jsonl" \
        --model "$model" --crop "$crop" --steps "$pretrain_steps" --seed "$3" --resume \
        -o "$cell/pretrained"
    [ -e "$cell/probe/probe.json" ] || may_reject lanser probe-prosody "$work/said/speech.jsonl" \
        --run "$cell/pretrained" -o "$cell/probe" --force
    tune "$3" "$work/tuned/$1-$2/seed-$3" --init "$cell/pretrained"
}

# tune SEED RUN OPTION...
tune() {
    [ -e "$2/predictions.jsonl" ] || may_reject lanser finetune "$work/said/speech.jsonl" "${@:3}" \
        --folds "$folds" --fraction "$fraction" --seed "$1" --subset-seed "$1" \
        --steps "$steps" --batch-size "$batch" --resume -o "$2"
}

points() {
    local seed strength accuracy found=0 before
    before=$(stored "$results")
    for seed in $seeds; do
        store scratch null null "$seed" "$work/tuned/scratch/seed-$seed/predictions.jsonl"
        for strength in $strengths; do
            for accuracy in $accuracies; do
                store weak "$strength" "$accuracy" "$seed" \
                    "$work/tuned/$strength-$accuracy/seed-$seed/predictions.jsonl" \
                    "$work/$strength-$accuracy-$seed/probe/probe.json"
            done
        done
    done
    say_points "$found" "$work/tuned" "$before" "$results"
}

# store ARM STRENGTH ACCURACY SEED FILE...: what is not there is left for another day.
store() {
    [ -e "$5" ] || return 0
    found=$((found + 1))
    python "$here/store_points.py" "${@:5}" --to "$results" --set recipe=simulate "arm=$1" \
        "strength=$2" "accuracy=$3" "seed=$4" "model=$model" "crop=$crop" "folds=$folds" \
        "recordings=${recordings:-all}" "pretrain_steps=$pretrain_steps" \
        "fraction=$fraction" "batch_size=$batch" "steps=$steps"
}

compare() {
    local strength accuracy arms=("$work/tuned/scratch")
    for strength in $strengths; do
        for accuracy in $accuracies; do
            [ ! -e "$work/tuned/$strength-$accuracy" ] || arms+=("$work/tuned/$strength-$accuracy")
        done
    done
    lanser compare "${arms[@]}" --by speaker
}

parts=(said)
for seed in $seeds; do
    parts+=("scratch-$seed")
    for strength in $strengths; do
        parts+=("speech-$strength-$seed")
        for accuracy in $accuracies; do parts+=("cell-$strength-$accuracy-$seed"); done
    done
done
parts+=(points compare)
[ "${1:-}" = list ] && printf '%s\n' "${parts[@]}" && exit
: "${SPEECH:?JSONL of recordings to pre-train on}" "${CORPUS:?JSONL of recordings by other people}"
[ $# -eq 0 ] || parts=("$@")
same_settings "$work/settings" \
    "$SPEECH, ${recordings:-all} recordings, $CORPUS, $model crop $crop, $pretrain_steps steps; \
$fraction of the labels, $folds folds, $steps steps of $batch"
for part in "${parts[@]}"; do
    printf '\n== %s\n' "$part" >&2
    IFS=- read -r _ first second third <<< "$part"
    case $part in
        said) [ -e "$work/said/speech.jsonl" ] || say "$CORPUS" "$work/said" ;;
        speech-*-*)
            # shellcheck disable=SC2086  # accuracies are words
            say "$SPEECH" "$work/$part" --strength "$first" --seed "$second" \
                --accuracies $accuracies ${recordings:+--count "$recordings"}
            ;;
        cell-*-*-*) cell "$first" "$second" "$third" ;;
        scratch-*) tune "$first" "$work/tuned/scratch/seed-$first" --model "$model" --crop "$crop" ;;
        points | compare) "$part" ;;
        *) echo "$0: no part '$part'; $0 list names them" >&2 && exit 2 ;;
    esac
done
