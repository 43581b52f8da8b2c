"""Do what CONTRIBUTING.md says, word for word; in a clone that may be changed.

    python .ci/newcomer.py [SECTION ...]    all sections, or those with these words in their heading

Blocks run in order: `sh` as it is, but for what .ci/run does as steps of its own; `python` becomes
a new cell, where the line above it says (`nbs/X.ipynb`, below "LINE", as a cell has it); `diff` is
applied; `text` is what the `sh` block before it printed last. After each section all is committed.
"""

import re
import sys

from execnb.nbio import mk_cell, read_nb, write_nb

from package import ROOT, run

ELSEWHERE = "make docs", "make test", ".ci/run"  # steps of .ci/run
BLOCK = re.compile(r"([^\n]*)\n+^```(sh|python|diff|text)\n(.*?)^```$", flags=re.M | re.S)
PLACE = re.compile(r"`(nbs/\w+\.ipynb)`, below \"([^\"]+)\"")
GIT = "git -c user.name=newcomer -c user.email=newcomer@localhost"


def shell(lines):
    "Run lines of the page in the environment, as one script; what it printed."
    print(*lines, sep="\n", flush=True)
    said = run("bash", "-ec", "\n".join(["source .venv/bin/activate", *lines]), cwd=ROOT)
    print(said, flush=True)
    return said


def add_cell(place, code):
    "Put a cell below a heading, as somebody does who edits the notebook."
    if not place:
        sys.exit(f"CONTRIBUTING.md does not say where this belongs:\n{code}")
    notebook = read_nb(ROOT / place[1])
    line = re.compile(rf"^(?:#+ )?{re.escape(place[2])}", flags=re.M)
    below = [number for number, cell in enumerate(notebook.cells, 1) if line.search(cell.source)]
    cell = mk_cell(code.strip(), metadata={"scrolled": True})  # which `nbdev_clean` strips
    notebook.cells.insert(below[0], cell)
    write_nb(notebook, ROOT / place[1])


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
            run("git", "apply", "-p0", "--recount", "--unidiff-zero", cwd=ROOT, input=text)
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
