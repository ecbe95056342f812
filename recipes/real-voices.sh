#!/usr/bin/env bash
# Does pre-training on labels from words teach prosody? Real voices, and an answer that is known.
#
#   NEMO=/data/nEMO TEXT=/data/GoEmotions CORPUS="ravdess /data/RAVDESS" recipes/real-voices.sh [PART...]
#
# The speech without labels is nEMO: acted emotion in Polish. Every clip gets an English sentence that
# people wrote, which says its emotion with probability P (words_for_voices.py). `entail-label` labels
# the sentence, with all its errors; the network hears the voice alone. So a gain over scratch must
# come out at P=1, and none at P=chance, nor for labels shuffled within speakers.
#
# Parts, in this order; without any all are done, and what is there already is not made again:
#   label            words and weak labels for each P, sound to shards
#   pretrain-ARM     networks of an arm, same sound, same steps: weak-P, and each of CONTROLS
#   tune-ARM         fine-tune on CORPUS for each share of labels and seed; besides `tune-scratch`
#   points           what each fine-tuning scored, as lines of RESULTS
#   compare          each arm there with scratch, for each share of labels, paired by speaker; all
#                    must have the same seeds
# `recipes/real-voices.sh list` names them. A part may be stopped; the next call goes on with it.
#
# NEMO       folder of nEMO's clips
# TEXT       folder with dev.tsv and test.tsv of GoEmotions, called go_dev.tsv and go_test.tsv
# CORPUS     kind and folder of the labelled corpus, as lanser manifest takes them
# WORK       folder for all it makes (default: runs/real-voices); call it again with another CORPUS
# RESULTS    file the points are appended to (default: WORK/results.jsonl)
# P          (default: chance 0.5 1)          CLIPS  of nEMO, balanced (default: all)
# CONTROLS   as lanser pretrain has them, of the last P; gold is the acted emotion (default: shuffled
#            gold; there are prior, clusters and sentiment, too)
# FRACTIONS  of the labels (default: 0.05 0.1 0.25 1)
# SEEDS      (default: 0 1 2); each draws its own part of the labels, the same in every arm
# PRETRAIN_SEEDS                  (default: 0); a network each for every arm
# MODEL, CROP                     (default: resnet18-slim, 2 seconds)
# PRETRAIN_STEPS, STEPS, FOLDS    (default: 6000, 400, 4; folds are by speaker, of both sexes)
# BATCH      utterances a step of fine-tuning (default: 16; points stored before 27 November 2026: 32)
# SHRINK     share of fresh weights in those that fine-tuning starts from, as lanser finetune has it, in
#            folders of their own (default: none)
# SHARE      I/N: of each arm's fine-tunings, every N-th from the I-th on
#
# A core with arithmetic for bfloat16 takes about 17 minutes a pre-training and 2 a fine-tuning: with
# the defaults 4 hours a corpus. Two parts at once with OMP_NUM_THREADS=1 are faster than one after
# the other.
# Taxonomy: meld7, which is Ekman's six and neutral, as nEMO has it.
set -euo pipefail
here=$(dirname "$0")
# shellcheck source=recipes/experiment.sh
. "$here/experiment.sh"
work=${WORK:-runs/real-voices}
results=${RESULTS:-$work/results.jsonl}
model=${MODEL:-resnet18-slim}
read -r -a ps <<< "${P:-chance 0.5 1}"
best=${ps[-1]} # the arm that the controls are of
read -r -a controls <<< "${CONTROLS:-shuffled gold}"
arms=("${ps[@]/#/weak-}" "${controls[@]}")
crop=${CROP:-2}
pretrain_steps=${PRETRAIN_STEPS:-6000}
steps=${STEPS:-400}
batch=${BATCH:-16}
folds=${FOLDS:-4}
fractions=${FRACTIONS:-0.05 0.1 0.25 1}
networks=${PRETRAIN_SEEDS:-0}
shrunk=${SHRINK:+-shrink-$SHRINK}

# networks_of ARM: which it has; from scratch there is none before fine-tuning.
networks_of() { if [ "$1" = scratch ]; then echo null; else echo "$networks"; fi; }

# folder ARM NETWORK: where a network is, below pretrained.
folder() { case $2 in null | 0) echo "$1" ;; *) echo "$1-seed-$2" ;; esac; }

# tuned_in ARM NETWORK: where what is tuned from it is, below that of the corpus.
tuned_in() { if [ "$1" = scratch ]; then echo scratch; else echo "$(folder "$1" "$2")$shrunk"; fi; }

label() {
    local p
    for p in "${ps[@]}"; do
        [ -e "$work/words-$p.jsonl" ] || {
            python "$here/words_for_voices.py" "$NEMO" --sentences "$TEXT"/go_{dev,test}.tsv \
                --p "$p" ${CLIPS:+--clips "$CLIPS"} > "$work/words.part"
            mv "$work/words.part" "$work/words-$p.jsonl"
        }
        may_reject lanser entail-label "$work/words-$p.jsonl" --taxonomy meld7 --resume \
            -o "$work/weak-$p.jsonl"
        may_reject lanser eval "$work/weak-$p.jsonl" --answer emotion -o "$work/weak-$p" --force
    done
    may_reject lanser shard "$work/weak-$best.jsonl" --resume -o "$work/shards"
}

pretrain() {
    local labels=$1 control=none network
    [[ $1 = weak-* ]] || labels=weak-$best control=$1
    for network in $networks; do
        may_reject lanser pretrain "$work/shards" --labels "$work/$labels.jsonl" --resume \
            --control "$control" --model "$model" --crop "$crop" --steps "$pretrain_steps" \
            --seed "$network" -o "$work/pretrained/$(folder "$1" "$network")"
    done
}

tune() {
    local network fraction seed at number=0 init=(--model "$model" --crop "$crop")
    manifest "$kind" "$root" "$tuned/corpus.jsonl"
    for network in $(networks_of "$1"); do
        at=$(tuned_in "$1" "$network")
        [ "$1" = scratch ] || init=(--init "$work/pretrained/$(folder "$1" "$network")"
            ${SHRINK:+--shrink "$SHRINK"})
        for fraction in $fractions; do
            for seed in ${SEEDS:-0 1 2}; do
                number=$((number + 1))
                mine "$number" && [ ! -e "$tuned/$at/$fraction/seed-$seed/predictions.jsonl" ] ||
                    continue
                may_reject lanser finetune "$tuned/corpus.jsonl" "${init[@]}" --folds "$folds" \
                    --fraction "$fraction" --seed "$seed" --subset-seed "$seed" \
                    --steps "$steps" --batch-size "$batch" --resume \
                    -o "$tuned/$at/$fraction/seed-$seed"
            done
        done
    done
}

# Whether SHARE=I/N has the training of this number.
mine() { [ -z "${SHARE:-}" ] || [ $((($1 - ${SHARE%/*}) % ${SHARE#*/})) -eq 0 ]; }

# Which model labelled the sentences, and the digest of its files.
labeller() {
    python -c 'import json, sys; print(json.load(open(sys.argv[1]))["identity"]["--model"])' \
        "$work/weak-$best.jsonl.meta.json"
}

points() {
    local arm network p runs shrink found=0 before labeller=none
    before=$(stored "$results")
    [ ! -e "$work/weak-$best.jsonl.meta.json" ] || labeller=$(labeller)
    for arm in scratch "${arms[@]}"; do
        p=null shrink=(${SHRINK:+"shrink=$SHRINK"})
        case $arm in
            scratch) shrink=() ;;
            weak-*) p=${arm#weak-} ;;
            shuffled | prior | clusters | sentiment) p=$best ;;
        esac
        for network in $(networks_of "$arm"); do
            runs=("$tuned/$(tuned_in "$arm" "$network")"/*/seed-*/predictions.jsonl)
            [ -e "${runs[0]}" ] || continue
            found=$((found + ${#runs[@]}))
            python "$here/store_points.py" "${runs[@]}" --to "$results" --set recipe=real-voices \
                "corpus=$kind" "arm=${arm%-"$p"}" "p=$p" "crop=$crop" "folds=$folds" \
                "clips=${CLIPS:-all}" "labeller=$labeller" "pretrain_steps=$pretrain_steps" \
                "pretrain_seed=$network" "${shrink[@]}"
        done
    done
    say_points "$found" "$tuned" "$before" "$results"
}

# Every arm with this share of the labels against scratch, each network by itself.
compare() {
    local arm network fraction at compared
    for fraction in $fractions; do
        compared=()
        for arm in scratch "${arms[@]}"; do
            for network in $(networks_of "$arm"); do
                at=$tuned/$(tuned_in "$arm" "$network")/$fraction
                [ ! -e "$at" ] || compared+=("$at")
            done
        done
        lanser compare "${compared[@]}" --by speaker
    done
}

parts=(label "${arms[@]/#/pretrain-}" tune-scratch "${arms[@]/#/tune-}" points compare)
[ "${1:-}" = list ] && printf '%s\n' "${parts[@]}" && exit
: "${NEMO:?folder of nEMO}" "${TEXT:?folder with go_dev.tsv and go_test.tsv}"
: "${CORPUS:?kind and folder of the labelled corpus}"
read -r kind root <<< "$CORPUS"
tuned="$work/$kind"
[ $# -eq 0 ] || parts=("$@")
same_settings "$work/speech-settings" "$NEMO, $TEXT"
same_settings "$work/settings" \
    "$model crop $crop, ${CLIPS:-all} clips, shuffled p $best, $pretrain_steps steps of pre-training"
same_settings "$tuned/settings" "$root, $folds folds, $steps steps of $batch"
for part in "${parts[@]}"; do
    printf '\n== %s\n' "$part" >&2
    case $part in
        pretrain-*) pretrain "${part#pretrain-}" ;;
        tune-*) tune "${part#tune-}" ;;
        label | points | compare) "$part" ;;
        *) echo "$0: no part '$part'; $0 list names them" >&2 && exit 2 ;;
    esac
done
