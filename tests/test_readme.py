"README.md can be believed: its examples print what it shows, and CI runs each of its commands."

import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from statistics import mean

import pytest

from fmnist.claims import by_network, findings, judge, verdict_counts
from fmnist.store import published_folder, published_results, read_records
from fmnist.studies import STUDIES

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / ".ci"))
from newcomer import ELSEWHERE

README = (ROOT / "README.md").read_text(encoding="utf-8")
CI = (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def blocks(kind, text=README):
    "The fenced blocks of one kind."
    return re.findall(rf"^```{kind}\n(.*?)^```$", text, flags=re.M | re.S)


def percents(text):
    "The numbers before a percent sign."
    return list(map(float, re.findall(r"([\d.]+)%", text)))


def test_every_block_is_of_a_kind_that_is_run():
    kinds = set(re.findall(r"^```(\w*)$", README, flags=re.M)) - {""}
    assert kinds == {
        "sh",
        "python",
        "text",
        "bibtex",
    }  # commands, examples, what they print; and a reference


@pytest.mark.ci  # the same cells are run in nbs/index.ipynb
def test_examples_print_what_is_shown(tmp_path):
    "All in one process, as a reader would paste them; digits differ from machine to machine."
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(blocks("python"))],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    shown = "".join(blocks("text"))
    assert re.sub(r"\d+", "0", done.stdout) == re.sub(r"\d+", "0", shown)
    pairs = list(zip(percents(done.stdout), percents(shown), strict=True))
    assert pairs and all(abs(a - b) < 5 for a, b in pairs), done.stdout


def test_numbers_are_those_of_the_published_results():
    "New results, or another rule for claims: index.ipynb and 06_claims.ipynb must be run again."
    judgements = judge(by_network(read_records(published_folder())))
    found = findings(judgements)
    assert (
        f"The {len(judgements)} claims of the original report that are tested here are "
        f"{len(found)} findings: {verdict_counts(found)}." in README
    )
    for name, [trial] in STUDIES["report"].trials("full", 1).items():
        values = [
            100 * result.scores.accuracy
            for result in published_results()
            if replace(result.trial, seed=0) == trial
        ]
        assert (
            f"| {name} | {trial.epochs} | {len(values)} | {mean(values):.2f}"
            in README
        )
    assert str(dict(Counter(judgement.verdict for judgement in judgements))) in (
        ROOT / "nbs" / "06_claims.ipynb"
    ).read_text(encoding="utf-8")


def test_every_target_that_is_named_is_run_by_ci():
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = set(re.findall(r"(?:^|`)make (\w+)", README + page, flags=re.M))
    run = re.findall(r"\bstep (?:\S+|\"[^\"]*\") make (\w+)", CI)
    run += re.findall(r"\bmake (\w+)", "".join(blocks("sh")) + CI)
    lines = "".join(blocks("sh", page)).splitlines()
    run += [
        line.split()[1]
        for line in lines
        if line.startswith("make") and not line.startswith(ELSEWHERE)
    ]
    assert {"report", "test", "lab", "quick"} <= named <= set(run)
