"Every notebook can be taken away alone: badges, setup cell, and what Kaggle's command-line tool needs."
import json
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell
from nbdev.config import get_config

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / ".ci"))
from notebooks import for_kaggle

CONFIG = get_config(path=ROOT)
NOTEBOOKS = sorted((ROOT / "nbs").glob("*.ipynb"))
WHEEL = "fmnist-0.1.0-py3-none-any.whl"


def cells(path):
    "The cells of a notebook by their ids, each source one string."
    return {cell["id"]: "".join(cell["source"]) for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]}


def script(project, *arguments):
    "Run the generator of a project."
    return subprocess.run([sys.executable, ".ci/notebooks.py", *map(str, arguments)], cwd=project, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def project(tmp_path):
    "Settings, tools and notebooks, to be changed."
    for part in (".ci", "nbs"):
        shutil.copytree(ROOT / part, tmp_path / part)
    shutil.copy(ROOT / "settings.ini", tmp_path)
    return tmp_path


def test_generator(project):
    assert script(project) == ""  # nothing to change
    changed = project / "nbs" / NOTEBOOKS[0].name
    before = changed.read_text(encoding="utf-8")
    notebook = json.loads(before)
    notebook["cells"] = [notebook["cells"][0], *notebook["cells"][3:], {**notebook["cells"][2], "source": ["%pip install -U everything"]}]  # both lost, one elsewhere
    changed.write_text(json.dumps(notebook), encoding="utf-8")
    assert script(project).split() == [f"nbs/{changed.name}"] and changed.read_text(encoding="utf-8") == before
    settings = project / "settings.ini"
    settings.write_text(re.sub(r"^branch = .*", "branch = other", re.sub(r"^user = .*", "user = somebody", settings.read_text(), flags=re.M), flags=re.M))
    assert len(script(project).split()) == len(NOTEBOOKS) and script(project) == ""
    new = cells(changed)
    assert new["badges"].count(f"somebody/fmnist/blob/other/nbs/{changed.name}") == 2 and "git+https://github.com/somebody/fmnist" in new["setup"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_badges(path):
    assert list(cells(path))[1:3] == ["badges", "setup"]
    links = re.findall(r"\[!\[Open in (\w+)\]\(https://[^)]+\)\]\((https://[^)]+)\)", cells(path)["badges"])
    assert [where for where, _ in links] == ["Colab", "Kaggle"]
    assert all((ROOT / link.partition("/blob/")[2].partition("/")[2]) == path for _, link in links)


def installed(monkeypatch, inputs, there):
    "What the setup cell asks pip for, with `inputs` as Kaggle's; `there`: is fmnist installed?"
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *_: find_spec(name) if there or name != "fmnist" else None)
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
    assert asked == f'install -q --no-index --no-deps "{wheel}"'
    assert installed(monkeypatch, tmp_path, there=True) == []


def test_setup_on_colab(monkeypatch, tmp_path):
    (asked,) = installed(monkeypatch, tmp_path / "missing", there=False)
    assert re.fullmatch(r"install -q git\+https://github\.com/[\w-]+/fmnist", asked)  # no -U
    assert installed(monkeypatch, tmp_path / "missing", there=True) == []


def check_kaggle_folder(folder, path, user):
    "A folder that `kaggle kernels push` accepts."
    about = json.loads((folder / "kernel-metadata.json").read_text(encoding="utf-8"))
    owner, slug = about["id"].split("/")
    assert owner == user and slug == about["title"].lower().replace(" ", "-") and 5 <= len(about["title"]) <= 50  # else Kaggle warns, or refuses
    assert (folder / about["code_file"]).read_text(encoding="utf-8") == path.read_text(encoding="utf-8")
    assert (about["language"], about["kernel_type"], about["enable_gpu"], about["enable_internet"]) == ("python", "notebook", True, True)
    assert about["dataset_sources"] == ["zalando-research/fashionmnist"]


def test_kaggle_folder(tmp_path):
    script(ROOT, "kaggle", NOTEBOOKS[0], tmp_path / "command")
    check_kaggle_folder(tmp_path / "command", NOTEBOOKS[0], CONFIG.user)
    for path in NOTEBOOKS:
        for_kaggle(CONFIG, path, tmp_path / path.stem, "somebody")
        check_kaggle_folder(tmp_path / path.stem, path, "somebody")
