"What `make` says when something is missing, and that a second call does nothing."

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def project(tmp_path):
    "Just what the rule for .venv needs."
    for name in ("Makefile", "settings.ini", "setup.py", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "constraints.txt", tmp_path / ".ci")
    return tmp_path


def make(project, *words):
    ours = {
        "MAKEFLAGS",
        "MFLAGS",
        "MAKELEVEL",
        "CONSTRAINTS",
        "PYTHON",
        "BUDGET",
        "SEED",
        "LANGUAGE",
    }  # these tests run under make
    alone = {name: value for name, value in os.environ.items() if name not in ours} | {
        "LC_ALL": "C"
    }  # make speaks English
    return subprocess.run(["make", *words], cwd=project, capture_output=True, text=True, env=alone)


def python(project, **answers):
    "A Python that answers the Makefile as told: exit codes for texts that its `-c` argument holds."
    cases = "".join(
        f'case "$*" in *{text}*) exit {code};; esac\n' for text, code in answers.items()
    )
    path = project / "python"
    path.write_text(f"#!/bin/sh\n{cases}echo Python 3.9.1\n")
    path.chmod(0o755)
    return f"PYTHON={path}"


def test_no_python(project):
    answer = make(project, "report", "PYTHON=python9")
    assert (
        answer.returncode and "python9 was not found. Install Python 3.10 or newer" in answer.stderr
    )


def test_old_python(project):
    answer = make(project, "report", python(project, version_info=1))
    assert answer.returncode and "Python 3.9.1 is too old; 3.10 or newer is needed" in answer.stderr


def test_no_venv_module(project):
    answer = make(project, "test", python(project, version_info=0, ensurepip=1))
    assert answer.returncode and "apt-get install python3-venv" in answer.stderr


def test_second_call_does_nothing(project):
    (project / ".venv").mkdir()
    (project / ".venv" / "ready").touch()
    answer = make(project, "venv", "PYTHON=python9")
    assert answer.returncode == 0 and "nothing to be done" in answer.stdout.lower(), answer


def test_help_lists_every_target(project):
    phony = next(
        line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith(".PHONY:")
    )
    listed = [line.split()[1] for line in make(project).stdout.splitlines()]
    assert sorted(listed) == sorted(phony.split()[1:])


def test_clean_keeps_results(project):
    for path in (
        "runs/results.jsonl",
        "report/index.html",
        "_docs/index.html",
        ".venv/ready",
        "fmnist/__pycache__/data.pyc",
        "runs/a b/.ipynb_checkpoints/x",
        "runs/a/results.jsonl",
    ):
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).touch()
    assert make(project, "clean").returncode == 0
    assert sorted(path.name for path in project.iterdir()) == [
        ".ci",
        "Makefile",
        "fmnist",
        "pyproject.toml",
        "runs",
        "settings.ini",
        "setup.py",
    ]
    assert not list((project / "fmnist").iterdir())
    assert (project / "runs" / "a" / "results.jsonl").exists() and not list(
        (project / "runs" / "a b").iterdir()
    )
