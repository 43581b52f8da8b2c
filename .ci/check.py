"""Check what the repository promises; one sentence, with its remedy, for each broken promise.

    python .ci/check.py

Nothing here changes the working tree: what has to be run, runs in a temporary copy.
"""

import ast
import base64
import functools
import io
import json
import re
import shutil
import subprocess
import sys
import tempfile
import tokenize
from pathlib import Path

import docs
from notebooks import incomplete
from package import NAME, ROOT, settings
from style import check_style, plain_modules

PICTURE_LIMIT = 50_000  # bytes of one stored PNG
MERGE = re.compile(r"^(?:<<<<<<<|=======|>>>>>>>)(?: .*)?$", flags=re.M)


def notebooks():
    "Every notebook as (path in the repository, cells); a cell's source is one string."
    for path in sorted((ROOT / settings["nbs_path"]).glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        yield f"nbs/{path.name}", [{**cell, "source": "".join(cell["source"])} for cell in cells]


def code_cells():
    "Every code cell as (where it is, cell)."
    for name, cells in notebooks():
        for number, cell in enumerate(cells):
            if cell["cell_type"] == "code":
                yield f"{name}, cell {number}", cell


@functools.cache
def exported_and_clean():
    "The contents of modules and notebooks, {path: bytes}, after nbdev has made and cleaned them."
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder).resolve()
        shutil.copy(ROOT / "settings.ini", copy)
        shutil.copytree(ROOT / "nbs", copy / "nbs")
        (copy / NAME).mkdir()
        for path in (ROOT / NAME / "__init__.py", *plain_modules()):
            shutil.copy(path, copy / NAME)
        code = "from nbdev.doclinks import nbdev_export"
        code += "; from nbdev.clean import nbdev_clean; nbdev_export(); nbdev_clean()"
        command = [sys.executable, "-c", code]
        run = subprocess.run(command, cwd=copy, capture_output=True, text=True)
        if run.returncode:
            raise RuntimeError(f"nbdev_export or nbdev_clean fails: mend this first\n{run.stderr}")
        made = [*copy.glob(f"{NAME}/*.py"), *copy.glob("nbs/*.ipynb")]
        return {path.relative_to(copy).as_posix(): path.read_bytes() for path in made}


def check_readme():
    "README.md and its pictures are those that nbs/index.ipynb makes."
    made = docs.build_readme()
    there = [
        "README.md",
        *(f"{docs.PICTURES}/{each.name}" for each in (ROOT / docs.PICTURES).glob("*")),
    ]
    for file in sorted({*made, *there}):
        path = ROOT / file
        if not path.exists() or path.read_bytes() != made.get(file):
            yield f"{file} is not what nbs/index.ipynb makes: run `python .ci/docs.py readme`"


def check_package():
    "The modules are those that the notebooks export, or plain ones with tests of their own."
    made = {path: text for path, text in exported_and_clean().items() if path.endswith(".py")}
    there = {path.relative_to(ROOT).as_posix() for path in (ROOT / NAME).glob("*.py")}
    for file in sorted(made.keys() | there):
        if file not in made:
            yield f"{file} is made from no notebook of today: delete it"
        elif file not in there or (ROOT / file).read_bytes() != made[file]:
            yield f"{file} is not what the notebooks export: run `nbdev_export`"
    for path in plain_modules():
        tests = re.findall(r"tests/\w+\.py", path.read_text(encoding="utf-8"))
        if not any((ROOT / name).exists() for name in tests):
            yield f"{NAME}/{path.name} has no notebook: name its tests, tests/...py, in its docstring"


def check_clean():
    "The notebooks hold no metadata of the session that wrote them."
    for file, content in exported_and_clean().items():
        if file.endswith(".ipynb") and (ROOT / file).read_bytes() != content:
            yield f"{file} is not clean: run `nbdev_clean`"


def check_notebooks():
    "The notebooks hold the badges and the setup cell that settings.ini asks for."
    for path, _ in incomplete(settings):
        yield f"nbs/{path.name} lacks its badges or setup cell: run `python .ci/notebooks.py`"


def check_merged():
    "No merge is left half done."
    for name, cells in notebooks():
        for number, cell in enumerate(cells):
            if MERGE.search(cell["source"]):
                yield f"{name}, cell {number} is left from a merge: keep one side, delete the marks"


def check_outputs():
    "Stored outputs are small, free of errors, and say nothing of the machine that made them."
    folders = f"home|root|tmp|Users|content|{re.escape(ROOT.parts[1])}"
    place = re.compile(rf"(?<![\w.:/])/(?:{folders})/[\w./-]*")
    for where, cell in code_cells():
        for output in cell["outputs"]:
            data = output.get("data", {})
            texts = [output.get("text", ""), *(data[kind] for kind in data if kind[:4] == "text")]
            for path in sorted({path for text in texts for path in place.findall("".join(text))}):
                yield f"{where} shows the path {path}: print a relative one, and run it again"
            if "image/png" in data and not re.search(
                r"^#\| fig-alt: .{20}", cell["source"], flags=re.M
            ):
                yield f"{where} draws what not everybody sees: say it, `#| fig-alt: ...`"
            size = len(base64.b64decode("".join(data.get("image/png", ""))))
            if size > PICTURE_LIMIT:
                limit = f"draw it with a lower dpi, {PICTURE_LIMIT // 1000} kB at most"
                yield f"{where} holds a PNG of {size // 1000} kB: {limit}"
            if output["output_type"] == "error":
                yield f"{where} ended in {output['ename']}: mend it, and run the notebook again"


def check_pages():
    "A page has a title and an opener, a summary and exercises."
    for name, cells in notebooks():
        title = cells[0]["source"].splitlines()
        lost = [line for line in title if line.strip() and not re.match(r"# |> ", line)]
        if lost or not cells[0]["source"].startswith("# "):
            yield f"{name}, cell 0 must be `# Title` and one line `> sentence`, no more"
        markdown = [cell["source"] for cell in cells if cell["cell_type"] == "markdown"]
        headings = re.findall(r"^## .*", "\n".join(markdown), flags=re.M)
        closed = headings[-2:] == ["## Summary", "## Exercises"]
        if not closed and not re.search(r"(?:index|glossary)\.ipynb", name):
            yield f"{name} must end with `## Summary` and `## Exercises`: write what is missing"


def check_cells():
    "A reader can run every cell without nbdev, and the site shows the code of every name."
    for where, cell in code_cells():
        if cell["source"].startswith("%%"):  # another language, or a file
            continue
        source = re.sub(r"^(\s*)[%!].*", r"\1pass", cell["source"], flags=re.M)
        if re.search(r"^\s*(?:from|import)\s+nbdev\b", source, flags=re.M):
            yield f"{where} imports nbdev, which a reader does not have: delete the import"
        try:
            kinds = {type(node) for node in ast.walk(ast.parse(source))}
        except SyntaxError as error:
            yield f"{where} is no Python: {error.msg}: mend it"
            continue
        if re.search(r"^#\|\s*export\s*$", source, flags=re.M):
            if kinds & {ast.FunctionDef, ast.ClassDef}:
                yield f"{where} hides a function or class by `#| export`: write `#| exports`"
        elif not re.search(r"^#\|\s*(?:export|eval:\s*false)", source, flags=re.M):
            if kinds & {ast.Import, ast.ImportFrom} and kinds & {ast.Expr, ast.Assign}:
                yield f"{where} mixes imports with other code, which Quarto would run: split it"


def fields(node):
    "The parameters of a function or the fields of a class that need a comment, as (name, node)."
    if isinstance(node, ast.ClassDef):
        assigned = [each for each in node.body if isinstance(each, ast.AnnAssign)]
        return [(each.target.id, each) for each in assigned if isinstance(each.target, ast.Name)]
    if node.name.startswith("__") and node.name not in ("__init__", "__call__"):
        return []
    given = node.args
    each = [*given.posonlyargs, *given.args, given.vararg, *given.kwonlyargs, given.kwarg]
    return [(one.arg, one) for one in each if one and one.arg not in ("self", "cls")]


def undocumented(node, owner, comments):
    "The names in a class or function that lack a docstring, or a comment beside or above."
    name, found = f"{owner}{node.name}", fields(node)
    if not node.name.startswith("__") and not ast.get_docstring(node):
        yield f"{name} has no docstring"
    lines = [field.lineno for _, field in found]
    for label, field in found:
        beside = lines.count(field.lineno) == 1 and field.end_lineno in comments
        if label[0] != "_" and not beside and comments.get(field.lineno - 1) != "alone":
            yield f"{label} of {name} has no comment of its own"
    for part in node.body if isinstance(node, ast.ClassDef) else []:
        if isinstance(part, (ast.FunctionDef, ast.ClassDef)) and not re.match(r"_(?!_)", part.name):
            yield from undocumented(part, f"{name}.", comments)


def check_documented():
    "Every public class, function, parameter and field is documented where it is defined."
    for path in sorted((ROOT / NAME).glob("[!_]*.py")):
        text, comments = path.read_text(encoding="utf-8"), {}
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT:
                alone = token.line.strip() == token.string
                comments[token.start[0]] = "alone" if alone else "beside"
        for node in ast.parse(text).body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name[0] != "_":
                for gap in undocumented(node, "", comments):
                    yield f"{NAME}/{path.name}: {gap}: write it where it is defined"


def check_hints():
    "The package's type hints are right, as far as mypy can tell (its settings: pyproject.toml)."
    command = [sys.executable, "-m", "mypy", NAME]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if run.returncode > 1 or run.stderr:
        raise RuntimeError(f"mypy fails: mend this first\n{run.stderr}{run.stdout}")
    return [f"{line}: mend it where it comes from" for line in run.stdout.splitlines()]


CHECKS = [check_merged, check_notebooks, check_readme, check_package, check_clean, check_outputs]
CHECKS += [check_pages, check_cells, check_documented, check_style, check_hints]


def main():
    "Run every check, also after one that could not finish; exit with all that was found."
    found = []
    for check in CHECKS:
        try:
            found += check()
        except (RuntimeError, SyntaxError) as error:
            found.append(f"{check.__name__}: {error}")
    sys.exit("\n".join(found) or 0)


if __name__ == "__main__":
    main()
