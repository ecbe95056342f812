"""`lanser predict --embed`: a row for each record, whatever happens on the way."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import torch
from conftest import Lanser, read_jsonl

from lanser_cli.audio.sound import load
from lanser_cli.records import Record
from lanser_cli.training import heard
from lanser_cli.training.runs import load_model


def embed(lanser: Lanser, folder: Path, data: Path, run: Path, *more: object, check: int = 0):
    words = ("--embed", folder / "rows.npy", "-o", folder / "out.jsonl", "--device", "cpu")
    return lanser("predict", data, "--run", run, *words, *more, check=check)


def test_a_row_is_the_mean_over_bands_and_over_the_frames_of_sound(
    labelled: Path, tiny_run: Path, tmp_path: Path, lanser: Lanser
) -> None:
    lines = labelled.read_text().splitlines()
    lines.insert(3, '{"id": "gone", "audio_filepath": "gone.wav"}')
    (tmp_path / "in.jsonl").write_text("\n".join(lines) + "\n")
    embed(lanser, tmp_path, tmp_path / "in.jsonl", tiny_run, check=3)
    rows, out = np.load(tmp_path / "rows.npy"), read_jsonl(tmp_path / "out.jsonl")
    assert rows.dtype == np.float32 and len(rows) == len(out) == 12
    plain = lanser("predict", labelled, "--run", tiny_run, "--device", "cpu")
    assert read_jsonl(plain.stdout) == out
    model = load_model(tiny_run)
    for row, fields in zip(rows, out, strict=True):
        sound = torch.from_numpy(load(Record(fields)))
        with torch.inference_mode():
            maps = model.backbone.forward_features(model._image(model.crops(sound)))
        count = np.ceil(min(1.0, len(sound) / 16_000) * maps.shape[3])
        wanted = maps[..., : int(count)].mean(dim=(2, 3)).mean(0)
        np.testing.assert_allclose(row, wanted, atol=1e-5)


def test_what_the_model_has_heard_has_rows_too(
    labelled: Path, tiny_run: Path, tmp_path: Path, lanser: Lanser
) -> None:
    run = shutil.copytree(tiny_run, tmp_path / "run")
    known = [Record(fields) for fields in read_jsonl(labelled)[:5]]
    heard.write(run, heard.heard((heard.marks(one), one.audio_filepath) for one in known), None)
    embed(lanser, tmp_path, labelled, run)
    marked = [one for one in read_jsonl(tmp_path / "out.jsonl") if one.get("heard")]
    assert len(np.load(tmp_path / "rows.npy")) == 12 and {one.id for one in known} <= {
        one["id"] for one in marked
    }


def test_a_killed_run_goes_on_to_the_same_rows(
    labelled: Path, tiny_run: Path, tmp_path: Path, lanser: Lanser
) -> None:
    """Killed after five records, seven rows and a part of one more; or between the two files."""
    embed(lanser, tmp_path, labelled, tiny_run)
    out, meta, rows = (tmp_path / name for name in ("out.jsonl", "out.jsonl.meta.json", "rows.npy"))
    records, vectors = out.read_bytes(), rows.read_bytes()
    head = len(vectors) - np.load(rows).nbytes
    width = np.load(rows).itemsize * np.load(rows).shape[1]
    for kept in (5, 12):
        part = b"".join(records.splitlines(keepends=True)[:kept])
        (tmp_path / "out.jsonl.part").write_bytes(part)
        shutil.move(meta, tmp_path / "out.jsonl.part.meta.json")
        out.unlink()
        if kept == 5:
            rows.unlink()
            (tmp_path / "rows.npy.part").write_bytes(vectors[: head + 7 * width + 3])
        embed(lanser, tmp_path, labelled, tiny_run, "--resume")
        assert (out.read_bytes(), rows.read_bytes()) == (records, vectors)
    assert not list(tmp_path.glob("*.part"))


def test_rows_that_are_gone_or_of_another_run_are_not_passed_over(
    labelled: Path, tiny_run: Path, tmp_path: Path, lanser: Lanser
) -> None:
    embed(lanser, tmp_path, labelled, tiny_run)
    out, rows = tmp_path / "out.jsonl", tmp_path / "rows.npy"
    records, vectors = out.read_bytes(), rows.read_bytes()
    rows.unlink()
    done = embed(lanser, tmp_path, labelled, tiny_run, "--resume", check=2)
    assert b"is whole, but" in done.stderr and b"rows.npy has no rows of it" in done.stderr
    rows.write_bytes(vectors)  # as of another run, which nobody said may be overwritten
    out.unlink()
    (tmp_path / "out.jsonl.part").write_bytes(b"".join(records.splitlines(keepends=True)[:5]))
    shutil.move(tmp_path / "out.jsonl.meta.json", tmp_path / "out.jsonl.part.meta.json")
    done = embed(lanser, tmp_path, labelled, tiny_run, "--resume", check=1)
    assert b"its rows are not those of the 5 records that are done" in done.stderr
    assert rows.read_bytes() == vectors


def test_parts_have_the_rows_of_their_records(
    labelled: Path, tiny_run: Path, tmp_path: Path, lanser: Lanser
) -> None:
    """Their lines are merged in the order of the input; it is said that the rows are not."""
    found = {}
    for part in ("1/1", "1/2", "2/2"):
        folder = tmp_path / part.replace("/", "-")
        folder.mkdir()
        embed(lanser, folder, labelled, tiny_run, "--part", part)
        ids = [record["id"] for record in read_jsonl(folder / "out.jsonl")]
        found[part] = dict(zip(ids, np.load(folder / "rows.npy"), strict=True))
    both = found["1/2"] | found["2/2"]
    assert sorted(both) == sorted(found["1/1"]) and len(found["1/2"]) == 6
    for name, row in found["1/1"].items():
        np.testing.assert_allclose(both[name], row, atol=1e-5)
    job = tmp_path / "job"
    job.mkdir()
    for part in (1, 2):
        for path in (tmp_path / f"{part}-2").iterdir():
            shutil.copy(path, job / path.name.replace("out", f"part-{part}"))
    done = lanser("parts", job, "--of", "2", "--merge", tmp_path / "all.jsonl")
    assert b"the rows of --embed stay as they are" in done.stderr


def test_what_would_be_lost_or_mean_nothing_is_refused(
    labelled: Path, tiny_run: Path, tmp_path: Path, lanser: Lanser
) -> None:
    (tmp_path / "rows.npy").write_bytes(b"mine")
    done = embed(lanser, tmp_path, labelled, tiny_run, check=2)
    assert b"rows.npy: is there already: overwrite it with --force" in done.stderr
    line = ("predict", labelled, "--run", tiny_run, "--embed")
    assert b"called NAME.npy" in lanser(*line, tmp_path / "rows.csv", check=2).stderr
    folds = tmp_path / "folds"
    folds.mkdir()
    shutil.copy(tiny_run / "config.json", folds)
    for name in ("fold-1", "fold-2"):
        shutil.copytree(tiny_run, folds / name)
    done = embed(lanser, tmp_path, labelled, folds, "--force", check=2)
    assert b"name one, such as" in done.stderr and b"fold-1" in done.stderr
    assert (tmp_path / "rows.npy").read_bytes() == b"mine"
    lanser(*line, tmp_path / "rows.npy", "--force", "--device", "cpu")  # records go on along a pipe
    assert len(np.load(tmp_path / "rows.npy")) == 12
