"""Nothing slow to import is imported where it is not needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ENVIRONMENT

from lanser_cli import app

HEAVY = ("torch", "transformers", "webdataset", "numpy", "sklearn", "timm", "whisper", "scipy")

PROGRAM = f"""
import contextlib, io, json, sys
from lanser_cli import app

found = {{}}
for words in ([], *([verb] for verb in app.VERBS)):
    page = io.StringIO()
    with contextlib.redirect_stdout(page):
        code = app.main([*words, "--help"])
    heavy = [name for name in {HEAVY!r} if name in sys.modules]
    found[" ".join(words)] = [code, page.getvalue(), heavy]
print(json.dumps(found))
"""


def test_help_imports_nothing_heavy() -> None:
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        check=True,
        timeout=60,
        env={**os.environ, **ENVIRONMENT},
    )
    found = json.loads(result.stdout)
    assert len(found) > 10
    for words, (code, page, heavy) in found.items():
        assert code == 0
        assert f"lanser {words}".strip() in page
        assert heavy == [], f"lanser {words} --help imports {heavy}"


def test_the_package_imports_nothing_heavy_before_a_function_is_used() -> None:
    program = f"""
import sys, lanser_cli

assert not [name for name in {HEAVY!r} if name in sys.modules]
assert lanser_cli.load and lanser_cli.transcribe and lanser_cli.label and lanser_cli.predict
assert not [name for name in {HEAVY!r} if name in sys.modules]
"""
    environment = {**os.environ, **ENVIRONMENT}
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60, env=environment)


def test_the_probe_would_see_a_heavy_import() -> None:
    result = subprocess.run(
        [sys.executable, "-c", "import numpy\n" + PROGRAM],
        capture_output=True,
        check=True,
        timeout=60,
        env={**os.environ, **ENVIRONMENT},
    )
    assert all(heavy == ["numpy"] for _, _, heavy in json.loads(result.stdout).values())


def test_answers_are_measured_without_what_trains(tmp_path: Path) -> None:
    lines = [
        {"id": str(n), "label": "ab"[n % 2], "prediction": "a", "speaker": str(n)}
        for n in range(12)
    ]
    path = tmp_path / "answers.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    program = f"""
import sys
from lanser_cli import app

assert app.main(["eval", {str(path)!r}]) == 0
print([name for name in ("torch", "timm", "sklearn", "scipy.stats") if name in sys.modules])
"""
    result = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        check=True,
        timeout=60,
        env={**os.environ, **ENVIRONMENT},
    )
    assert result.stdout.splitlines()[-1] == b"[]"


def test_load_above_the_cores_is_mentioned_by_what_computes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (99.5, 0.0, 0.0))
    for line, mentioned in (
        (["transcribe", "nowhere.wav"], True),
        (["eval", "nowhere.jsonl"], False),
    ):
        assert app.main(line) == 1
        assert capsys.readouterr().err.startswith("load 99.5 on ") is mentioned
    assert app.main(["transcribe", "nowhere.wav", "--quiet"]) == 1
    assert "load" not in capsys.readouterr().err


def test_threads_are_set_for_pytorch_and_for_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    try:
        assert app.main(["transcribe", "--threads", "3", "--print-config"]) == 0
        assert os.environ["OMP_NUM_THREADS"] == "3" and torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("given", "found"),
    [({}, "10000"), ({"OMP_WAIT_POLICY": "active"}, None), ({"GOMP_SPINCOUNT": "9"}, "9")],
)
def test_waiting_threads_sleep_soon_unless_the_user_chose(
    given: dict[str, str], found: str | None
) -> None:
    program = """
import os, sys
from lanser_cli import app

sys.argv = ["lanser", "--version"]
try:
    app.run()
finally:
    assert "torch" not in sys.modules  # which reads the variable once
    print(os.environ.get("GOMP_SPINCOUNT"))
"""
    ours = {name: os.environ[name] for name in os.environ if not name.startswith(("OMP", "GOMP"))}
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, timeout=60, env={**ours, **given}
    )
    assert result.stdout.split()[-1] == str(found).encode()


SWALLOWS = """
import os, signal, sys, time
from lanser_cli import app

class Gone:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        sum(range(9))  # it is raised here, where Python can only print it

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it

def go_on():
    Gone()
    for _ in range(1000):
        time.sleep(0.01)

def blame_another():  # as torch does where C code asks Python for a length
    try:
        os.kill(os.getpid(), signal.SIGINT)
        sum(range(9))
    except KeyboardInterrupt:
        pass
    raise ValueError("could not determine the shape")

app.program.commands["taxonomies"].callback = lambda **options: HOW()
sys.exit(app.main(["taxonomies", "--quiet"]))
"""


@pytest.mark.parametrize("how", ["go_on", "blame_another"])
def test_ctrl_c_counts_where_python_or_a_library_swallows_it(how: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SWALLOWS.replace("HOW", how)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **ENVIRONMENT},
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")
