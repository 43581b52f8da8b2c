"""Do what CONTRIBUTING.md says, command by command, with the changes that it describes; in a clone that may be changed.

    python .ci/newcomer.py

What .ci/run does as steps of its own is left out: `make lab`, `make docs`, `make test` and .ci/run itself.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ELSEWHERE = ("make ", ".ci/run")


def blocks(kind):
    "The fenced blocks of one kind."
    return re.findall(
        rf"^```{kind}\n(.*?)^```$",
        (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"),
        flags=re.M | re.S,
    )


def edit(name, change):
    "Change the list of a notebook's cells, as somebody does who edits it."
    path = ROOT / "nbs" / name
    notebook = json.loads(path.read_text(encoding="utf-8"))
    change(notebook["cells"])
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def say_it_better(cells):
    "Another docstring, and some metadata, which `nbdev_clean` must strip."
    cell = next(
        cell
        for cell in cells
        if any(line.startswith("def confusion_matrix(") for line in cell["source"])
    )
    cell["source"] = [
        re.sub(r'^    "How often .*"', '    "How often each class was taken for which."', line)
        for line in cell["source"]
    ]
    cell["metadata"] = {"scrolled": True}


def add_study(cells):
    "The study of the page, in a cell below its heading."
    below = 1 + next(n for n, cell in enumerate(cells) if "## Your own study\n" in cell["source"])
    cells.insert(
        below,
        {
            "cell_type": "code",
            "execution_count": None,
            "id": "aa57d0e1",
            "metadata": {},
            "outputs": [],
            "source": blocks("python")[0].strip().splitlines(True),
        },
    )


def changed():
    "The files that differ from the last commit, or that git does not know."
    return subprocess.run(
        ["git", "status", "--short"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()[1::2]


def expect(found, wanted):
    "Stop if something else came out than the page says."
    if found != wanted:
        sys.exit(f"CONTRIBUTING.md promises {wanted}, but it is {found}")


def main():
    hooks, change, study, _ = (
        [line for line in block.splitlines() if not line.startswith(ELSEWHERE)]
        for block in blocks("sh")
    )

    def follow(lines):
        print(*lines, sep="\n", flush=True)
        subprocess.run(["bash", "-e", "-c", "\n".join([hooks[0], *lines])], cwd=ROOT, check=True)

    follow(hooks[1:])
    expect(changed(), [])
    edit("02_metrics.ipynb", say_it_better)
    follow(change)
    expect(changed(), ["fmnist/metrics.py", "nbs/02_metrics.ipynb"])
    edit("05d_studies.ipynb", add_study)
    follow(study)
    expect(
        changed(),
        ["fmnist/metrics.py", "fmnist/studies.py", "nbs/02_metrics.ipynb", "nbs/05d_studies.ipynb"],
    )


if __name__ == "__main__":
    main()
