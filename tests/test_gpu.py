"What is prepared for a lent GPU works: its twin on the CPU, with the sample."
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / ".ci"))
import gpu


def test_twin(tmp_path):
    "Every step starts and says something; on a slow machine some end for lack of time, none by an error."
    words = [sys.executable, ".ci/gpu.py", tmp_path, "--twin", "--minutes", "2", "--also", "echo more"]
    result = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    outcomes = json.loads((tmp_path / "steps.json").read_text())
    assert result.returncode == 0, (outcomes, [path.read_text()[-500:] for path in tmp_path.glob("*.txt")])
    assert [outcome["step"] for outcome in outcomes][:2] == ["where", "fast"]
    if outcomes[1]["exit"] == 0:
        record = json.loads((tmp_path / "fast.jsonl").read_text())
        assert len(record["seconds"]) == 2 and record["machine"]["device"] == "cpu"


def test_steps_of_a_gpu_fit_into_nine_minutes_in_the_order_of_their_worth(tmp_path):
    names = [name for name, *_ in gpu.steps(tmp_path, twin=False)]
    limits = [limit for _, limit, _ in gpu.steps(tmp_path, twin=False)]
    assert names == ["where", "fast", "bench", "cells", "fast95", "best"] and sum(limits[:-1]) <= 9 * 60


def test_a_step_that_fails_or_hangs_is_said(tmp_path):
    outcome = gpu.run("bad", 20, [sys.executable, "-c", "print('so far'); raise SystemExit(3)"], tmp_path)
    assert outcome["exit"] == 3 and "so far" in (tmp_path / "bad.txt").read_text()
    assert gpu.run("slow", 0.2, "sleep 20", tmp_path)["exit"] == "out of time"


def test_cells_of_a_gpu_come_with_what_they_need(tmp_path):
    path = tmp_path / "x.ipynb"
    cells = ["a = 1", "#| slow\nb = 1", "#| cuda\nprint(a)", "c = 1"]
    notebook = [{"cell_type": "code", "id": str(n), "source": text} for n, text in enumerate(cells)]
    path.write_text(json.dumps({"cells": notebook}))
    assert gpu.sources(path) == ["a = 1", "#| cuda\nprint(a)"]
    path.write_text(json.dumps({"cells": []}))
    assert gpu.sources(path) == []
