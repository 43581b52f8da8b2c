"""What to do with a GPU that is lent for some minutes: each step a process, its output a file.

    python .ci/gpu.py FOLDER                 on a GPU, nine minutes at most
    python .ci/gpu.py FOLDER --twin          the same steps on the CPU with the sample, in seconds
    python .ci/gpu.py FOLDER --also "..."    one more step, a shell command, in the time that is left

It needs PyTorch, NumPy, SciPy and matplotlib, and the data where `fmnist.data` finds them (FMNIST_DATA=folder).
Pure Python wheels in .gpu/ are used as they lie, for a machine that has no network:
`pip download --no-deps --dest .gpu array-api-compat fastcore`.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = "import sys; from {module} import {name}; {name}(sys.argv[1:])"
WHERE = "import sys, torch; print(sys.version, torch.__version__, torch.cuda.is_available())"


def command(module, name, *words):
    "A console script of the package, installed or not."
    return [sys.executable, "-c", SCRIPT.format(module=module, name=name), *map(str, words)]


def speedrun(folder, name, *words, twin):
    "Runs against the clock, whose record goes into a file of its own."
    where = ["--sample", "--device", "cpu", "--threads", 1] if twin else ["--device", "cuda"]
    return command(
        "fmnist.speedrun", "fmnist_speedrun", *words, *where, "--save", folder / f"{name}.jsonl"
    )


def steps(folder, twin):
    "Name, seconds at most, and command of each step, the most wanted first."
    few = ["--runs", 2, "--epochs", 1] if twin else None
    bench = (
        ["--sample", "--rounds", 1, "--threads", 1]
        if twin
        else ["--device", "cuda", "--threads", 1]
    )

    def run(name, *words):
        return speedrun(folder, name, *(few or words), twin=twin)

    yield "where", 30, [sys.executable, "-c", WHERE]
    yield "fast", 150, run("fast", "--runs", 20)
    yield "bench", 90, command("fmnist.benchmarks", "fmnist_bench", "cnn", *bench)
    yield "cells", 60, [sys.executable, __file__, folder, "--cells"]
    yield "fast95", 150, run("fast95", "--runs", 10, "--epochs", 16, "--target", 95)
    if not twin:
        yield "best", 400, run("best", "--runs", 10, "--recipe", "best", "--target", 96)


def environment():
    "The package from here, and wheels that were carried."
    wheels = sorted(map(str, (ROOT / ".gpu").glob("*.whl")))
    path = os.pathsep.join(filter(None, [str(ROOT), *wheels, os.environ.get("PYTHONPATH")]))
    return os.environ | {"PYTHONPATH": path, "MPLBACKEND": "agg"}


def run(name, limit, words, folder):
    "One step; what it prints is kept even if its time ran out, and then nothing that it started goes on."
    start = time.monotonic()
    with open(folder / f"{name}.txt", "wb") as file:
        process = subprocess.Popen(
            words,
            shell=isinstance(words, str),
            cwd=ROOT,
            env=environment(),
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout=limit)
        except subprocess.TimeoutExpired:
            code = "out of time"
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return {"step": name, "exit": code, "seconds": round(time.monotonic() - start, 1)}


def sources(path):
    "The cells of a notebook up to its last one flagged `cuda`, as far as a test runs them."
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    texts = [
        "".join(cell["source"])
        for cell in cells
        if cell["cell_type"] == "code" and cell["id"] != "setup"
    ]
    wanted = [
        number for number, text in enumerate(texts) if re.search(r"^#\|\s*cuda", text, flags=re.M)
    ]
    chosen = texts[: wanted[-1] + 1] if wanted else []
    return [
        text
        for text in chosen
        if not re.search(r"^#\|\s*(slow|data|eval:\s*false)", text, flags=re.M)
    ]


def run_cells():
    "All cells flagged `cuda`, each after the cells that it needs; the names of notebooks that fail."
    failed = []
    for path in sorted((ROOT / "nbs").glob("*.ipynb")):
        texts = sources(path)
        if not texts:
            continue
        code = "\n".join(
            line
            for line in "\n\n".join(texts).splitlines()
            if not line.lstrip().startswith(("%", "!"))
        )
        result = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT / "nbs", capture_output=True, text=True
        )
        print(
            f"{path.name}: exit {result.returncode}\n{result.stdout[-2000:]}{result.stderr[-2000:]}",
            flush=True,
        )
        failed += [path.name] if result.returncode else []
    return failed


def main():
    "Run the steps until the time is over; exit 1 if one failed."
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="where the output goes")
    parser.add_argument("--twin", action="store_true", help="on the CPU, with the sample")
    parser.add_argument("--minutes", type=float, default=9, help="all steps together (default: 9)")
    parser.add_argument(
        "--also", action="append", default=[], help="one more step, a shell command"
    )
    parser.add_argument("--cells", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.cells:
        sys.exit(bool(run_cells()))
    folder, end, outcomes = options.folder.resolve(), time.monotonic() + 60 * options.minutes, []
    folder.mkdir(parents=True, exist_ok=True)
    more = [(f"also{number}", 540, words) for number, words in enumerate(options.also, 1)]
    for name, limit, words in [*steps(folder, options.twin), *more]:
        limit = min(limit, end - time.monotonic())
        outcome = (
            run(name, limit, words, folder) if limit > 1 else {"step": name, "exit": "no time left"}
        )
        outcomes.append(outcome)
        print(json.dumps(outcome), flush=True)
    (folder / "steps.json").write_text(json.dumps(outcomes, indent=1) + "\n")
    sys.exit(any(outcome["exit"] not in (0, "out of time", "no time left") for outcome in outcomes))


if __name__ == "__main__":
    main()
