"""Check what the repository promises; one sentence, with its remedy, for each promise that is broken.

    python .ci/check.py

Nothing here changes the working tree: what has to be run, runs in a temporary copy, and is compared.
"""
import ast
import base64
import configparser
import contextlib
import io
import json
import re
import shutil
import subprocess
import sys
import tempfile
import tokenize
from pathlib import Path

from hints import wrong_hints

ROOT = Path(__file__).resolve().parents[1]
PICTURE_LIMIT = 50_000  # bytes of one stored PNG
settings = configparser.ConfigParser(delimiters=["="])
settings.read(ROOT / "settings.ini", encoding="utf-8")
PACKAGE = settings["DEFAULT"]["lib_path"]


def notebooks():
    "Every notebook as (path in the repository, cells); a cell's source is one string."
    for path in sorted((ROOT / "nbs").glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        yield f"nbs/{path.name}", [{**cell, "source": "".join(cell["source"])} for cell in cells]


@contextlib.contextmanager
def copy_after(*command, without=()):
    "A temporary copy of the project, less the files `without`, in which `python command` has run."
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder).resolve()
        for part in ("settings.ini", "nbs", PACKAGE, ".ci"):
            source = ROOT / part
            (shutil.copytree if source.is_dir() else shutil.copy)(source, copy / part)
        for path in without:
            (copy / path).unlink()
        run = subprocess.run([sys.executable, *command], cwd=copy, capture_output=True, text=True)
        if run.returncode:
            raise RuntimeError(f"`python {' '.join(command)}` fails: mend this first\n{run.stderr}")
        yield copy


def different(copy, pattern):
    "The paths matching `pattern` whose content in the copy is not that of the repository, or that only one of them has."
    paths = {path.relative_to(top) for top in (ROOT, copy) for path in top.glob(pattern)}
    content = lambda path: path.read_bytes() if path.exists() else None
    return sorted(path.as_posix() for path in paths if content(ROOT / path) != content(copy / path))


def check_readme():
    "README.md and its pictures are those that nbs/index.ipynb makes."
    with copy_after(".ci/docs.py", "readme") as copy:
        files = different(copy, "README.md") + different(copy, "nbs/index_files/*")
    return [f"{file} is not what nbs/index.ipynb makes: run `python .ci/docs.py readme`" for file in files]


def check_package():
    "The modules are those that the notebooks export."
    modules = [path.relative_to(ROOT) for path in (ROOT / PACKAGE).glob("*.py") if path.name != "__init__.py"]
    with copy_after("-c", "from nbdev.doclinks import nbdev_export; nbdev_export()", without=modules) as copy:
        files = different(copy, f"{PACKAGE}/*.py")
    return [f"{file} is not what the notebooks export: run `nbdev_export`, or delete a module that has no notebook" for file in files]


def check_clean():
    "The notebooks hold no metadata of the session that wrote them."
    with copy_after("-c", "from nbdev.clean import nbdev_clean; nbdev_clean()") as copy:
        return [f"{file} is not clean: run `nbdev_clean`" for file in different(copy, "nbs/*.ipynb")]


def check_notebooks():
    "The notebooks hold the badges and the setup cell that settings.ini asks for, and badges, theirs and README.md's, lead to files."
    with copy_after(".ci/notebooks.py") as copy:
        problems = [f"{file} has not the badges and the setup cell that belong to it: run `python .ci/notebooks.py`" for file in different(copy, "nbs/*.ipynb")]
    texts = {name: cell["source"] for name, cells in notebooks() for cell in cells if cell["id"] == "badges"}
    texts["README.md"] = (ROOT / "README.md").read_text(encoding="utf-8")
    for name, text in texts.items():
        for path in re.findall(rf"\]\(https://(?:colab|kaggle)\.[^)]*/blob/{settings['DEFAULT']['branch']}/([^)]*)\)", text):
            if not (ROOT / path).is_file():
                problems.append(f"a badge of {name} leads to {path}, which does not exist: mend nbs_path or readme_nb in settings.ini")
    return problems


def check_outputs():
    "Stored outputs are small, free of errors, and say nothing of the machine that made them."
    problems = []
    place = re.compile(rf"(?<![\w.:/])/(?:home|root|tmp|Users|content|{re.escape(ROOT.parts[1])})/[\w./-]*")
    for name, cells in notebooks():
        for number, output in ((number, output) for number, cell in enumerate(cells) for output in cell.get("outputs", [])):
            where = f"{name}, cell {number}"
            data = output.get("data", {})
            texts = [output.get("text", ""), *(value for kind, value in data.items() if kind.startswith("text"))]
            for path in sorted({path for text in texts for path in place.findall("".join(text))}):
                problems.append(f"{where} shows the path {path}: print a relative one, and run the cell again")
            if (size := len(base64.b64decode("".join(data.get("image/png", ""))))) > PICTURE_LIMIT:
                problems.append(f"{where} holds a PNG of {size // 1000} kB: draw it with a lower dpi, {PICTURE_LIMIT // 1000} kB at most")
            if output["output_type"] == "error":
                problems.append(f"{where} ended in {output['ename']}: mend it, and run the notebook again")
    return problems


def check_cells():
    "A reader can run every cell without nbdev, and the site shows all text and code, and runs no more than it must."
    problems = []
    for name, cells in notebooks():
        lost = [line for line in cells[0]["source"].splitlines() if line.strip() and not re.match(r"# |> |- \w+:", line)]
        if lost or not cells[0]["source"].startswith("# "):
            problems.append(f"{name}, cell 0 must be `# Title` and one line `> sentence`, no more: nbdev drops the rest; move it to a cell of its own")
        headings = [line for cell in cells if cell["cell_type"] == "markdown" for line in re.findall(r"^## .*", cell["source"], flags=re.M)]
        if not name.endswith("index.ipynb") and headings[-2:] != ["## Summary", "## Exercises"]:
            problems.append(f"{name} must end with `## Summary` and `## Exercises`: write what is missing")
        for number, cell in ((number, cell) for number, cell in enumerate(cells) if cell["cell_type"] == "code"):
            if re.search(r"^\s*(?:from|import)\s+nbdev\b", cell["source"], flags=re.M):
                problems.append(f"{name}, cell {number} imports nbdev, which a reader does not have: delete the import")
            kinds = {type(node) for node in ast.walk(ast.parse(re.sub(r"^(\s*)[%!].*", r"\1pass", cell["source"], flags=re.M)))}
            if re.search(r"^#\|\s*export\s*$", cell["source"], flags=re.M) and kinds & {ast.FunctionDef, ast.ClassDef}:
                problems.append(f"{name}, cell {number} defines a name under `#| export`, which hides its code on the site: write `#| exports`")
            if not re.search(r"^#\|\s*(?:export|eval:\s*false)", cell["source"], flags=re.M):
                if kinds & {ast.Import, ast.ImportFrom} and kinds & {ast.Expr, ast.Assign}:
                    problems.append(f"{name}, cell {number} mixes imports with other code, so nbdev would run it for the documentation: split it")
    return problems


def undocumented(node, owner, comments):
    "The names in a class or function without a docstring, or without a comment beside or above a parameter or field."
    name = f"{owner}{node.name}"
    special = node.name.startswith("__")
    if not special and not ast.get_docstring(node):
        yield f"{name} has no docstring"
    if isinstance(node, ast.ClassDef):
        fields = [(field.target.id, field) for field in node.body if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)]
    else:
        given = node.args
        fields = [(each.arg, each) for each in (*given.posonlyargs, *given.args, given.vararg, *given.kwonlyargs, given.kwarg) if each]
        fields = [(label, field) for label, field in fields if label not in ("self", "cls")]
        if special and node.name not in ("__init__", "__call__"):
            fields = []
    lines = [field.lineno for _, field in fields]
    for label, field in fields:
        beside = lines.count(field.lineno) == 1 and field.end_lineno in comments
        if not label.startswith("_") and not beside and comments.get(field.lineno - 1) != "alone":
            yield f"{label} of {name} has no comment of its own"
    for part in node.body if isinstance(node, ast.ClassDef) else []:
        if isinstance(part, (ast.FunctionDef, ast.ClassDef)) and not re.match(r"_(?!_)", part.name):
            yield from undocumented(part, f"{name}.", comments)


def check_documented():
    "Every public class, function, parameter and field of the package is documented where it is defined."
    problems = []
    for path in sorted((ROOT / PACKAGE).glob("[!_]*.py")):
        text = path.read_text(encoding="utf-8")
        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        comments = {t.start[0]: "alone" if t.line.strip() == t.string else "beside" for t in tokens if t.type == tokenize.COMMENT}
        for node in ast.parse(text).body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
                problems += [f"{PACKAGE}/{path.name}: {gap}: write it in the notebook" for gap in undocumented(node, "", comments)]
    return problems


def check_hints():
    "The package's type hints are right, as far as mypy can tell."
    return [f"{said}: mend it in the notebook" for said in wrong_hints(ROOT / PACKAGE)]


CHECKS = [check_notebooks, check_readme, check_package, check_clean, check_outputs, check_cells, check_documented, check_hints]


def main():
    "Run every check, also after one that could not finish; exit with all that was found."
    found = []
    for check in CHECKS:
        try:
            found += check()
        except RuntimeError as error:
            found.append(str(error))
    sys.exit("\n".join(found) or 0)


if __name__ == "__main__":
    main()
