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
CHANGED = """
git diff --name-only --diff-filter=d $(git merge-base HEAD origin/main || echo HEAD)
git ls-files --others --exclude-standard
"""


def concerned(files):
    "The tests that changed, or that import a module that did."
    modules = [Path(path).stem for path in files if re.match(rf"{NAME}/\w+\.py$", path)]
    known = "|".join(modules) or "(?!)"
    uses = re.compile(rf"^\s*from {NAME}(?:\.| import .*\b)(?:{known})\b", flags=re.M)
    page = any(path.startswith("nbs/try") for path in files)
    for path in sorted((ROOT / "tests").glob("test_*.py")):
        name = path.relative_to(ROOT).as_posix()
        light = path.stem not in SLOW and uses.search(path.read_text(encoding="utf-8"))
        if name in files or light or (page and path.stem == "test_try"):
            yield name


def commands(files):
    "What to run, as words after `python`."
    yield [".ci/check.py"]
    stems = [Path(path).stem for path in files if re.match(r"nbs/[^/]*\.ipynb$", path)]
    if stems:
        test = str(Path(sys.executable).with_name("nbdev_test"))
        yield [test, "--file_re", rf"^({'|'.join(stems)})\.ipynb$"]
        pytest = ["-m", "pytest", "-q", "-m", ""]  # those that are left to CI, too
        yield [*pytest, "tests/test_solutions.py", "-k", " or ".join(stems)]
    if tests := list(concerned(files)):
        yield ["-m", "pytest", "-q", "-n", "2", "--dist", "loadfile", *tests]


if __name__ == "__main__":
    files, failed = sorted(run("sh", "-c", CHANGED, cwd=ROOT).splitlines()), 0
    print(f"{len(files)} files changed: {' '.join(files)}", flush=True)
    for words in commands(files):
        print("---", *words, flush=True)
        code = subprocess.run([sys.executable, *words], cwd=ROOT).returncode
        failed += code not in (0, 5)  # 5: pytest had none to run, all are left to CI
    sys.exit(failed and f"{failed} of these failed")
