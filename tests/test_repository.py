"The repository keeps its promises (.ci/check.py), and .ci/docs.py does what it says."
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NO_SITE = "smalldocs needs Python 3.11"
sys.path.insert(0, str(ROOT / ".ci"))
import check


@pytest.mark.parametrize("promise", check.CHECKS, ids=lambda promise: promise.__name__)
def test_promise(promise):
    problems = list(promise())
    assert not problems, "\n" + "\n".join(problems)


# --- the tools themselves, on a project of two pages ---

INDEX = [
    "# Tiny\n\n> A project of two pages",
    "See [the data](01_data.ipynb#sums), `double()`, [`double`](01_data.ipynb), an epoch, "
    "an epoch\n\n"
    "and [settings](../settings.ini).",
]
EQUATION = "$$\\begin{aligned} s &= \\sum_i x_i \\\\ m &= \\frac{s}{n} \\end{aligned}$$"
DATA = [
    "# Data\n\n> Sums",
    f"## Sums\n\n{EQUATION}",
    "## Summary\n\nOne sum.",
    "## Exercises\n\nAnother.",
]
WORDS = ["# Words\n\n> What they mean", "- **epoch**: one pass over *all* images"]
CODE = """def double(
    number: int = 1,  # what to double
) -> int:  # twice the number
    "Double a number."
    return 2 * number
"""


def write_notebook(path, texts, *codes):
    "Write a clean notebook of Markdown cells, then code cells."
    empty = {"cell_type": "markdown", "metadata": {}}
    cells = [{**empty, "source": text.splitlines(True)} for text in texts]
    empty = {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": []}
    cells += [{**empty, "source": code.splitlines(True)} for code in codes]
    cells = [{**cell, "id": f"cell-{number}"} for number, cell in enumerate(cells)]
    notebook = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(notebook, indent=1, sort_keys=True) + "\n")


def run(project, *command):
    "Run Python in the project; (exit status, all that it printed)."
    command = [sys.executable, *command]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def project(tmp_path):
    "A project of two pages and a glossary, exported, with our settings and our tools."
    for folder in ("nbs", "tests", check.NAME):
        (tmp_path / folder).mkdir()
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    for file in ("settings.ini", "pyproject.toml", "nbs/_quarto.yml", "nbs/styles.css"):
        shutil.copy(ROOT / file, tmp_path / file)
    shutil.copy(ROOT / "nbs" / "favicon.svg", tmp_path / "nbs")
    write_notebook(tmp_path / "nbs" / "index.ipynb", INDEX)
    write_notebook(tmp_path / "nbs" / "00_glossary.ipynb", WORDS)
    write_notebook(
        tmp_path / "nbs" / "01_data.ipynb", DATA, "#| default_exp data", f"#| exports\n{CODE}"
    )
    export = "from nbdev.doclinks import nbdev_export; nbdev_export()"
    for command in ([".ci/notebooks.py"], ["-c", export]):
        status, said = run(tmp_path, *command)
        assert status == 0, said
    return tmp_path


def build(project):
    "Build the site; skipped where its tools do not exist."
    pytest.importorskip("smalldocs", reason=NO_SITE)
    return run(project, ".ci/docs.py")


def test_site(project):
    def files():
        return {path for path in project.rglob("*") if "__pycache__" not in path.parts}

    before = files()
    status, said = build(project)
    assert status == 0, said
    made = {path.relative_to(project).parts[0] for path in files() - before}
    assert made == {"_docs", "README.md"}
    page = (project / "_docs" / "data.html").read_text()
    assert "<mfrac>" in page and "katex" not in page and 'src="http' not in page
    owner = "{user}/{repo}/blob/{branch}".format(**check.settings)
    address = f"github.com/{owner}/nbs/01_data.ipynb"
    assert f"https://kaggle.com/kernels/welcome?src=https://{address}" in page
    assert f"https://colab.research.google.com/{address.replace('.com', '')}" in page
    assert page.count("what to double") == page.count("Double a number.") == 1
    assert page.index('id="double"') < page.index('class="exported"')
    api = (project / "_docs" / "api.html").read_text()
    assert 'href="data.html#double"' in api and "Double a number." in api
    assert f"github.com/{owner}/{check.NAME}/data.py#L" in api
    index = (project / "_docs" / "index.html").read_text()
    assert 'href="data.html#sums"' in index and index.count('href="data.html#double"') == 1
    assert index.count('title="one pass over all images"') == 1


def test_links_of_words():
    pytest.importorskip("smalldocs", reason=NO_SITE)
    import docs

    words = {"batch": "some images"}
    code = "   ```python\n   def f():\n       batch = 1\n   ```\n"  # in a folded solution
    said = f"# batch\n`batch` $batch$ [batch](x)\n\n{code}\nbatches, a batch, a batch"
    linked = said.replace("a batch, ", 'a [batch](glossary.ipynb "some images"){.term}, ')
    assert docs.with_words(words, said) == linked and not words


BROKEN = {
    "[gone](99_gone.ipynb)": "broken link gone.ipynb",
    "[gone](01_data.ipynb#nowhere)": "index.html: broken link data.html#nowhere",
    "[gone](../GONE.md)": "/GONE.md",
    f"<p>{'heavy ' * 250_000}</p>": "more than 1,500,000 bytes: make its pictures smaller",
}
UNKNOWN = {"$\\nosuchcommand x$": "does not know \\nosuchcommand"}


@pytest.mark.parametrize("faults", [BROKEN, UNKNOWN], ids=["page", "equation"])
def test_faulty_page_stops_the_build(project, faults):
    (project / "_docs").mkdir()
    (project / "_docs" / "old.html").write_text("the site of yesterday")
    write_notebook(project / "nbs" / "index.ipynb", [*INDEX, *faults])
    status, output = build(project)
    assert status == 1 and all(said in output for said in faults.values()), output
    assert [path.name for path in (project / "_docs").iterdir()] == ["old.html"]
    assert not (project / "README.md").exists()


def test_readme(project):
    pytest.importorskip("smalldocs", reason=NO_SITE)
    assert run(project, ".ci/docs.py", "readme")[0] == 0
    first = (project / "README.md").read_bytes()
    site = "https://{user}.github.io/{repo}".format(**check.settings)
    for text in (
        f"[the data]({site}/data.html#sums)",
        "[settings](settings.ini)",
    ):
        assert text in first.decode()
    assert run(project, ".ci/docs.py", "readme")[0] == 0
    assert (project / "README.md").read_bytes() == first


def test_check_is_silent_then_names_every_fault(project):
    status, said = run(project, ".ci/check.py")
    assert status == 0 and not said, said
    codes = "import nbdev", "import math\nprint(math.pi)", "#| export\ndef f(): pass"
    packed = "y = 'x' * (1 < 2)\nz = 1 if 2 else 3 if 4 else 5\nw = [v for u in [1] if (v := u)]"
    codes += "x = 1\n" * 11, packed, f"a = {'1' * 100}"
    merged = [*INDEX, "<<<<<<< HEAD", "======="]
    write_notebook(project / "nbs" / "index.ipynb", merged, *codes)
    wide = f"1. How?\n\n   ```python\n   {'c' * 101}\n   ```"
    write_notebook(project / "nbs" / "02_more.ipynb", ["# More\n\n> Of it", wide], "x = (")
    path = project / "nbs" / "01_data.ipynb"
    notebook = json.loads(path.read_text())
    code = next(cell for cell in notebook["cells"] if cell["cell_type"] == "code")
    output = {"output_type": "stream", "name": "stdout", "text": ["saved in /home/me/run"]}
    code |= {"outputs": [output], "metadata": {"scrolled": True}}
    for cell in notebook["cells"]:
        cell.pop("id")  # as some editors save it
    path.write_text(json.dumps(notebook))
    faulty = CODE.replace("  # what to double", "").replace('    "Double a number."\n', "")
    faulty += 'class Pair(NamedTuple):\n    "Two."\n    first: int = "one"\n'
    (project / check.NAME / "stale.py").write_text("# AUTOGENERATED")
    about = '# AUTOGENERATED\nfrom typing import NamedTuple\n__all__ = ["double", "Pair"]\n'
    (project / check.NAME / "data.py").write_text(about + faulty)
    status, said = run(project, ".ci/check.py")
    assert status == 1
    for fault in (
        f"{check.NAME}/data.py is not as nbdev makes it: run `nbdev_export` and `nbdev_clean`",
        f"{check.NAME}/stale.py is made from no notebook of today: delete it",
        "nbs/01_data.ipynb is not as nbdev makes it",
        "shows the path /home/me/run",
        "nbs/index.ipynb lacks its badges or setup cell: run `python .ci/notebooks.py`",
        "nbs/index.ipynb, cell 2 is left from a merge",
        "nbs/index.ipynb, cell 3 is left from a merge",
        "`nbdev` is banned: a reader does not have it",
        "nbs/index.ipynb, cell 5 mixes imports",
        "nbs/index.ipynb, cell 6 hides a function",
        "nbs/02_more.ipynb:cell 3:1:6: invalid-syntax",
        f"nbs/02_more.ipynb, cell 1: `{'c' * 40}...` is over 100 columns: break the line",
        "nbs/index.ipynb, cell 7 is long",
        *(f"nbs/index.ipynb, cell 8, line {line} is packed" for line in (1, 2, 3)),
        "E501 Line too long (104 > 100)",
        "data:double: no docstring",
        "data:double(number): no docment",
        "data:Pair(first): no docment",
        'expression has type "str", variable has type "int")  [assignment]: mend it',
    ):
        assert fault in said, (fault, said)
