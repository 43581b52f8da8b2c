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
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import distribution
from pathlib import Path

import nbformat
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
PORT = 8123  # where Colab's mirror is a proxy

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


def make_data(full, work):
    "The data as each of the surroundings has them; the table that proves them."
    from fmnist.data import fashion_mnist, fashion_mnist_sample
    from fmnist.files import FILES, MIRRORS, save_idx_file  # not in a run: there it must be missing

    table, data = {}, fashion_mnist() if full else fashion_mnist_sample()
    for name, array in zip(FILES, data, strict=True):
        for surroundings, (_, place, _) in SURROUNDINGS.items():
            path = work / surroundings / place.format(name, MIRRORS[0])
            save_idx_file(path, array)
            if path.suffix != ".gz":
                table[name] = array.shape, hashlib.sha256(path.read_bytes()).hexdigest()
    return table


def prepare(flags, work):
    "All that runs share, below `work`; the last cell of each."
    make_environment(work / "env")
    wheel = build(work / "dist")
    for surroundings, (_, _, place) in SURROUNDINGS.items():
        if place:
            target = work / surroundings / place.format(wheel.name)
            target.parent.mkdir(parents=True)
            shutil.copy(wheel, target)
    # pip builds what git gives it with setuptools from the registry, which is not there
    pip = sys.executable, "-m", "pip", "download", "-q", "--dest", work / "registry"
    run(*pip, "setuptools", "wheel")
    kernel = work / "jupyter" / "kernels" / "alone" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    start = [str(work / "env/bin/python"), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    kernel.write_text(json.dumps({"argv": start, "display_name": "alone", "language": "python"}))
    for key, value in (f"url.file://{ROOT}.insteadOf", URL), ("safe.directory", "*"):
        run("git", "config", "--file", work / "gitconfig", key, value)  # for the setup cell
    return AFTER.format(NAME, make_data("data" in flags, work))


def is_chosen(cell, flags):
    "Does this cell run: one without flags, or with these alone?"
    known = "|".join(settings["tst_flags"].split())
    found = re.findall(rf"^#\|\s*({known})\b", cell.source, flags=re.M)
    return cell.cell_type != "code" or set(found) <= set(flags)


def sandbox(surroundings, work, own):
    "The words before a command that sees what there is in these surroundings, and no network."
    folder = SURROUNDINGS[surroundings][0]
    words = [shutil.which("bwrap"), "--unshare-net", "--die-with-parent"]
    for path in Path("/").iterdir():  # all that is here, and room for new folders at the top
        if path.is_symlink():
            words += ["--symlink", path.readlink(), path]
        elif path.is_dir() and path.name not in ("kaggle", "content"):
            words += ["--dev-bind", path, path]
    for path in filter(Path.exists, HIDDEN):
        words += ["--tmpfs", path]
    words += ["--bind", own / "env", work / "env", "--bind", own / "folder", folder]
    if surroundings != "colab":
        words += ["--ro-bind", work / surroundings, "/kaggle/input"]
    return [*words, "--chdir", folder]


def environment(surroundings, work, own):
    "The variables of a run."
    kept = {key: os.environ[key] for key in ("FMNIST_BUDGET", "LANG") if key in os.environ}
    if surroundings == "colab":
        kept["http_proxy"] = f"http://127.0.0.1:{PORT}"
        kept["no_proxy"] = "127.0.0.1"  # a notebook's own servers
    return kept | {
        "OMP_NUM_THREADS": "1",  # a run for each core
        "OPENBLAS_NUM_THREADS": "1",
        "PATH": f"{work / 'env/bin'}:{os.defpath}:/usr/sbin:/sbin",
        "HOME": str(own / "home"),
        "TMPDIR": str(own / "tmp"),
        "JUPYTER_PATH": str(work / "jupyter"),
        "MPLCONFIGDIR": str(work / "matplotlib"),  # its list of fonts takes seconds to make
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(work / "registry"),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
        "GIT_CONFIG_GLOBAL": str(work / "gitconfig"),
    }


def one(name, surroundings, flags, work, after):
    "Run one notebook; did it end well?"
    start, own = time.perf_counter(), Path(tempfile.mkdtemp(dir=work))
    for each in ("home", "tmp", "folder"):
        (own / each).mkdir()
    if surroundings == "colab":
        (own / "folder" / NAME).mkdir()  # somebody has cloned the repository there
    shutil.copytree(work / "env", own / "env", symlinks=True)  # the others' must not change
    document = nbformat.read(NOTEBOOKS / name, as_version=4)
    document.cells = [cell for cell in document.cells if is_chosen(cell, flags)]
    document.cells.append(nbformat.v4.new_code_cell(after))
    nbformat.write(document, own / "folder" / name)
    execute = f"{Path(sys.executable).with_name('jupyter-execute')} --kernel_name alone {name}"
    if surroundings == "colab":
        mirror = f"{sys.executable} -m http.server {PORT} -d {work / surroundings}"
        execute = f"{mirror} 2>/dev/null & {execute}; code=$?; kill $!; exit $code"
    command = [*sandbox(surroundings, work, own), "sh", "-c", execute]
    variables = environment(surroundings, work, own)
    done = subprocess.run(command, env=variables, capture_output=True, text=True)
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
    around = itertools.cycle(SURROUNDINGS)
    pairs = [(names[0], each) for each in SURROUNDINGS]
    pairs += [(name, next(around)) for name in names[1:]]
    if options.notebook:
        pairs = list(itertools.product(options.notebook, SURROUNDINGS))
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        work = Path(folder)
        context = options.flags, work, prepare(options.flags, work)
        went_well = list(pool.map(lambda pair: one(*pair, *context), pairs))
    print(f"{sum(went_well)} runs went well, {len(pairs) - sum(went_well)} failed")
    sys.exit(not all(went_well))


if __name__ == "__main__":
    main()
