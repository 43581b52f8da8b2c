"What is prepared for a lent GPU works: its twin on the CPU, with the sample."
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.ci
ROOT = Path(__file__).resolve().parents[1]


def lent(folder, seconds, **more):
    "What `.ci/gpu FOLDER twin` says in this time."
    environment = os.environ | {"PYTHON": sys.executable, "SECONDS_LENT": str(seconds)} | more
    command = [".ci/gpu", folder, "twin"]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def test_twin(tmp_path):
    "Every step starts and says something; on a slow machine some run out of time, none fails."
    result = lent(tmp_path, 90)
    said = result.stdout.splitlines()
    notes = [path.read_text()[-500:] for path in tmp_path.glob("*.txt")]
    assert result.returncode == 0, (said, notes)
    steps = [line.partition(":")[0] for line in said]
    assert steps == ["where", "fast", "cells", "bench"]
    if said[1].startswith("fast: done"):
        record = json.loads((tmp_path / "fast.jsonl").read_text())
        assert len(record["seconds"]) == 2 and record["machine"]["device"] == "cpu"


def test_a_step_that_fails_or_has_no_time_is_said(tmp_path):
    result = lent(tmp_path, 2, PYTHON="false")
    assert result.returncode == 1 and "where: FAILED (1)" in result.stdout
    result = lent(tmp_path, 0)
    assert result.returncode == 0 and result.stdout.count("no time left") == 4
