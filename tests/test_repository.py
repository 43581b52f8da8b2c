"The repository keeps its promises (.ci/check.py), and the documentation build (.ci/docs.py) does what it says."
import json
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / ".ci"))
import check
import hints


@pytest.mark.parametrize("promise", check.CHECKS, ids=lambda promise: promise.__name__)
def test_promise(promise):
    if promise is check.check_hints and f"torch=={version('torch').partition('+')[0]}\n" not in (ROOT / ".ci" / "constraints.txt").read_text():
        pytest.skip("PyTorch's hints change: ours are checked with the version of .ci/constraints.txt")
    problems = promise()
    assert not problems, "\n" + "\n".join(problems)


# --- the tools themselves, on a project of two pages ---

INDEX = ["# Tiny\n\n> A project of two pages", "See [the data](01_data.ipynb#sums), `double` and [settings](../settings.ini).\n\n::: {.callout-note}\n## Mind\nThe gap.\n:::"]
DATA = ["# Data\n\n> Sums", "## Sums\n\n$$\\begin{aligned} s &= \\sum_i x_i \\\\ m &= \\frac{s}{n} \\end{aligned}$$", "## Summary\n\nOne sum.", "## Exercises\n\nAnother."]
CODE = 'def double(\n    number: int = 1,  # what to double\n) -> int:  # twice the number\n    "Double a number."\n    return 2 * number\n'


def write_notebook(path, texts, *codes):
    "Write a clean notebook of Markdown cells, then code cells."
    cells = [{"cell_type": "markdown", "metadata": {}, "source": text.splitlines(True)} for text in texts]
    cells += [{"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [], "source": code.splitlines(True)} for code in codes]
    cells = [{**cell, "id": f"cell-{number}"} for number, cell in enumerate(cells)]
    path.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}, indent=1, sort_keys=True) + "\n")


def run(project, *command):
    "Run Python in the project; (exit status, all that it printed)."
    done = subprocess.run([sys.executable, *command], cwd=project, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def project(tmp_path):
    "A project of two pages, exported, with our settings and our tools."
    for folder in ("nbs", check.PACKAGE):
        (tmp_path / folder).mkdir()
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    for file in ("settings.ini", "nbs/_quarto.yml", "nbs/styles.css", "nbs/favicon.svg"):
        shutil.copy(ROOT / file, tmp_path / file)
    write_notebook(tmp_path / "nbs" / "index.ipynb", INDEX)
    write_notebook(tmp_path / "nbs" / "01_data.ipynb", DATA, "#| default_exp data", f"#| exports\n{CODE}")
    for command in ([".ci/notebooks.py"], ["-c", "from nbdev.doclinks import nbdev_export; nbdev_export()"]):
        status, said = run(tmp_path, *command)
        assert status == 0, said
    return tmp_path


def build(project):
    "Build the site; skipped where its tools do not exist."
    pytest.importorskip("smalldocs", reason="smalldocs needs Python 3.11")
    pytest.importorskip("latex2mathml")
    return run(project, ".ci/docs.py")


def test_site(project):
    before = {path for path in project.rglob("*") if "__pycache__" not in path.parts}
    status, said = build(project)
    assert status == 0, said
    new = {path.relative_to(project).parts[0] for path in project.rglob("*") if path not in before and "__pycache__" not in path.parts}
    assert new == {"_docs", "README.md"}
    page = (project / "_docs" / "data.html").read_text()
    assert "<mfrac>" in page and "katex" not in page and 'src="http' not in page
    owner = check.settings["DEFAULT"]
    address = f"github.com/{owner['user']}/{owner['repo']}/blob/{owner['branch']}/nbs/01_data.ipynb"
    assert f"https://kaggle.com/kernels/welcome?src=https://{address}" in page
    assert f"https://colab.research.google.com/{address.replace('.com', '')}" in page
    assert page.count("what to double") == page.count("Double a number.") == 1  # once, in the source
    assert page.index('id="double"') < page.index('class="exported"')
    api = (project / "_docs" / "api.html").read_text()
    assert 'href="data.html#double"' in api and "Double a number." in api
    assert f"github.com/{owner['user']}/{owner['repo']}/blob/{owner['branch']}/{check.PACKAGE}/data.py#L" in api
    assert 'href="data.html#sums"' in (project / "_docs" / "index.html").read_text()


@pytest.mark.parametrize("text, said", [
    ("[gone](99_gone.ipynb)", "index.html: broken link 99_gone.html"),
    ("[gone](01_data.ipynb#nowhere)", "index.html: broken link data.html#nowhere"),
    ("[gone](../GONE.md)", "/GONE.md"),
    ("$\\nosuchcommand x$", "does not know \\nosuchcommand"),
    ("![far](https://example.org/far.png)", "index.html: needs the network for https://example.org/far.png"),
    ("![](../settings.ini)", "index.html: a picture has no alternative text"),
    (f"<p>{'heavy ' * 250_000}</p>", "more than 1,500,000: make its pictures smaller"),
])  # fmt: skip
def test_faulty_page_stops_the_build(project, text, said):
    (project / "_docs").mkdir()
    (project / "_docs" / "old.html").write_text("the site of yesterday")
    write_notebook(project / "nbs" / "index.ipynb", [*INDEX, text])
    status, output = build(project)
    assert status == 1 and said in output
    assert [path.name for path in (project / "_docs").iterdir()] == ["old.html"] and not (project / "README.md").exists()


def test_readme(project):
    assert run(project, ".ci/docs.py", "readme")[0] == 0
    first = (project / "README.md").read_bytes()
    owner = check.settings["DEFAULT"]
    site = f"https://{owner['user']}.github.io/{owner['repo']}"
    for text in (f"[the data]({site}/data.html#sums)", f"[`double`]({site}/data.html#double)", "[settings](settings.ini)", "> [!NOTE]\n> **Mind**\n>\n> The gap."):
        assert text in first.decode()
    assert run(project, ".ci/docs.py", "readme")[0] == 0
    assert (project / "README.md").read_bytes() == first


PAIR = '''from .tools import patch

class Pair:
    "Two."
    first = 1

def other(): return None

@patch
def total(self: Pair, factor: int = 2) -> int:
    "Their sum, and more."
    return self.first + factor*self.second

Pair.second = 2

def use() -> int: return Pair().total(3)
'''


@pytest.mark.parametrize("right, wrong, said", [
    ("", "", []),
    ("total(3)", "total('x')", ['line 16: Argument 1 to "total" of "Pair" has incompatible type "str"; expected "int"  [arg-type]']),
    ("self.second", "self.third", ['line 12: "Pair" has no attribute "third"  [attr-defined]']),
    ("self.first +", "'x' +", ['line 12: Unsupported operand types for + ("str" and "int")  [operator]']),
])  # fmt: skip
def test_hints_of_what_is_added_to_a_class(tmp_path, right, wrong, said):
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "tools.py").write_text("def patch(f): return f\n")
    (package / "pair.py").write_text(PAIR.replace(right, wrong))
    assert hints.wrong_hints(package) == [f"package/pair.py, {line}" for line in said]


def test_check_is_silent_then_names_every_fault(project):
    assert run(project, ".ci/docs.py", "readme")[0] == 0
    status, said = run(project, ".ci/check.py")
    assert status == 0 and not said, said
    write_notebook(project / "nbs" / "index.ipynb", [INDEX[0] + "\n\nA lost sentence.", *INDEX[1:]], "import nbdev", "import math\nprint(math.pi)", "#| export\ndef f(): pass")
    path = project / "nbs" / "01_data.ipynb"
    notebook = json.loads(path.read_text())
    code = next(cell for cell in notebook["cells"] if cell["cell_type"] == "code")
    code["outputs"] = [{"output_type": "stream", "name": "stdout", "text": ["saved in /home/me/run"]}]
    code["metadata"] = {"scrolled": True}
    notebook["cells"] = [cell for cell in notebook["cells"] if "## Exercises" not in "".join(cell["source"])]
    path.write_text(json.dumps(notebook))
    faulty = CODE.replace("  # what to double", "").replace('    "Double a number."\n', "") + 'class Pair(NamedTuple):\n    "Two."\n    first: int = "one"\n'
    (project / check.PACKAGE / "data.py").write_text(faulty)
    status, said = run(project, ".ci/check.py")
    assert status == 1
    for fault in (
        "README.md is not what nbs/index.ipynb makes: run `python .ci/docs.py readme`",
        f"{check.PACKAGE}/data.py is not what the notebooks export: run `nbdev_export`",
        "nbs/01_data.ipynb is not clean: run `nbdev_clean`",
        "nbs/01_data.ipynb, cell 2 shows the path /home/me/run",
        "nbs/01_data.ipynb must end with `## Summary` and `## Exercises`",
        "nbs/index.ipynb, cell 0 must be `# Title`",
        "nbs/index.ipynb has not the badges and the setup cell that belong to it: run `python .ci/notebooks.py`",
        "nbs/index.ipynb, cell 2 imports nbdev",
        "nbs/index.ipynb, cell 3 mixes imports",
        "nbs/index.ipynb, cell 4 defines a name under `#| export`",
        "double has no docstring",
        "number of double has no comment",
        "first of Pair has no comment",
        'Incompatible types in assignment (expression has type "str", variable has type "int")  [assignment]: mend it in the notebook',
    ):
        assert fault in said
