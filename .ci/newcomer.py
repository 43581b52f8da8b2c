"""Do what CONTRIBUTING.md says, word for word; in a clone that may be changed.

    python .ci/newcomer.py [SECTION ...]    all sections, or those with these words in their heading

Blocks run in order: `sh` as it is, but for what .ci/run does as steps of its own; `python` becomes
a new cell, where the line above it says (`nbs/X.ipynb`, below "LINE", as a cell has it); `diff` is
applied; `text` is what the `sh` block before it printed last. After each section all is committed.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ELSEWHERE = "make docs", "make test", ".ci/run"  # steps of .ci/run
BLOCK = re.compile(r"([^\n]*)\n+^```(sh|python|diff|text)\n(.*?)^```$", flags=re.M | re.S)
PLACE = re.compile(r"`(nbs/\w+\.ipynb)`, below \"([^\"]+)\"")
GIT = "git -c user.name=newcomer -c user.email=newcomer@localhost"


def shell(lines):
    "Run lines of the page in the environment, as one script; what it printed."
    print(*lines, sep="\n", flush=True)
    script = "\n".join(["source .venv/bin/activate", *lines])
    run = subprocess.run(["bash", "-ec", script], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    print(run.stdout, flush=True)
    if run.returncode:
        sys.exit("CONTRIBUTING.md: these commands failed")
    return run.stdout


def add_cell(place, code):
    "Put a cell below a heading, as somebody does who edits the notebook."
    if not place:
        sys.exit(f"CONTRIBUTING.md does not say where this belongs:\n{code}")
    path = ROOT / place[1]
    notebook = json.loads(path.read_text(encoding="utf-8"))
    cells = notebook["cells"]
    line = re.compile(rf"^(?:#+ )?{re.escape(place[2])}", flags=re.M)
    below = [n for n, cell in enumerate(cells, 1) if line.search("".join(cell["source"]))]
    cell = {"cell_type": "code", "execution_count": None, "id": f"{len(cells):08x}"}
    cell |= {"metadata": {"scrolled": True}, "outputs": []}  # which `nbdev_clean` strips
    cells.insert(below[0], cell | {"source": code.strip().splitlines(True)})
    text = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8")


def follow(section):
    "Do what one section says."
    printed = ""
    for above, kind, text in BLOCK.findall(section):
        if kind == "sh":
            lines = [line for line in text.splitlines() if not line.startswith(ELSEWHERE)]
            printed = shell(lines)
        elif kind == "python":
            add_cell(PLACE.search(above), text)
        elif kind == "diff":
            command = ["git", "apply", "-p0", "--recount", "--unidiff-zero"]
            subprocess.run(command, cwd=ROOT, input=text, text=True, check=True)
        elif not printed.rstrip().endswith(text.rstrip()):
            sys.exit(f"CONTRIBUTING.md promises\n{text}but it is\n{printed}")
    shell([f"{GIT} add -A", f"{GIT} commit -q --no-verify --allow-empty -m 'As it is'"])


if __name__ == "__main__":
    words, page = sys.argv[1:], (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    sections = [part for part in re.split(r"^(?=##)", page, flags=re.M) if BLOCK.search(part)]
    for section in sections:
        heading = section.partition("\n")[0]
        if not words or any(word in heading for word in words):
            print(f"=== {heading}", flush=True)
            follow(section)
