"Every notebook can be taken away alone: badges, setup cell, what Kaggle's command-line tool needs."

import json
import re
import shutil
import subprocess
import sys
from importlib.machinery import PathFinder
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / ".ci"))
import notebooks

CONFIG = notebooks.settings
NOTEBOOKS = sorted((ROOT / "nbs").glob("*.ipynb"))
WHEEL = "fmnist-0.1.0-py3-none-any.whl"


def cells(path):
    "The cells of a notebook by their ids, each source one string."
    return {
        cell["id"]: "".join(cell["source"])
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
    }


def test_generator(monkeypatch, capsys, tmp_path):
    shutil.copytree(ROOT / "nbs", tmp_path / "nbs")
    monkeypatch.setattr(notebooks, "ROOT", tmp_path)

    def changes(config=CONFIG):
        notebooks.write_all(config)
        return capsys.readouterr().out.split()

    assert changes() == []
    path = tmp_path / "nbs" / NOTEBOOKS[0].name
    notebook = json.loads(path.read_text(encoding="utf-8"))
    title, badges, setup, *rest = notebook["cells"]
    changed = {**setup, "source": ["%pip install -U everything"]}
    notebook["cells"] = [title, *rest, changed]  # one is lost, one changed and elsewhere
    path.write_text(json.dumps(notebook), encoding="utf-8")
    assert changes() == [f"nbs/{path.name}"]
    assert path.read_bytes() == NOTEBOOKS[0].read_bytes()
    address = "https://github.com/somebody/fork"
    fork = dict(CONFIG, user="somebody", repo="fork", branch="other", git_url=address)
    assert len(changes(fork)) == len(NOTEBOOKS)
    assert changes(fork) == []
    new = cells(path)
    assert new["badges"].count(f"somebody/fork/blob/other/nbs/{path.name}") == 2
    assert f"git+{address}" in new["setup"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_badges(path):
    assert list(cells(path))[1:3] == ["badges", "setup"]
    link = r"\[!\[Open in (\w+)\]\(https://[^)]+\)\]\((https://[^)]+)\)"
    links = re.findall(link, cells(path)["badges"])
    assert [where for where, _ in links] == ["Colab", "Kaggle"]
    assert all((ROOT / link.partition("/blob/")[2].partition("/")[2]) == path for _, link in links)


def installed(monkeypatch, inputs, there):
    "What the setup cell asks pip for, with `inputs` as Kaggle's; `there`: is fmnist installed?"
    path = sys.path if there else [str(inputs)]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: PathFinder.find_spec(name, path))
    asked, shell = [], InteractiveShell()
    shell.register_magic_function(asked.append, magic_name="pip")
    shell.run_cell(cells(NOTEBOOKS[0])["setup"].replace("/kaggle/input", str(inputs))).raise_error()
    return asked


@pytest.mark.parametrize("place", ["fmnist-wheel", "datasets/somebody/my wheels"])
def test_setup_on_kaggle(monkeypatch, tmp_path, place):
    wheel = tmp_path / place / WHEEL
    wheel.parent.mkdir(parents=True)
    wheel.touch()
    (asked,) = installed(monkeypatch, tmp_path, there=False)
    assert asked == f'install -q --no-index --find-links "{wheel.parent}" "{wheel}"'
    assert installed(monkeypatch, tmp_path, there=True) == []


def test_setup_on_colab(monkeypatch, tmp_path):
    (asked,) = installed(monkeypatch, tmp_path / "missing", there=False)
    assert re.fullmatch(r"install -q git\+https://github\.com/[\w-]+/fmnist", asked)  # no -U
    assert installed(monkeypatch, tmp_path / "missing", there=True) == []


def test_a_folder_of_that_name_is_not_the_package(monkeypatch, tmp_path):
    "Somebody has cloned the repository beside the notebook."
    (tmp_path / "fmnist" / "nbs").mkdir(parents=True)
    assert len(installed(monkeypatch, tmp_path, there=False)) == 1


def check_kaggle_folder(folder, path, user):
    "A folder that `kaggle kernels push` accepts."
    about = json.loads((folder / "kernel-metadata.json").read_text(encoding="utf-8"))
    owner, slug = about["id"].split("/")
    assert owner == user
    assert slug == about["title"].lower().replace(" ", "-")  # else Kaggle warns
    assert 5 <= len(about["title"]) <= 50  # else it refuses
    assert (folder / about["code_file"]).read_bytes() == path.read_bytes()
    assert (about["language"], about["kernel_type"]) == ("python", "notebook")
    assert about["enable_gpu"] and about["enable_internet"]
    assert about["dataset_sources"] == ["zalando-research/fashionmnist"]


def test_kaggle_folder(tmp_path):
    words = "kaggle", NOTEBOOKS[0], tmp_path / "command"
    subprocess.run([sys.executable, ROOT / ".ci" / "notebooks.py", *words], check=True)
    check_kaggle_folder(tmp_path / "command", NOTEBOOKS[0], CONFIG["user"])
    for path in NOTEBOOKS:
        notebooks.for_kaggle(CONFIG, path, tmp_path / path.stem, "somebody")
        check_kaggle_folder(tmp_path / path.stem, path, "somebody")
