"""Run notebooks as somebody does who opens one of them alone, on Kaggle or on Colab.

    .venv/bin/python .ci/run_all.py                     cells without flags
    .venv/bin/python .ci/run_all.py --flags data slow   these, too; the data are the full ones

Each notebook runs in one of the surroundings, the first in all of them; `--surroundings` names
others. A run has a file system and a network of its own (Linux namespaces: as root, or where users
may make them): a read-only /kaggle/input and no network, or /content and a mirror of the data.
Its environment has the requirements, but neither nbdev nor this repository; the package is not
installed until the notebook's setup cell does so.
"""

import argparse
import atexit
import fcntl
import functools
import hashlib
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
import venv
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import distribution
from pathlib import Path
from urllib.parse import urlsplit

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from package import NAME, ROOT, build, run, settings

NOTEBOOKS, URL = ROOT / settings["nbs_path"], settings["git_url"]
# The notebook's folder; a file of the data and the wheel, below /kaggle/input or on the mirror.
# Kaggle's new layout has each IDX file in a folder of its name.
SURROUNDINGS = {
    "kaggle": ("/kaggle/working", "fashionmnist/{0}", f"{NAME}-wheel/{{0}}"),
    "colab": ("/content", "{0}.gz", None),
    "kaggle-new": (
        "/kaggle/working",
        "datasets/zalando-research/fashionmnist/{0}/{0}",
        f"datasets/somebody/{NAME}-wheel/{{0}}",
    ),
}
PROVIDED = ["ipykernel", "fastcore"]  # what both have, beside our requirements and the benchmarks'
HIDDEN = [NOTEBOOKS, ROOT / NAME, Path("/usr/share/datasets")]  # what neither has
THREADS = "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"
CELL_LIMIT = 3600  # seconds

# What must hold after a run: its environment is what it claims to be, and the data are found.
AFTER = f"""
import importlib.util, json, os, sys
import {NAME}
from {NAME}.data import fashion_mnist
assert importlib.util.find_spec("nbdev") is None, "nbdev is there"
assert {NAME}.__file__.startswith(sys.prefix), {NAME}.__file__
table = {{name: (tuple(shape), sha) for name, (shape, sha) in json.loads(sys.argv[1]).items()}}
assert len(fashion_mnist(table=table).test_labels)
assert not os.access("/kaggle/input", os.W_OK) or not os.path.exists("/kaggle/input")
"""


# --- before: what all runs share ---


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
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    place = Path(run(folder / "bin" / "python", "-c", code).strip())
    extras = ("requirements", "bench_requirements", "onnx_requirements")
    names = " ".join(settings[each] for each in extras).split()
    found = needed(names + PROVIDED)
    assert not {NAME, "nbdev"} & set(found), "the environment would not be bare"
    for each in found.values():
        for top in {path.parts[0] for path in each.files} - {"..", "__pycache__"}:
            if not (place / top).exists():
                (place / top).symlink_to(each.locate_file(top))


def make_data(full, work):
    "The data as each of the surroundings has them; the table that proves them, the mirror's host."
    from fmnist.data import fashion_mnist, fashion_mnist_sample
    from fmnist.files import FILES, MIRRORS, save_idx_file  # not in a run: there it must be missing

    table, data = {}, fashion_mnist() if full else fashion_mnist_sample()
    for name, array in zip(FILES, data, strict=True):
        for surroundings, (_, place, _) in SURROUNDINGS.items():
            path = work / surroundings / place.format(name)
            save_idx_file(path, array)
            if path.suffix != ".gz":
                table[name] = array.shape, hashlib.sha256(path.read_bytes()).hexdigest()
    mirror = urlsplit(MIRRORS[0])
    assert (mirror.scheme, mirror.path) == ("http", "/"), "it is served at port 80, from its top"
    return table, mirror.hostname


def prepare(flags, work):
    "All that runs share, below `work`; what a run must be told of it."
    make_environment(work / "env")
    table, mirror = make_data("data" in flags, work)
    wheel = build(work / "dist")[0]
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
    about = {"argv": start, "display_name": "alone", "language": "python"}
    kernel.write_text(json.dumps(about))
    for key, value in (f"url.file://{ROOT}.insteadOf", URL), ("safe.directory", "*"):
        run("git", "config", "--file", work / "gitconfig", key, value)  # for the setup cell
    return {"flags": flags, "work": str(work), "table": table, "mirror": mirror}


# --- a run, in namespaces of its own ---


def start_loopback():
    "A new network namespace has its loopback switched off."
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        fcntl.ioctl(s, 0x8914, struct.pack("16sH14x", b"lo", 0x1))  # SIOCSIFFLAGS, IFF_UP


def surround(surroundings, shared, own):
    "Make this process's file system and network those of the surroundings; the notebook's folder."
    work, folder, root = Path(shared["work"]), Path(SURROUNDINGS[surroundings][0]), own / "root"
    root.mkdir()
    run("mount", "-t", "tmpfs", "tmpfs", root)
    for path in Path("/").iterdir():  # all that is here, and room for new folders at the top
        if path.is_symlink():
            (root / path.name).symlink_to(path.readlink())
        elif path.is_dir() and path.name not in ("kaggle", "content"):
            (root / path.name).mkdir()
            run("mount", "--rbind", path, root / path.name)
    os.chroot(root)
    os.chdir("/")
    for path in HIDDEN:
        if path.exists():
            run("mount", "-t", "tmpfs", "tmpfs", path)
    shutil.copytree(work / "env", own / "env", symlinks=True)  # the others' must not change
    run("mount", "--bind", own / "env", work / "env")
    folder.mkdir(parents=True)
    start_loopback()
    if surroundings == "colab":
        (folder / NAME).mkdir()  # somebody has cloned the repository there
        (own / "hosts").write_text(f"127.0.0.1 localhost {shared['mirror']}\n")
        run("mount", "--bind", own / "hosts", "/etc/hosts")
        mirror = [sys.executable, "-m", "http.server", "80", "--bind", "127.0.0.1"]
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        atexit.register(subprocess.Popen(mirror, cwd=work / surroundings, **silent).kill)
    else:
        Path("/kaggle/input").mkdir()
        run("mount", "--bind", work / surroundings, "/kaggle/input")
        run("mount", "-o", "remount,bind,ro", "/kaggle/input")
    return folder


def is_chosen(cell, flags):
    "Does this cell run: one without flags, or with these alone?"
    known = "|".join(settings["tst_flags"].split())
    found = re.findall(rf"^#\|\s*({known})\b", cell.source, flags=re.M)
    return cell.cell_type != "code" or set(found) <= set(flags)


def inside(notebook, surroundings, shared, own):
    "Run one notebook; its seconds. A failure ends the process with the cell and its traceback."
    import nbformat
    from nbclient import NotebookClient

    shared, own = json.loads(shared), Path(own)
    document = nbformat.read(NOTEBOOKS / notebook, as_version=4)
    document.cells = [cell for cell in document.cells if is_chosen(cell, shared["flags"])]
    folder = surround(surroundings, shared, own)
    python = Path(shared["work"], "env/bin/python")
    assert not list(python.parents[1].glob(f"lib/*/*/{NAME}*")), "it is installed already"
    where = {"metadata": {"path": str(folder)}}
    client = NotebookClient(document, timeout=CELL_LIMIT, kernel_name="alone", resources=where)
    started = time.perf_counter()
    try:
        client.execute()
    except Exception as error:
        setup = [output.get("text", "") for output in document.cells[2].get("outputs", [])]
        said = f"{error}\nThe setup cell said:\n{''.join(setup)}"
        sys.exit(re.sub(r"\x1b\[[\d;]*m", "", said))
    print(time.perf_counter() - started)
    run(python, "-I", "-c", AFTER, json.dumps(shared["table"]), cwd=folder)


# --- the matrix ---


@functools.cache
def unshare():
    "The command that gives a process mounts and a network of its own."
    for more in ([], ["--map-root-user"]):  # users need that
        command = ["unshare", "--mount", "--net", *more]
        if not subprocess.run([*command, "true"], capture_output=True).returncode:
            return command
    sys.exit("Runs need mounts and a network of their own: Linux, and sudo or CAP_SYS_ADMIN.")


def one(notebook, surroundings, shared, threads):
    "A run as a process of its own; did it end well?"
    work = Path(shared["work"])
    own = Path(tempfile.mkdtemp(dir=work))
    for name in ("home", "tmp"):
        (own / name).mkdir()
    kept = ("FMNIST_BUDGET", "LANG", *THREADS)
    environment = {key: os.environ[key] for key in kept if key in os.environ} | threads
    environment |= {
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
    command = [*unshare(), sys.executable, __file__, "inside", notebook, surroundings]
    command += [json.dumps(shared), own]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        print(f"{notebook} in {surroundings} FAILED\n{done.stdout}{done.stderr}", flush=True)
    else:
        print(f"{notebook} in {surroundings}: {float(done.stdout.split()[-1]):.0f} s", flush=True)
    shutil.rmtree(own, ignore_errors=True)
    return done.returncode == 0


def plan(names, surroundings):
    "Pairs of a notebook and its surroundings: each in the next, the first in all."
    around = surroundings or list(SURROUNDINGS)
    if surroundings:
        return [(name, each) for name in names for each in around]
    rest = [(name, around[number % len(around)]) for number, name in enumerate(names)][1:]
    return [(names[0], each) for each in around] + rest


def main():
    names = sorted(path.name for path in NOTEBOOKS.glob("*_*.ipynb")) + ["index.ipynb"]
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add, flags = parser.add_argument, settings["tst_flags"].split()
    add("--flags", nargs="+", choices=flags, default=[], help="run cells with these flags, too")
    add(
        "--notebook", nargs="+", choices=names, default=names, metavar="NOTEBOOK", help="only these"
    )
    add("--surroundings", nargs="+", choices=SURROUNDINGS, help="each notebook in all of these")
    add("--workers", type=int, default=os.cpu_count(), help="runs at a time (default: one a core)")
    options = parser.parse_args()
    unshare()
    threads = dict.fromkeys(THREADS, "1") if options.workers > 1 else {}
    with tempfile.TemporaryDirectory() as work, ThreadPoolExecutor(options.workers) as pool:
        os.chmod(work, 0o755)
        shared = prepare(options.flags, Path(work))
        pairs = plan(options.notebook, options.surroundings)
        went_well = list(pool.map(lambda pair: one(*pair, shared, threads), pairs))
    print(f"{sum(went_well)} runs went well, {len(pairs) - sum(went_well)} failed")
    sys.exit(not all(went_well))


if __name__ == "__main__":
    inside(*sys.argv[2:]) if sys.argv[1:2] == ["inside"] else main()
