"""lanser from Python, cell by cell: speech to text, text to weak label, sound to emotion.

From the folder of the project: `python examples/python.py [RUN]`. RUN is what finetune or pretrain
has made; without it the last cell is left out.
"""

# %% What there is to hear: three clips of the synthetic speech in this folder
import sys
from pathlib import Path

import lanser_cli

speech = Path(__file__).parent / "speech" / "unlabeled"
clips = [str(path) for path in sorted(speech.glob("*.ogg"))[:3]]

# %% Speech to text, then to a weak label: iterators, so a million clips take no more memory
heard = lanser_cli.transcribe(clips)
for record in lanser_cli.label(heard, taxonomy="ekman6"):
    print(record.id, record.emotion, record.text, sep="\t")

# %% Texts need no sound
[record] = lanser_cli.label(["i am so happy that you came"], taxonomy="ekman6")
print(record.emotion, record.emotion_scores)

# %% Sound to emotion, by a trained model: many clips, or one file or array at a time
if len(sys.argv) > 1:
    run = sys.argv[1]
    for record in lanser_cli.predict(clips, run=run):
        print(record.id, record.prediction, sep="\t")
    model = lanser_cli.load(run)
    answer = model.predict(clips[0])
    print(model.labels, answer.prediction, answer.scores[answer.prediction])
