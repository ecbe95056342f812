"""Options from a file and from the environment: which goes first, what is refused, what is kept."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ENVIRONMENT, ROOT, read_jsonl, write_jsonl

from lanser_cli import app
from lanser_cli.settings import in_toml

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FORMATS = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")


@pytest.fixture
def file(tmp_path: Path):
    """Write a settings file."""

    def write(text: str) -> str:
        path = tmp_path / "a.toml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def test_the_example_of_the_formats_is_a_settings_file(
    file, capsys: pytest.CaptureFixture[str]
) -> None:
    [text] = re.findall(r"^```toml settings\n(.*?)^```$", FORMATS, re.MULTILINE | re.DOTALL)
    path = file(text)
    for verb, table in tomllib.loads(text).items():
        if isinstance(table, dict):
            found = in_force(capsys, verb, "--config", path)
            expected = {**table, "device": "cpu"}
            assert {name: found[name] for name in expected} == {
                name: (value, path) for name, value in expected.items()
            }


def in_force(capsys: pytest.CaptureFixture[str], *line: str) -> dict[str, tuple[object, str]]:
    """Value and origin of all that is set, from --print-config."""
    assert app.main([*line, "--print-config"]) == 0, capsys.readouterr().err
    text = capsys.readouterr().out
    [table] = tomllib.loads(text).values()
    origins = dict(
        (row.split(" = ")[0], row.rpartition("  # ")[2])
        for row in text.splitlines()
        if " = " in row
    )
    return {name: (value, origins[name]) for name, value in table.items()}


def refused(capsys: pytest.CaptureFixture[str], *line: str) -> str:
    assert app.main(line) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("lanser: error: ") and said.err.count("\n") == 1
    return said.err.removeprefix("lanser: error: ").rstrip()


def test_a_flag_goes_before_a_variable_before_the_file_before_the_default(
    file, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = file(
        'seed = 1\ndevice = "cpu"\n'
        '[entail-label]\ntaxonomy = "ekman6"\nmin-score = 0.5\ntop-k = 3\n'
        'template = ["I feel {}.", "This is {}."]\nkeep-flagged = true\n'
        '[shard]\nseed = 2\n'
    )  # fmt: skip
    monkeypatch.setenv("LANSER_ENTAIL_LABEL_MIN_SCORE", "0.25")
    monkeypatch.setenv("LANSER_ENTAIL_LABEL_TOP_K", "4")
    monkeypatch.setenv("LANSER_ENTAIL_LABEL_CACHE", "")
    found = in_force(capsys, "entail-label", "--config", path, "--top-k", "5")
    assert found["taxonomy"] == ("ekman6", path)
    assert found["min-score"] == (0.25, "LANSER_ENTAIL_LABEL_MIN_SCORE")
    assert found["top-k"] == (5, "command line")
    assert found["template"] == (["I feel {}.", "This is {}."], path)
    assert found["keep-flagged"] == (True, path)
    assert found["device"] == ("cpu", path)  # for all verbs
    assert found["calibrate"] == ("none", "default")
    assert "cache" not in found  # an empty variable is none
    monkeypatch.setenv("LANSER_CONFIG", path)
    assert in_force(capsys, "shard")["seed"] == (2, path)
    assert in_force(capsys, "pretrain")["seed"] == (1, path)
    monkeypatch.setenv("LANSER_SEED", "7")
    assert in_force(capsys, "pretrain")["seed"] == (7, "LANSER_SEED")


@pytest.mark.parametrize("verb", app.VERBS)
def test_what_is_printed_can_be_given_back(
    verb: str, file, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.main([verb, "--print-config"]) == 0
    path = file(printed := capsys.readouterr().out)
    assert app.main([verb, "--config", path, "--print-config"]) == 0
    again = capsys.readouterr().out
    assert again == printed.replace("# default", f"# {path}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[eval]\ntruht = "x"\n', "[eval] has no option 'truht'; did you mean truth?"),
        ('[evil]\nby = "x"\n', "there is no verb [evil]; did you mean eval?"),
        ("sed = 1\n", "no option 'sed' is for all verbs; did you mean seed?"),
        ('by = "x"\n', "by goes into the table of a verb, such as [pick]"),
        ('[shard]\nmax-count = "9"\n', "max-count in [shard] is '9', and must be a whole number"),
        ("[shard]\nmax-count = true\n", "max-count in [shard] is True, and must be a whole number"),
        ("[shard]\nmin-score = false\n", "min-score in [shard] is False, and must be a number"),
        ("[shard]\nname = 3\n", "name in [shard] is 3, and must be a text"),
        ("[shard]\nname = ['a']\n", "name in [shard] is ['a'], and must be a text"),
        ("[shard]\nbalance = 1\n", "balance in [shard] is 1, and must be true or false"),
        (
            "[audit]\nallow = ['id', 3]\n",
            "allow in [audit] is 3, and must be a text, or a list of such",
        ),
        (
            "[shard]\noutput = ''\n",
            "output in [shard] is empty: write what it is to be, or leave it out",
        ),
        ("[eval]\nconfig = 'b.toml'\n", "[eval] has no option 'config'"),
    ],
)  # fmt: skip
def test_what_a_file_cannot_set_is_refused_also_for_another_verb(
    text: str, said: str, file, capsys: pytest.CaptureFixture[str]
) -> None:
    path = file(text)
    assert refused(capsys, "doctor", "--config", path) == f"{path}: {said}"


def test_an_empty_list_of_models_is_refused(file, capsys: pytest.CaptureFixture[str]) -> None:
    path = file("[entail-label]\nmodel = []\n")
    said = refused(capsys, "entail-label", "words.jsonl", "--config", path)
    assert said == "--model is an empty list: name a model, or leave it out"


def test_a_file_that_is_none_is_refused(
    file, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = file("[shard\n")
    assert refused(capsys, "shard", "--config", path).startswith(
        f"--config: {path}: this is not TOML: "
    )
    said = refused(capsys, "shard", "--config", str(tmp_path))
    assert said == f"--config: {tmp_path}: Is a directory"


def test_a_file_of_a_windows_editor_is_read(file, capsys: pytest.CaptureFixture[str]) -> None:
    path = file("\ufeff[shard]\r\nmax-count = 7\r\n")
    assert in_force(capsys, "shard", "--config", path)["max-count"] == (7, path)


def test_a_value_that_does_not_fit_is_refused_with_its_origin(
    file, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = file("[shard]\nmin-score = 2.0\n[audit]\nallow = ['ids']\n")
    said = refused(capsys, "shard", "--config", path)
    assert "'--min-score'" in said and f"less than or equal to 1 (set by {path})" in said
    said = refused(capsys, "audit", "--config", path)
    assert "'--allow'" in said and "'ids'" in said and f"(set by {path})" in said
    monkeypatch.setenv("LANSER_SHARD_MIN_SCORE", "much")
    said = refused(capsys, "shard", "--config", path)
    assert said.endswith("(set by LANSER_SHARD_MIN_SCORE) (see --help)")
    assert "set by" not in refused(capsys, "shard", "--config", path, "--min-score", "9")


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("LANSER_SHARD_CODEK", "; did you mean LANSER_SHARD_CODEC?"),
        ("LANSER_CODEC", "; did you mean LANSER_SHARD_CODEC?"),
        ("LANSER_XYZ", ""),
    ],
)
def test_a_variable_that_sets_nothing_is_refused(
    name: str, near: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "x")
    assert refused(capsys, "taxonomies") == f"the variable {name} sets nothing{near}"


def test_each_option_has_a_variable_of_its_own() -> None:
    keys = {verb: command.keys for verb, command in app.program.commands.items()}
    own = [f"{verb}-{name}".replace("-", "_") for verb in keys for name in keys[verb]]
    shared = {name.replace("-", "_") for of in keys.values() for name in of if of[name].shared}
    assert len({*own, *shared, "config"}) == len(own) + len(shared) + 1


@pytest.mark.parametrize("value", [True, 3, -0.5, 1e-7, 'a "b" \\ \x7f\n日', ["a", "b"], []])
def test_values_are_written_as_toml_reads_them(value: object) -> None:
    assert tomllib.loads(f"a = {in_toml(value)}") == {"a": value}


def test_what_made_a_file_names_its_settings_where_no_word_was_given(
    tmp_path: Path,
) -> None:
    out = tmp_path / "out.jsonl"
    path = write_jsonl(tmp_path / "in.jsonl", [{"id": "a", "emotion": "joy"}])
    ours = {"LANSER_PICK_OUTPUT": str(out), "LANSER_PICK_COUNT": "7"}
    with path.open("rb") as stream:
        words = [sys.executable, "-m", "lanser_cli", "pick"]
        subprocess.run(words, stdin=stream, env={**os.environ, **ENVIRONMENT, **ours}, check=True)
    made = json.loads((tmp_path / "out.jsonl.meta.json").read_text())
    assert made["argv"] == [
        *("lanser", "pick", "--count", "7", "--output", str(out)),
    ]


def test_what_made_a_file_names_its_settings_and_resume_minds_them(
    file,
    clips: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The command that is kept does the same without the file."""
    table = tmp_path / "clips.csv"
    table.write_text(f"path,mood,who\n{clips / 'clip-00.wav'},joy,a\n", encoding="utf-8")
    out = tmp_path / "out.jsonl"
    path = file('quiet = true\n[manifest]\naudio-column = "path"\nlabel-column = "who"\n')
    line = ["manifest", "csv", str(table), f"--config={path}", "-o", str(out)]
    with monkeypatch.context() as patch:
        patch.setenv("LANSER_MANIFEST_LABEL_COLUMN", "mood")
        assert app.main(line) == 0
    [record] = read_jsonl(out)
    assert record["label"] == "joy" and record["who"] == "a"
    made = json.loads((tmp_path / "out.jsonl.meta.json").read_text())
    settings = ["--audio-column", "path", "--label-column", "mood", "--quiet"]
    given = ["csv", str(table), "-o", str(out)]
    assert made["argv"] == ["lanser", "manifest", *settings, *given]
    assert app.main([*made["argv"][1:], "--resume"]) == 0

    assert "another --label-column, mood and not who" in refused(capsys, *line, "--resume")
    file('[manifest]\naudio-column = "path"\nlabel-column = "mood"\nspeaker-column = "who"\n')
    assert "another --speaker-column, none and not who" in refused(capsys, *line, "--resume")
