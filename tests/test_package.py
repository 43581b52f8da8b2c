"The package as Python meets it: what an import loads, which commands there are, what it holds."

import importlib
import json
import shutil
import subprocess
import sys
from configparser import ConfigParser
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted(f"fmnist.{path.stem}" for path in (ROOT / "fmnist").glob("[!_]*.py"))


def python(*words):
    "A new Python in which every warning is an error; what it printed."
    done = subprocess.run(
        [sys.executable, "-W", "error", *words], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    return done.stdout


def test_the_package_alone_loads_nothing_else():
    said = python(
        "-c",
        "import sys; before = set(sys.modules); import fmnist; "
        "print(*sorted(set(sys.modules) - before))",
    )
    assert said == "fmnist\n"


def test_torch_enters_at_cnn():
    "The MLP does without PyTorch; matplotlib and pandas are loaded when something is drawn."
    for last, slow in (
        ("mlp", {"torch", "scipy", "matplotlib", "seaborn", "pandas", "nbdev", "fastcore"}),
        ("report", {"matplotlib", "pandas"}),
    ):
        loaded = python("-c", f"import sys, fmnist.{last}; print(*sys.modules)").split()
        assert not slow & {*loaded}, last


@pytest.mark.parametrize(
    "module, words",
    [("benchmarks", ["fmnist_bench", "mlp"]), ("recipes", ["fmnist_recipe", "fast"])],
)
def test_missing_data_are_a_sentence(module, words, monkeypatch):
    module = importlib.import_module(f"fmnist.{module}")

    def nowhere():
        raise FileNotFoundError("Fashion-MNIST was not found. Tried: ...")

    monkeypatch.setattr(module, "fashion_mnist", nowhere)
    with pytest.raises(SystemExit, match=f"{words[0]}: Fashion-MNIST was not found"):
        getattr(module, words[0])(words[1:])


def test_bench_says_what_it_needs(monkeypatch):
    from fmnist import benchmarks

    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SystemExit, match="--device cuda needs a GPU"):
        benchmarks.fmnist_bench(["cnn", "--device", "cuda"])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        SystemExit, match=r"needs sklearn and threadpoolctl: pip install 'fmnist\[bench\]'"
    ):
        benchmarks.fmnist_bench(["mlp"])


def test_an_address_that_is_none_is_a_sentence(tmp_path):
    from fmnist.studies import fmnist_run

    with pytest.raises(SystemExit, match="expected an address like tcp://host:8786"):
        fmnist_run(
            ["dropout", "--budget", "smoke", "--scheduler", "nowhere://", "--folder", str(tmp_path)]
        )


def test_a_checkout_need_not_be_installed(monkeypatch):
    "Only on the path, as after `git clone` on Kaggle, where pip wrote nothing down."
    from fmnist import __version__, machine, report

    def unknown(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(machine, "distribution", unknown)
    # not from the cache, which was filled with the real ones
    assert machine._software.__wrapped__()["fmnist"] == __version__
    monkeypatch.setattr(machine, "files", lambda name: Path("/nowhere") / name)
    assert machine.commit.__wrapped__() is None
    assert report._source().endswith("/fmnist")
    monkeypatch.setattr(report, "metadata", unknown)
    assert report._source() == ""


def test_every_module_can_be_the_first_and_is_quiet():
    again = (
        "for old in [m for m in sys.modules if m.split('.')[0] == 'fmnist']: del sys.modules[old]"
    )
    code = "\n".join(["import sys", *(f"import {module}\n{again}" for module in MODULES)])
    assert len(MODULES) > 10 and python("-c", code) == ""


def test_the_package_lists_its_commands():
    settings = ConfigParser(delimiters=["="])
    settings.read(ROOT / "settings.ini", encoding="utf-8")
    names = [line.split("=")[0] for line in settings["DEFAULT"]["console_scripts"].split()]
    said = python("-m", "fmnist")
    listed = dict(
        line.split(maxsplit=1) for line in said.splitlines() if line.startswith("fmnist_")
    )
    assert sorted(listed) == sorted(names) and all(
        what.endswith(".") for what in listed.values()
    ), said
    quick = (
        "import runpy, sys; runpy.run_module('fmnist', run_name='__main__'); "
        "print('numpy' in sys.modules)"
    )
    assert python("-c", quick).endswith("False\n")


def test_the_commands_page_shows_what_they_say(monkeypatch, capsys):
    "Options changed? `nbs/09_commands.ipynb` must be run again."
    monkeypatch.setenv("COLUMNS", "100")
    for script in distribution("fmnist").entry_points.select(group="console_scripts"):
        with pytest.raises(SystemExit):
            script.load()(["--help"])
    notebook = json.loads((ROOT / "nbs" / "09_commands.ipynb").read_text(encoding="utf-8"))
    shown = "".join(
        "".join(output["text"])
        for cell in notebook["cells"]
        if "--help" in "".join(cell["source"])
        for output in cell.get("outputs", [])
    )
    # Python's versions break lines elsewhere
    assert capsys.readouterr().out.split() == shown.split()


@pytest.mark.ci  # `build` fetches setuptools
def test_the_wheel_holds_what_git_knows(tmp_path):
    "Made from the source archive, in a folder where nothing has been installed."
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True)
    files = [name for name in listed.stdout.decode().split("\0") if (ROOT / name).is_file()]
    for name in files:
        (tmp_path / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / "source" / name)
    command = [sys.executable, "-m", "build", "--outdir", tmp_path, tmp_path / "source"]
    subprocess.run(command, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    held = {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert held == {name for name in files if name.startswith("fmnist/")}
    assert wheel.stat().st_size < 5_000_000
