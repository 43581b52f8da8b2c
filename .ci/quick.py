"""Check and test what changed since origin/main, and what is not committed yet.

    python .ci/quick.py    or: make quick

All checks of the repository; the cells and the solutions of the notebooks that changed; the tests
that changed, or that import what changed. Slow tests, unless they changed, are left to `make test`.
"""

import re
import subprocess
import sys
from pathlib import Path

from package import NAME, ROOT, run

SLOW = ("test_resume", "test_site", "test_solutions", "test_sweeps", "test_try")


def changed():
    "The files that are not as in the last commit that this branch shares with origin/main."
    command = ["git", "merge-base", "HEAD", "origin/main"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    files = run("git", "diff", "--name-only", found.stdout.strip() or "HEAD", cwd=ROOT)
    files += run("git", "ls-files", "--others", "--exclude-standard", cwd=ROOT)
    return [path for path in sorted(set(files.splitlines())) if (ROOT / path).exists()]


def concerned(files):
    "The tests that changed, or that import a module that did."
    names = [re.search(rf"^{NAME}/(\w+)\.py$", path) for path in files]
    modules = "|".join(name[1] for name in names if name) or "(?!)"
    uses = re.compile(rf"^\s*from {NAME}(?:\.| import .*\b)(?:{modules})\b", flags=re.M)
    page = any(path.startswith("nbs/try") for path in files)
    for path in sorted((ROOT / "tests").glob("test_*.py")):
        name = path.relative_to(ROOT).as_posix()
        light = path.stem not in SLOW and uses.search(path.read_text(encoding="utf-8"))
        if name in files or light or (page and path.stem == "test_try"):
            yield name


def commands(files):
    "What to run, as words after `python`."
    notebooks = [path for path in files if re.match(r"nbs/[^/]*\.ipynb$", path)]
    yield [".ci/check.py"]
    for path in notebooks:
        yield [str(Path(sys.executable).with_name("nbdev_test")), "--path", path]
    if stems := " or ".join(path[4:-6] for path in notebooks):
        yield ["-m", "pytest", "-q", "tests/test_solutions.py", "-k", stems]
    if tests := list(concerned(files)):
        yield ["-m", "pytest", "-q", "-n", "2", "--dist", "loadfile", *tests]


if __name__ == "__main__":
    files, failed = changed(), 0
    print(f"{len(files)} files changed: {' '.join(files)}", flush=True)
    for words in commands(files):
        print("---", *words, flush=True)
        failed += subprocess.run([sys.executable, *words], cwd=ROOT).returncode != 0
    sys.exit(failed and f"{failed} of these failed")
