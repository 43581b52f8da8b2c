"""Run notebooks as somebody does who opens one of them alone, on Kaggle or on Colab.

    .venv/bin/python .ci/run_all.py [slow] [cuda] [X.ipynb ...]

Without X every notebook runs in one of the surroundings, and the first in all; X runs in all. Cells
with a flag are left out, but for `data` and the flags that are named. A run has a file system and a
network of its own (by bubblewrap): a read-only /kaggle/input and no network, or /content and a
mirror of the data. Its environment has the requirements, but neither nbdev nor this repository; the
package is not installed until the notebook's setup cell does so.
"""

import itertools
import json
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

from packaging.requirements import Requirement

from package import NAME, ROOT, run, settings

NOTEBOOKS, TOOLS = ROOT / settings["nbs_path"], Path(sys.executable).parent
SURROUNDINGS = "kaggle", "colab", "kaggle-new"  # Kaggle's new layout has a folder for each file
PROVIDED = ["ipykernel", "fastcore"]  # what both have, beside our requirements and the benchmarks'
HIDDEN = [NOTEBOOKS, ROOT / NAME, Path("/usr/share/datasets")]  # what neither has
# On Colab the mirror is a proxy, but not for a notebook's own servers, and somebody has cloned the
# repository beside the notebook.
COLAB = f"""mkdir {NAME}
{sys.executable} -m http.server 8123 -d {{mirror}} 2>/dev/null & trap "kill $!" EXIT
export http_proxy=http://127.0.0.1:8123 no_proxy=127.0.0.1
"""
# A cell that begins with a flag, perhaps after other directives.
FLAGGED = r"([ \t]*(#[ \t]*\|.*|%%.*)?\n)*[ \t]*#[ \t]*\|[ \t]*({})[ \t]*(\n|$)"
# What must hold afterwards: the environment is bare, the package was installed there, and the data
# are found.
RUN = f"""{TOOLS}/jupyter-nbconvert --to notebook --execute --log-level ERROR --stdout {{name}} \
  --ExecutePreprocessor.kernel_name=alone --RegexRemovePreprocessor.enabled=True \
  --RegexRemovePreprocessor.patterns='{{skipped}}' >/dev/null && python -c '
import importlib.util, sys, {NAME}.data
assert not importlib.util.find_spec("nbdev"), "nbdev is there"
assert {NAME}.__file__.startswith(sys.prefix), {NAME}.__file__
{NAME}.data.fashion_mnist()'"""


def needed(names, found):
    "Add these distributions and all that they need, as installed here, to `found`."
    for name in names:
        requirement = Requirement(name)
        if requirement.name not in found:
            found[requirement.name] = distribution(requirement.name)
            for each in found[requirement.name].requires or []:
                marker = Requirement(each).marker
                extras = ("", *requirement.extras)
                if not marker or any(marker.evaluate({"extra": extra}) for extra in extras):
                    needed([each], found)
    return found


def make_environment(folder):
    "A virtual environment with links to the requirements that are installed here, no more."
    venv.create(folder, symlinks=True, with_pip=True)
    place = next(folder.glob("lib/*/site-packages"))
    extras = "requirements", "bench_requirements", "onnx_requirements"
    found = needed(" ".join(settings[each] for each in extras).split() + PROVIDED, {})
    assert not {NAME, "nbdev"} & set(found), "the environment would not be bare"
    for each in found.values():
        for top in {path.parts[0] for path in each.files} - {"..", "__pycache__"}:
            if not (place / top).exists():
                (place / top).symlink_to(each.locate_file(top))


def make_inputs(work):
    "The data and the wheel, where the surroundings have them."
    from fmnist.data import fashion_mnist
    from fmnist.files import FILES, MIRRORS, save_idx_file  # not in a run: there it must be missing

    old, new = work / "kaggle", work / "kaggle-new/datasets"
    for name, array in zip(FILES, fashion_mnist(), strict=True):
        save_idx_file(old / "fashionmnist" / name, array)
        save_idx_file(new / "zalando-research/fashionmnist" / name / name, array)
        save_idx_file(work / "colab" / f"{MIRRORS[0]}{name}.gz", array)
    run(sys.executable, "-m", "build", "--outdir", old / f"{NAME}-wheel", ROOT)
    shutil.copytree(old / f"{NAME}-wheel", new / f"somebody/{NAME}-wheel")


def prepare(work):
    "What runs share, below `work`, beside their inputs."
    make_environment(work / "env")
    run(work / "env/bin/python", "-m", "ipykernel", "install", "--prefix", work, "--name", "alone")
    # pip builds what git gives it with setuptools from the registry, which is not there
    pip = sys.executable, "-m", "pip", "download", "-q", "--dest", work / "registry"
    run(*pip, "setuptools", "wheel")
    for setting in (f"url.file://{ROOT}.insteadOf", settings["git_url"]), ("safe.directory", "*"):
        run("git", "config", "--file", work / "gitconfig", *setting)  # for the setup cell


def sandbox(surroundings, work, own):
    "The words before a command that sees what there is in these surroundings, and no network."
    place = "/content" if surroundings == "colab" else "/kaggle/working"
    words = ["bwrap", "--unshare-net", "--die-with-parent", "--chdir", place]
    for path in Path("/").iterdir():  # all that is here, and room for new folders at the top
        if path.is_dir() and path.name not in ("kaggle", "content"):
            words += ["--dev-bind", path, path]
    for path in filter(Path.exists, HIDDEN):
        words += ["--tmpfs", path]
    if surroundings != "colab":
        words += ["--ro-bind", work / surroundings, "/kaggle/input"]
    return [*words, "--bind", own / "env", work / "env", "--bind", own / "folder", place]


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


def one(name, surroundings, work, skipped):
    "Run one notebook; did it end well?"
    start, own = time.perf_counter(), Path(tempfile.mkdtemp(dir=work))
    (own / "folder").mkdir()
    shutil.copy(NOTEBOOKS / name, own / "folder")
    shutil.copytree(work / "env", own / "env", symlinks=True)  # the others' must not change
    script = RUN.format(name=name, skipped=skipped)
    if surroundings == "colab":
        script = COLAB.format(mirror=work / "colab") + script
    command = [*sandbox(surroundings, work, own), "sh", "-c", script]
    done = subprocess.run(command, env=environment(work, own), capture_output=True, text=True)
    failed = f" FAILED\n{done.stdout}{done.stderr}" if done.returncode else ""
    print(f"{name} in {surroundings}: {time.perf_counter() - start:.0f} s{failed}", flush=True)
    shutil.rmtree(own, ignore_errors=True)
    return not failed


def main(*words):
    names = sorted(path.name for path in NOTEBOOKS.glob("*_*.ipynb")) + ["index.ipynb"]
    chosen, flags = [word for word in words if word in names], settings["tst_flags"].split()
    if unknown := set(words) - {*names, *flags}:
        sys.exit(f"neither a notebook nor a flag: {', '.join(sorted(unknown))}\n\n{__doc__}")
    skipped = json.dumps([FLAGGED.format("|".join({*flags} - {*words, "data"}) or "(?!)")])
    pairs = list(itertools.product(chosen or names[:1], SURROUNDINGS))
    if not chosen:
        pairs += zip(names[1:], itertools.cycle(SURROUNDINGS))
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        work = Path(folder)
        prepare(work)
        make_inputs(work)
        went_well = list(pool.map(lambda pair: one(*pair, work, skipped), pairs))
    print(f"{sum(went_well)} runs went well, {len(pairs) - sum(went_well)} failed")
    sys.exit(not all(went_well))


if __name__ == "__main__":
    main(*sys.argv[1:])
