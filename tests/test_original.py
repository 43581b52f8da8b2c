"The original report's networks are ours with its settings; its numbers belong to arms that exist."

import json
import subprocess
import sys

import pytest

from fmnist.cnn import CNNModel
from fmnist.original import (
    BASELINE_MLP,
    BEST_CNN,
    FIRST_READING,
    SECTION_3_CNN,
    original_accuracy,
    original_report,
)
from fmnist.store import published_folder
from fmnist.studies import STUDIES
from fmnist.trials import check_settings


def test_its_networks_are_settings_of_ours():
    check_settings("mlp", BASELINE_MLP)
    assert sum(p.numel() for p in CNNModel(**FIRST_READING).parameters()) == sum(
        p.numel() for p in CNNModel().parameters()
    )
    CNNModel(**BEST_CNN | SECTION_3_CNN)


def test_its_numbers_belong_to_arms():
    assert original_accuracy("dropout")["0.1"] == 87.11
    for study in original_report()["studies"]:
        assert set(original_accuracy(study)) <= set(STUDIES[study].arms), study


MOVE = """
import importlib, json
import fmnist.original as o
from fmnist import studies

said = {}
for name in o.READINGS:
    o.BEST_CNN = o.READINGS[name]
    o.SECTION_3_CNN = o.LITERAL_SECTION_3 if "pool" in o.BEST_CNN else o.FIRST_SECTION_3
    importlib.reload(studies)
    digests = {f"{name}, {arm}": [trial.digest for trial in trials]
               for name, study in studies.STUDIES.items()
               for arm, trials in study.trials("full").items()}
    said[name] = [study.name for study in studies.FIRST_STUDIES], digests
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def moved():
    "Names of the studies of the first reading, and digests of all arms, in each reading."
    words = [sys.executable, "-c", MOVE]
    return json.loads(subprocess.run(words, capture_output=True, check=True).stdout)


def test_one_line_moves_all_studies_to_another_reading(moved):
    "Old results keep their digests, and belong to studies of the first reading then."
    first_names, first = moved["as AlexNet, dropout 0.2"]
    assert first_names == []
    studies = "pooling", "kernel_sizes", "cnn_initialization", "filters", "best_cnn"
    for name, (names, digests) in moved.items():
        if name == "as AlexNet, dropout 0.2":
            continue
        assert names == [f"first_{study}" for study in (*studies, "models")]
        for arm, old in first.items():
            if arm.startswith(studies):
                assert digests[f"first_{arm}"] == old and set(digests[arm]).isdisjoint(old), arm
            elif arm.startswith(("reading", "dropout", "activation", "fast_cnn")):
                assert digests[arm] == old, arm
        assert len(digests["kernel_sizes, 5-5-3-3-3"]) == 10
        assert len(digests["cnn_initialization, 3-3-3-3-3, he"]) == 3
        assert digests["cnn_initialization, 3-3-3-3-3, he"] == digests["pooling, max"]


def test_published_lines_belong_to_the_first_reading(moved):
    "All lines that were published before there was another one."
    _, first = moved["as AlexNet, dropout 0.2"]
    known = {digest for digests in first.values() for digest in digests}
    lines = (published_folder() / "pooling.jsonl").read_text().splitlines()
    old = {line["digest"] for line in map(json.loads, lines) if line["finished"] < "2026-11-27"}
    assert old and old <= known
