#!/usr/bin/env bash
# Pre-training on weak labels, simulated: synthetic speech whose prosody and labels are known.
#
#   recipes/simulate.sh [PART...]
#
# Sentences whose words carry an emotion are spoken with a prosody that follows it by STRENGTH. Their
# weak labels are right with probability ACCURACY. One voice is held out: nothing is trained on it.
# After fine-tuning on fixed neutral sentences by the others (examples/speech/labeled), that voice is
# tested. A gain must come out where both are 1, and none where the accuracy is chance.
#
# Parts, in this order; without any all are done, and what is there already is not made again:
#   cell-STRENGTH-SEED   speech, a pre-training for each accuracy, and their fine-tunings
#   points               what each fine-tuning scored, as lines of RESULTS
#   judge                probe-prosody and its verdict on the held-out voices; compare with scratch
# `recipes/simulate.sh list` names them. A part may be stopped; the next call goes on with it.
#
# WORK        folder for all it makes (default: runs/simulate)
# RESULTS     file the points are appended to (default: WORK/results.jsonl)
# STRENGTHS, ACCURACIES     (default: 0 0.5 1; chance 0.7 1)
# SEEDS       each another simulation; seed N holds voice N modulo 4 out (default: 0 1 2 3 4)
# SENTENCES   of each emotion (default: 50, all)
# FRACTION    of the labels that fine-tuning gets (default: 0.25)
# MODEL, CROP               (default: resnet18-slim, 2 seconds)
# PRETRAIN_STEPS, STEPS     (default: 600, 300)
#
# Needs flite (Debian: apt-get install flite). Costs about 10 minutes of two cores a cell, of which
# the defaults have 15. flite has four voices: too few for an interval over voices, as it says.
set -euo pipefail
here=$(dirname "$0")
work=${WORK:-runs/simulate}
results=${RESULTS:-$work/results.jsonl}
labeled="$here/../examples/speech/labeled/corpus.jsonl"
strengths=${STRENGTHS:-0 0.5 1}
accuracies=${ACCURACIES:-chance 0.7 1}
seeds=${SEEDS:-0 1 2 3 4}
fraction=${FRACTION:-0.25}
model=${MODEL:-resnet18-slim}
crop=${CROP:-2}
pretrain_steps=${PRETRAIN_STEPS:-600}
steps=${STEPS:-300}
voices=(slt rms awb kal16)

if ! command -v flite > /dev/null; then
    echo "$0 needs flite, which speaks: on Debian or Ubuntu, apt-get install flite" >&2
    exit 2
fi

# Exit 3 means done, with some records rejected and listed: go on.
may_reject() { "$@" > /dev/null || [ $? -eq 3 ]; }

# cell STRENGTH SEED
cell() {
    local cell="$work/$1-$2" voice=${voices[$(($2 % 4))]} accuracy
    [ -e "$cell/speech/speech.jsonl" ] || python "$here/simulated_speech.py" --strength "$1" \
        --seed "$2" --without "$voice" --sentences "${SENTENCES:-50}" \
        --accuracies $accuracies --out "$cell/speech"
    for accuracy in $accuracies; do
        [ -e "$cell/tuned-$accuracy/predictions.jsonl" ] && continue
        may_reject lanser pretrain "$cell/speech/speech.jsonl" \
            --labels "$cell/speech/labels-$accuracy.jsonl" --model "$model" --crop "$crop" \
            --steps "$pretrain_steps" --seed "$2" --resume -o "$cell/pretrained-$accuracy"
        tune "$voice" "$2" "$cell/tuned-$accuracy" --init "$cell/pretrained-$accuracy"
    done
    tune "$voice" "$2" "$work/scratch-$2" --model "$model" --crop "$crop"
}

# tune VOICE SEED RUN OPTION...: the held-out voice is tested; the heard ones are refused as a test.
tune() {
    [ -e "$3/predictions.jsonl" ] || may_reject lanser finetune "$labeled" "${@:4}" \
        --test "voice=$1" --group voice --fraction "$fraction" --seed "$2" --subset-seed "$2" \
        --batch-size 16 --steps "$steps" --resume -o "$3"
}

points() {
    local strength accuracy runs
    store scratch null null "$work"/scratch-*/predictions.jsonl
    for strength in $strengths; do
        for accuracy in $accuracies; do
            runs=("$work/$strength"-*/tuned-"$accuracy"/predictions.jsonl)
            [ -e "${runs[0]}" ] && store weak "$strength" "$accuracy" "${runs[@]}"
        done
    done
}

# store ARM STRENGTH ACCURACY PREDICTIONS...
store() {
    python "$here/store_points.py" "${@:4}" --by voice --to "$results" --set recipe=simulate \
        "arm=$1" "strength=$2" "accuracy=$3" "crop=$crop" \
        "sentences=${SENTENCES:-50}" "pretrain_steps=$pretrain_steps"
}

# The answers of all seeds, each with its seed before the id.
pooled() {
    local seed
    for seed in $seeds; do
        sed -E "s/\"id\": ?\"/&$seed-/" "$work/${1//SEED/$seed}/predictions.jsonl"
    done
}

judge() {
    local strength accuracy seed voice name answers=("$work/scratch.jsonl")
    pooled scratch-SEED > "$work/scratch.jsonl"
    for strength in $strengths; do
        for accuracy in $accuracies; do
            name="$strength-accuracy-$accuracy"
            pooled "$strength-SEED/tuned-$accuracy" > "$work/$name.jsonl"
            answers+=("$work/$name.jsonl")
            for seed in $seeds; do
                voice=${voices[$((seed % 4))]}
                [ -e "$work/probe-$name-$seed/probe.json" ] && continue
                grep -E "\"voice\": ?\"$voice\"" "$labeled" |
                    sed -E "s#\"audio_filepath\": ?\"#&$(realpath "${labeled%/*}")/#" \
                        > "$work/held-out-$voice.jsonl"
                may_reject lanser probe-prosody "$work/held-out-$voice.jsonl" \
                    --run "$work/$strength-$seed/pretrained-$accuracy" --folds 2 \
                    -o "$work/probe-$name-$seed"
            done
        done
    done
    lanser compare "${answers[@]}" --by voice
}

parts=()
for strength in $strengths; do
    for seed in $seeds; do parts+=("cell-$strength-$seed"); done
done
parts+=(points judge)
[ "${1:-}" = list ] && printf '%s\n' "${parts[@]}" && exit
[ $# -eq 0 ] || parts=("$@")
now="$model crop $crop, ${SENTENCES:-50} sentences, fraction $fraction, $pretrain_steps and $steps steps"
mkdir -p "$work"
[ -e "$work/settings" ] || echo "$now" > "$work/settings"
if [ "$now" != "$(cat "$work/settings")" ]; then
    echo "$0: $work/settings says '$(cat "$work/settings")', not '$now': name another WORK" >&2
    exit 2
fi
for part in "${parts[@]}"; do
    printf '\n== %s\n' "$part" >&2
    case $part in
        cell-*-*) name=${part#cell-} && cell "${name%-*}" "${name##*-}" ;;
        points | judge) "$part" ;;
        *) echo "$0: no part '$part'; $0 list names them" >&2 && exit 2 ;;
    esac
done
