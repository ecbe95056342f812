#!/usr/bin/env bash
# The whole chain at small scale: from speech without labels to a report, on one CPU.
#
#   recipes/quickstart.sh                    on the synthetic speech in examples/
#   AUDIO=my/recordings recipes/quickstart.sh    labels your own recordings (transcribe, entail-label),
#       long ones too, in any container; takes the extras vad and video, which make quickstart installs
#
# WORK     folder for all it makes (default: quickstart); what is there already is not made again, but
#          for the labels of AUDIO
# ASR      transcribe --model (default: embedded, which needs no download)
# SPEECH   folder with unlabeled/, labeled/ and written.jsonl (default: examples/speech)
# PRETRAIN_EPOCHS, FINETUNE_EPOCHS     (default: 32, 20)
set -euo pipefail
[ -n "${AUDIO:-}" ] || cd "$(dirname "$0")/.."

work=${WORK:-quickstart}
asr=${ASR:-embedded}
speech=${SPEECH:-examples/speech}
mkdir -p "$work"

step() { printf '\n== %s\n' "$*" >&2; }

if [ -n "${AUDIO:-}" ]; then
    step "Transcribe $AUDIO with $asr, and label what was said"
    codes=(0)
    lanser transcribe "$AUDIO" --model "$asr" --segment vad --rejects "$work/unheard.jsonl" |
        lanser entail-label --force -o "$work/labels.jsonl" --rejects "$work/unlabelled.jsonl" ||
        codes=("${PIPESTATUS[@]}")
    for code in "${codes[@]}"; do # 3: done, but some were rejected, as is said below
        [ "$code" = 0 ] || [ "$code" = 3 ] || exit "$code"
    done
    python - "$work" <<'PYTHON'
import collections, json, pathlib, sys
def read(name):
    path = pathlib.Path(sys.argv[1], name)
    return path, [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
path, labels = read("labels.jsonl")
files = {record["audio_filepath"] for record in labels}
print(f"\nWeak labels of {len(labels)} utterances in {len(files)} recordings, in {path}:")
for emotion, count in collections.Counter(record["emotion"] for record in labels).most_common():
    print(f"{count:7d}  {emotion or '(none: nothing understood)'}")
for path, rejects in map(read, ("unheard.jsonl", "unlabelled.jsonl")):
    if rejects:
        print(f"{len(rejects):7d}  rejected, with the reasons in {path}")
PYTHON
    exit
fi

step "1/6 Transcribe speech that has no labels"
lanser transcribe "$speech/unlabeled" --model "$asr" --resume -o "$work/words.jsonl"

step "2/6 Label each transcript with the emotion it entails"
python - "$speech/written.jsonl" "$work/words.jsonl" > "$work/voices.jsonl" <<'PYTHON'
import json, sys  # who speaks, so that fine-tuning can say which test voices were heard before
voices = {one["id"]: one["voice"] for one in map(json.loads, open(sys.argv[1], encoding="utf-8"))}
for record in map(json.loads, open(sys.argv[2], encoding="utf-8")):
    print(json.dumps(record | {"voice": voices[record["id"]]}, ensure_ascii=False))
PYTHON
lanser entail-label "$work/voices.jsonl" --taxonomy ekman6 --resume -o "$work/weak.jsonl"
lanser eval "$work/weak.jsonl" --reference "$speech/written.jsonl" --truth written_for \
    --answer emotion -o "$work/weak-labels" --force > /dev/null

step "3/6 Pack sound and weak labels into shards"
lanser shard "$work/weak.jsonl" --resume -o "$work/shards" > /dev/null

step "4/6 Pre-train on the weak labels"
lanser pretrain "$work/shards" --model resnet18-slim --crop 2 \
    --epochs "${PRETRAIN_EPOCHS:-32}" --resume -o "$work/pretrained" > /dev/null

# The synthesiser has four voices, and three speak in both parts: --allow-seen, and it is said below.
step "5/6 Fine-tune on a quarter of the human labels, and the same from scratch; test on other voices"
for start in pretrained scratch; do
    init=(--model resnet18-slim --crop 2)
    [ "$start" = pretrained ] && init+=(--init "$work/pretrained" --allow-seen)
    lanser finetune "$speech/labeled/corpus.jsonl" "${init[@]}" \
        --fraction 0.25 --batch-size 16 --epochs "${FINETUNE_EPOCHS:-20}" --resume \
        -o "$work/finetuned-$start" > /dev/null
done
if [ ! -e "$work/baseline/logistic/config.json" ]; then # takes seconds: made anew if it was cut off
    rm -rf "$work/baseline"
    lanser baseline "$speech/labeled/corpus.jsonl" --fraction 0.25 -o "$work/baseline" > /dev/null
fi
lanser eval "$work"/finetuned-{pretrained,scratch} "$work/baseline/svm" --by voice \
    -o "$work/report" --force > /dev/null

step "6/6 Probe what the pre-trained network knows of prosody"
lanser probe-prosody "$speech/labeled/corpus.jsonl" --run "$work/pretrained" --by voice --folds 4 \
    -o "$work/prosody" --force > /dev/null

python - "$work" <<'PYTHON'
import json, pathlib, sys
work = pathlib.Path(sys.argv[1])
read = lambda name: json.loads((work / name / "report.json").read_text())
[weak] = read("weak-labels")["results"].values()
tuned, scratch, svm = read("report")["results"].values()
seen = read("report")["runs"][str(work / "finetuned-pretrained")]["seen"]
probe = json.loads((work / "prosody" / "probe.json").read_text())
r2, verdict = probe["median"], probe["verdicts"]["within"]
def number(value):
    return "none" if value is None else f"{value:.3f}"
def show(e):
    return f"{e['value']:.3f}" + (f" [{e['low']:.3f}, {e['high']:.3f}]" if e["low"] else "")

print(f"""
Report: {work / 'report' / 'report.html'}  (and {work / 'prosody' / 'report.html'})

On synthetic speech, see examples/README.md; in brackets a 95 % interval:
  weak label = emotion the sentence was written for   {show(weak['wa'])} of {weak['n']}, chance {weak['chance']:.3f}
  UAR of the fine-tuned model, {tuned['units']} voices held out      {show(tuned['uar'])}, chance {tuned['chance']:.3f}
      the same trained from scratch                   {show(scratch['uar'])}
      a linear SVM on functionals, no network         {show(svm['uar'])}
      test voices that pre-training had heard         {seen['voice']} of {tuned['units']}, by other sentences
  prosody probe, median R2 within a voice             {number(r2['trained']['within'])}
      of its hardest control ({verdict['control']}){' ' * (23 - len(verdict['control']))}{number(r2[verdict['control']]['within'])}
      that training taught it prosody                 {verdict['verdict']}""")
PYTHON
