"""A stage in parts on a Ray cluster, then merged; lanser itself does not need Ray.

    python recipes/ray_parts.py OUT 16 transcribe /data/speech --model embedded

Needs ray, lanser on all nodes, and a file system that they share. A part that died goes on.
Paths count from the folder that it is started in.
"""

import os
import subprocess
import sys

import ray


@ray.remote(max_retries=3, retry_exceptions=True)
def part(here: str, folder: str, number: int, count: int, words: list[str]) -> None:
    output = ["--part", f"{number}/{count}", "--resume", "-o", f"{folder}/{number}.jsonl"]
    code = subprocess.run(["lanser", *words, *output], cwd=here).returncode
    assert code in (0, 3), f"part {number}: exit code {code}"  # 3: some records were rejected


folder, count, words = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
os.makedirs(folder, exist_ok=True)
here = os.getcwd()
ray.get([part.remote(here, folder, number, count, words) for number in range(1, count + 1)])
merge = ["lanser", "parts", folder, "--of", str(count), "--merge", f"{folder}.jsonl"]
sys.exit(subprocess.run(merge).returncode)
