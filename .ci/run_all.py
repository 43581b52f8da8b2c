"""Run notebooks as somebody does who opens one of them alone, on Kaggle or on Colab.

    .venv/bin/python .ci/run_all.py                     cells without flags
    .venv/bin/python .ci/run_all.py --flags data slow   these, too; the data are the full ones

Each notebook runs in one of the surroundings, the first in all of them. A run has a file system and
a network of its own (by bubblewrap): a read-only /kaggle/input and no network, or /content and a
mirror of the data. Its environment has the requirements, but neither nbdev nor this repository; the
package is not installed until the notebook's setup cell does so.
"""

import argparse
import hashlib
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import distribution
from pathlib import Path

from execnb.nbio import mk_cell, read_nb, write_nb
from nbdev.process import extract_directives
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from package import NAME, ROOT, build, run, settings

NOTEBOOKS, URL = ROOT / settings["nbs_path"], settings["git_url"]
# The notebook's folder; a file of the data and the wheel, below /kaggle/input or on the mirror.
# Kaggle's new layout has each IDX file in a folder of its name.
SURROUNDINGS = {
    "kaggle": ("/kaggle/working", "fashionmnist/{0}", f"{NAME}-wheel/{{0}}"),
    "colab": ("/content", "{1}{0}.gz", None),
    "kaggle-new": (
        "/kaggle/working",
        "datasets/zalando-research/fashionmnist/{0}/{0}",
        f"datasets/somebody/{NAME}-wheel/{{0}}",
    ),
}
PROVIDED = ["ipykernel", "fastcore"]  # what both have, beside our requirements and the benchmarks'
HIDDEN = [NOTEBOOKS, ROOT / NAME, Path("/usr/share/datasets")]  # what neither has
# On Colab the mirror is a proxy, but not for a notebook's own servers, and somebody has cloned the
# repository beside the notebook.
COLAB = """mkdir {name}
{python} -m http.server 8123 -d {mirror} 2>/dev/null &
export http_proxy=http://127.0.0.1:8123 no_proxy=127.0.0.1
{execute}
code=$?; kill $!; exit $code"""

# What must hold after a run: its environment is what it claims to be, and the data are found.
AFTER = """
import importlib.util, os, sys
import {0}
from {0}.data import fashion_mnist
assert importlib.util.find_spec("nbdev") is None, "nbdev is there"
assert {0}.__file__.startswith(sys.prefix), {0}.__file__
assert len(fashion_mnist(table={1}).test_labels)
assert not os.access("/kaggle/input", os.W_OK) or not os.path.exists("/kaggle/input")
"""


def needed(names):
    "These distributions and all that they need, as installed here."
    found, asked = {}, [Requirement(name) for name in names]
    while asked:
        requirement = asked.pop()
        if (name := canonicalize_name(requirement.name)) in found:
            continue
        found[name] = distribution(name)
        for each in map(Requirement, found[name].requires or []):
            extras = ("", *requirement.extras)
            if not each.marker or any(each.marker.evaluate({"extra": extra}) for extra in extras):
                asked.append(each)
    return found


def make_environment(folder):
    "A virtual environment with links to the requirements that are installed here, no more."
    venv.create(folder, symlinks=True, with_pip=True)
    place = next(folder.glob("lib/*/site-packages"))
    extras = "requirements", "bench_requirements", "onnx_requirements"
    found = needed(" ".join(settings[each] for each in extras).split() + PROVIDED)
    assert not {NAME, "nbdev"} & set(found), "the environment would not be bare"
    for each in found.values():
        for top in {path.parts[0] for path in each.files} - {"..", "__pycache__"}:
            if not (place / top).exists():
                (place / top).symlink_to(each.locate_file(top))


def make_inputs(full, work):
    "The data and the wheel where the surroundings have them; the table that proves the data."
    from fmnist.data import fashion_mnist, fashion_mnist_sample
    from fmnist.files import FILES, MIRRORS, save_idx_file  # not in a run: there it must be missing

    data, wheel = fashion_mnist() if full else fashion_mnist_sample(), build(work / "dist")
    table = {}
    for surroundings, (_, file, place) in SURROUNDINGS.items():
        for name, array in zip(FILES, data, strict=True):
            path = work / surroundings / file.format(name, MIRRORS[0])
            save_idx_file(path, array)
            if place:
                table[name] = array.shape, hashlib.sha256(path.read_bytes()).hexdigest()
        if place:
            target = work / surroundings / place.format(wheel.name)
            target.parent.mkdir(parents=True)
            shutil.copy(wheel, target)
    return table


def prepare(work):
    "What runs share, below `work`, beside their inputs."
    make_environment(work / "env")
    python = work / "env/bin/python"
    run(python, "-m", "ipykernel", "install", "--prefix", work, "--name", "alone")
    # pip builds what git gives it with setuptools from the registry, which is not there
    pip = sys.executable, "-m", "pip", "download", "-q", "--dest", work / "registry"
    run(*pip, "setuptools", "wheel")
    for key, value in (f"url.file://{ROOT}.insteadOf", URL), ("safe.directory", "*"):
        run("git", "config", "--file", work / "gitconfig", key, value)  # for the setup cell


def sandbox(surroundings, work, own):
    "The words before a command that sees what there is in these surroundings, and no network."
    folder = SURROUNDINGS[surroundings][0]
    words = ["bwrap", "--unshare-net", "--die-with-parent", "--chdir", folder]
    for path in Path("/").iterdir():  # all that is here, and room for new folders at the top
        if path.is_dir() and path.name not in ("kaggle", "content"):
            words += ["--dev-bind", path, path]
    for path in filter(Path.exists, HIDDEN):
        words += ["--tmpfs", path]
    if surroundings != "colab":
        words += ["--ro-bind", work / surroundings, "/kaggle/input"]
    return [*words, "--bind", own / "env", work / "env", "--bind", own / "folder", folder]


def environment(work, own):
    "The variables of a run."
    kept = {key: os.environ[key] for key in ("FMNIST_BUDGET", "LANG") if key in os.environ}
    return kept | {
        "OMP_NUM_THREADS": "1",  # a run for each core
        "OPENBLAS_NUM_THREADS": "1",
        "PATH": f"{work / 'env/bin'}:{os.defpath}:/usr/sbin:/sbin",
        "HOME": own,
        "TMPDIR": own,
        "JUPYTER_PATH": work / "share/jupyter",
        "MPLCONFIGDIR": work / "matplotlib",  # its list of fonts takes seconds to make
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": work / "registry",
        "GIT_CONFIG_GLOBAL": work / "gitconfig",
    }


def write_notebook(name, flags, after, folder):
    "Put a notebook there, without the cells whose flags are not wanted, and with one more."
    document = read_nb(NOTEBOOKS / name)
    unwanted = set(settings["tst_flags"].split()) - set(flags)
    cells = [cell for cell in document.cells if not unwanted & set(extract_directives(cell, False))]
    document.cells = [*cells, mk_cell(after)]
    write_nb(document, folder / name)


def one(name, surroundings, flags, work, after):
    "Run one notebook; did it end well?"
    start, own = time.perf_counter(), Path(tempfile.mkdtemp(dir=work))
    (own / "folder").mkdir()
    shutil.copytree(work / "env", own / "env", symlinks=True)  # the others' must not change
    write_notebook(name, flags, after, own / "folder")
    execute = f"{Path(sys.executable).with_name('jupyter-execute')} --kernel_name alone {name}"
    if surroundings == "colab":
        mirror, python = work / surroundings, sys.executable
        execute = COLAB.format(name=NAME, python=python, mirror=mirror, execute=execute)
    command = [*sandbox(surroundings, work, own), "sh", "-c", execute]
    done = subprocess.run(command, env=environment(work, own), capture_output=True, text=True)
    failed = f" FAILED\n{done.stdout}{done.stderr}" if done.returncode else ""
    print(f"{name} in {surroundings}: {time.perf_counter() - start:.0f} s{failed}", flush=True)
    shutil.rmtree(own, ignore_errors=True)
    return not failed


def main():
    names = sorted(path.name for path in NOTEBOOKS.glob("*_*.ipynb")) + ["index.ipynb"]
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add, flags = parser.add_argument, settings["tst_flags"].split()
    add("--flags", nargs="+", choices=flags, default=[], help="run cells with these flags, too")
    add("--notebook", nargs="+", choices=names, metavar="X", help="only these, in all surroundings")
    options = parser.parse_args()
    pairs = list(itertools.product(options.notebook or names[:1], SURROUNDINGS))
    if not options.notebook:
        pairs += zip(names[1:], itertools.cycle(SURROUNDINGS))
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        work = Path(folder)
        prepare(work)
        after = AFTER.format(NAME, make_inputs("data" in options.flags, work))
        context = options.flags, work, after
        went_well = list(pool.map(lambda pair: one(*pair, *context), pairs))
    print(f"{sum(went_well)} runs went well, {len(pairs) - sum(went_well)} failed")
    sys.exit(not all(went_well))


if __name__ == "__main__":
    main()
