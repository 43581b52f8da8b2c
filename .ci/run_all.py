"""Run every notebook alone, top to bottom, in surroundings like those of Kaggle and Colab; print what each took.

    .venv/bin/python .ci/run_all.py --data sample    cells without flags; the data there are the package's sample
    .venv/bin/python .ci/run_all.py --data full      every cell, as somebody who presses "Run all"

A run has mounts and a network of its own (Linux namespaces, so it needs root): a read-only /kaggle/input and no network, or
/content and a mirror of the data on this machine. Its environment has the requirements, but neither nbdev nor this repository;
fmnist is not installed, until the notebook's setup cell does so.
"""
import argparse
import configparser
import fcntl
import functools
import hashlib
import json
import os
import re
import resource
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import venv
from concurrent.futures import ThreadPoolExecutor
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import distribution
from pathlib import Path
from urllib.parse import urlsplit

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from package import build, run, tracked

ROOT = Path(__file__).resolve().parents[1]
settings = configparser.ConfigParser(delimiters=["="])
settings.read(ROOT / "settings.ini", encoding="utf-8")
NAME, URL, NOTEBOOKS = (settings["DEFAULT"][key] for key in ("lib_name", "git_url", "nbs_path"))
# The notebook's folder; a file of the data and the wheel, below /kaggle/input or on the mirror. Kaggle's new layout has each IDX file in a folder of its name.
SURROUNDINGS = {
    "kaggle": ("/kaggle/working", "fashionmnist/{0}", f"{NAME}-wheel/{{0}}"),
    "kaggle new": ("/kaggle/working", "datasets/zalando-research/fashionmnist/{0}/{0}", f"datasets/somebody/{NAME}-wheel/{{0}}"),
    "colab": ("/content", "{0}.gz", None),
}
PROVIDED = ["ipykernel", "fastcore"]  # what both have, beside our requirements and those of the benchmarks
HIDDEN = [ROOT / NOTEBOOKS, ROOT / NAME, Path("/usr/share/datasets")]  # what neither has
FLAGS = re.compile(rf"^#\|\s*(?:{'|'.join(settings['DEFAULT']['tst_flags'].split())})\b", flags=re.M)
THREADS = "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"
CELL_LIMIT = 3600  # seconds

# What must hold after a run: the environment is what it claims to be, and the data of the surroundings are found.
AFTER = f"""
import importlib.util, json, os, sys
import {NAME}
from {NAME}.data import fashion_mnist
assert importlib.util.find_spec("nbdev") is None, "nbdev is there"
assert {NAME}.__file__.startswith(sys.prefix), {NAME}.__file__
table = {{name: (tuple(shape), digest) for name, (shape, digest) in json.loads(sys.argv[1]).items()}}
assert [len(part) for part in fashion_mnist(table=table)] == [shape[0] for shape, _ in table.values()]
if os.path.exists("/kaggle/input"):
    try: open("/kaggle/input/new", "w")
    except OSError: pass
    else: raise AssertionError("/kaggle/input can be written to")
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
            if not each.marker or any(each.marker.evaluate({"extra": extra}) for extra in ("", *requirement.extras)):
                asked.append(each)
    return found


def make_environment(folder):
    "A virtual environment with links to the requirements that are installed here, and nothing else."
    venv.create(folder, symlinks=True, with_pip=True)
    place = Path(run(folder / "bin" / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    config = settings["DEFAULT"]
    found = needed(config["requirements"].split() + config["bench_requirements"].split() + PROVIDED)
    assert not {NAME, "nbdev"} & set(found), "the environment would not be bare"
    for each in found.values():
        for top in {path.parts[0] for path in each.files} - {"..", "__pycache__"}:
            if not (place / top).exists():
                (place / top).symlink_to(each.locate_file(top))


def make_data(data, work):
    "The data as IDX files, as each of the surroundings has them; the table that proves them, and the mirror's host."
    from fmnist.data import FILES, MIRRORS, fashion_mnist, fashion_mnist_sample, save_idx_file  # not in a run, where it must not be

    table = {}
    for name, array in zip(FILES, fashion_mnist() if data == "full" else fashion_mnist_sample()):
        paths = [work / surroundings / place.format(name) for surroundings, (_, place, _) in SURROUNDINGS.items()]
        for path in paths:
            save_idx_file(path, array)
        table[name] = array.shape, hashlib.sha256(paths[0].read_bytes()).hexdigest()
    mirror = urlsplit(MIRRORS[0])
    assert (mirror.scheme, mirror.path) == ("http", "/"), "the mirror is served at port 80, from its top"
    return table, mirror.hostname


def make_repository(folder, files):
    "A repository of the files as they are now, which git takes for the project's address; the file that says so."
    for path in files:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, folder / path)
    git = "git", "-c", "user.name=nobody", "-c", "user.email=nobody@localhost", "-c", "init.defaultBranch=main"
    for command in (["init", "-q"], ["add", "-A", "-f"], ["commit", "-q", "-m", "As it is"]):
        run(*git, *command, cwd=folder)
    config = folder.with_name("gitconfig")
    run("git", "config", "--file", config, f"url.file://{folder}.insteadOf", URL)
    run("git", "config", "--file", config, "safe.directory", "*")
    return config


def prepare(data, work):
    "All that runs share, below `work`; what `inside` must know of it."
    make_environment(work / "env")
    table, mirror = make_data(data, work)
    wheel = build(work / "dist")[0]
    for surroundings, (_, _, place) in SURROUNDINGS.items():
        if place:
            target = work / surroundings / place.format(wheel.name)
            target.parent.mkdir(parents=True)
            shutil.copy(wheel, target)
    # pip builds what git gives it with setuptools from the registry, which is not there
    run(sys.executable, "-m", "pip", "download", "-q", "--dest", work / "registry", "setuptools", "wheel")
    kernel = work / "jupyter" / "kernels" / "alone" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    kernel.write_text(json.dumps({"argv": [str(work / "env/bin/python"), "-m", "ipykernel_launcher", "-f", "{connection_file}"], "display_name": "alone", "language": "python"}))
    return {"data": data, "work": str(work), "table": table, "mirror": mirror, "git": str(make_repository(work / "repository", tracked()))}


# --- a run, in namespaces of its own ---


def mount(*arguments):
    run("mount", *arguments)


def start_loopback():
    "A new network namespace has its loopback switched off."
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        fcntl.ioctl(s, 0x8914, struct.pack("16sH14x", b"lo", 0x1))  # SIOCSIFFLAGS, IFF_UP


def surround(surroundings, shared, own):
    "Make this process's mounts and network those of the surroundings; the folder for the notebook."
    work, folder = Path(shared["work"]), Path(SURROUNDINGS[surroundings][0])
    start_loopback()
    shutil.copytree(work / "env", own / "env", symlinks=True)  # installing must not change that of the others
    mount("--bind", own / "env", work / "env")
    for path in (*(path for path in HIDDEN if path.exists()), Path("/", folder.parts[1])):
        mount("-t", "tmpfs", "tmpfs", path)
    folder.mkdir(exist_ok=True)
    if folder.parts[1] == "kaggle":
        Path("/kaggle/input").mkdir()
        mount("--bind", work / surroundings, "/kaggle/input")
        mount("-o", "remount,bind,ro", "/kaggle/input")
    else:
        (own / "hosts").write_text(f"127.0.0.1 localhost {shared['mirror']}\n")
        mount("--bind", own / "hosts", "/etc/hosts")
        handler = functools.partial(QuietHandler, directory=work / surroundings)
        threading.Thread(target=ThreadingHTTPServer(("127.0.0.1", 80), handler).serve_forever, daemon=True).start()
    return folder


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def inside(notebook, surroundings, shared, own):
    "Run one notebook; its seconds. A failure ends the process with the cell and its traceback."
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    shared, own = json.loads(shared), Path(own)
    document = nbformat.read(ROOT / NOTEBOOKS / notebook, as_version=4)
    numbers = dict(enumerate(document.cells))
    if shared["data"] == "sample":
        numbers = {number: cell for number, cell in numbers.items() if not (cell.cell_type == "code" and FLAGS.search(cell.source))}
    document.cells = list(numbers.values())
    folder, python = surround(surroundings, shared, own), Path(shared["work"], "env/bin/python")
    installed = lambda: {path.name for path in python.parents[1].glob("lib/*/site-packages/*")} - {"__pycache__"}
    before, last = installed(), {}
    assert not any(name.startswith(NAME) for name in before)
    nbformat.write(document, folder / notebook)
    client = NotebookClient(document, timeout=CELL_LIMIT, kernel_name="alone", resources={"metadata": {"path": str(folder)}}, on_cell_start=lambda cell, cell_index: last.update(at=cell_index))
    started = time.perf_counter()
    try:
        client.execute()
    except Exception as error:
        said = re.sub(r"\x1b\[[\d;]*m", "", "\n".join(error.traceback.splitlines()[-60:]) if isinstance(error, CellExecutionError) else repr(error))
        setup = "".join(output.get("text", "") for cell in document.cells if cell.id == "setup" for output in cell.outputs)
        sys.exit(f"{NOTEBOOKS}/{notebook} in {surroundings}, cell {list(numbers)[last['at']]}:\n{said}\nThe setup cell said:\n{setup}")
    seconds = time.perf_counter() - started
    nbformat.write(document, own / notebook)
    if changed := [name for name in before ^ installed() if not name.lower().startswith(NAME)]:
        sys.exit(f"{NOTEBOOKS}/{notebook} in {surroundings}: the setup cell changed what is installed: {', '.join(changed)}")
    run(python, "-I", "-c", AFTER, json.dumps(shared["table"]), cwd=folder)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(seconds, used.ru_utime + used.ru_stime)


# --- the matrix ---


def one(notebook, surroundings, shared, threads, keep):
    "A run as a process of its own: its seconds, or None after a failure, which is printed."
    own = Path(tempfile.mkdtemp(dir=shared["work"]))
    (own / "home").mkdir()
    (own / "tmp").mkdir()
    work, inherited = Path(shared["work"]), {key: os.environ[key] for key in ("FMNIST_BUDGET", "LANG", *THREADS) if key in os.environ}
    environment = inherited | threads | {
        "PATH": f"{work / 'env/bin'}:{os.defpath}:/usr/sbin:/sbin", "HOME": str(own / "home"), "TMPDIR": str(own / "tmp"), "JUPYTER_PATH": str(work / "jupyter"),
        "MPLCONFIGDIR": str(work / "matplotlib"),  # its list of fonts takes seconds to make
        "PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(work / "registry"), "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore",
        "GIT_CONFIG_GLOBAL": shared["git"],
    }  # fmt: skip
    done = subprocess.run(["unshare", "--mount", "--net", sys.executable, __file__, "inside", notebook, surroundings, json.dumps(shared), own], env=environment, capture_output=True, text=True)
    seconds, processor = (None, None) if done.returncode else map(float, done.stdout.split()[-2:])
    print(f"{surroundings}, {notebook}: " + ("FAILED" if seconds is None else f"{seconds:.0f} s, {processor:.0f} s of processor time"), flush=True)
    if seconds is None:
        print(done.stdout + done.stderr, flush=True)
    elif keep:
        target = Path(keep) / surroundings.replace(" ", "_")
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(own / notebook, target)
    shutil.rmtree(own)
    return seconds


def main():
    names = sorted(path.name for path in (ROOT / NOTEBOOKS).glob("*.ipynb"))
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", choices=["sample", "full"], default="sample", help="sample: without the cells that need the full data, time or a GPU (default)")
    parser.add_argument("--notebook", nargs="+", choices=names, default=names, metavar="NOTEBOOK", help="only these, as 01_data.ipynb")
    parser.add_argument("--surroundings", nargs="+", choices=SURROUNDINGS, default=list(SURROUNDINGS), help="only these")
    parser.add_argument("--workers", type=int, help="runs at a time (default: one for each core with the sample, one with the full data)")
    parser.add_argument("--keep", metavar="FOLDER", help="keep the notebooks with what they printed")
    options = parser.parse_args()
    if not shutil.which("unshare") or subprocess.run(["unshare", "--mount", "--net", "true"], capture_output=True).returncode:
        sys.exit("Runs need mounts and a network of their own: run this on Linux as root (sudo .venv/bin/python .ci/run_all.py), in a container with the capability SYS_ADMIN.")
    workers = options.workers or (1 if options.data == "full" else os.cpu_count())
    threads = dict.fromkeys(THREADS, "1") if workers > 1 else {}
    new = [path for path in (Path("/kaggle"), Path("/content")) if not path.exists()]  # empty; what is in them is seen by the runs alone
    for path in new:
        path.mkdir()
    try:
        with tempfile.TemporaryDirectory() as work, ThreadPoolExecutor(workers) as pool:
            shared = prepare(options.data, Path(work))
            pairs = [(notebook, surroundings) for surroundings in options.surroundings for notebook in options.notebook]
            took = dict(zip(pairs, pool.map(lambda pair: one(*pair, shared, threads, options.keep), pairs)))
    finally:
        for path in new:
            path.rmdir()
    print(f"\n| seconds, {options.data} data | {' | '.join(options.surroundings)} |\n|---|{'---|' * len(options.surroundings)}")
    for notebook in options.notebook:
        cells = [took[notebook, surroundings] for surroundings in options.surroundings]
        print(f"| {notebook} | {' | '.join('failed' if seconds is None else f'{seconds:.0f}' for seconds in cells)} |")
    sys.exit(None in took.values())


if __name__ == "__main__":
    inside(*sys.argv[2:]) if sys.argv[1:2] == ["inside"] else main()
