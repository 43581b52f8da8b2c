"""Count what is against the style of CONTRIBUTING.md; compare that with style.json.

    python .ci/style.py            the counts that are not those of style.json
    python .ci/style.py tighten    write into style.json what is lower than it says

style.json is a ratchet: for each file, how much of each kind is left. Counts must not rise, and
when one falls style.json must follow.
"""

import ast
import collections
import json
import re
import subprocess
import sys

from package import NAME, ROOT, settings

ALLOWED = ROOT / ".ci" / "style.json"
PLAIN = "checks commands console imports machine original store worker".split()  # not exported
COLUMNS = 100  # the aim; ruff's line-length in pyproject.toml is the hard limit
LESSON, EXPORTED, CLASS, ONE_LINE = 10, 20, 45, 60  # lines of cells; columns of a one-line `def`
KINDS = {
    "ruff": "faults that `ruff check` names",
    "long cells": f"cells over {EXPORTED} lines (exported), {CLASS} (a class) or {LESSON} (others)",
    "packed": "packed expressions: text times truth, nested conditionals, := in a comprehension, "
    f"locals(), a one-line def with over {ONE_LINE} columns of body, a private name of elsewhere",
}


def files():
    "Every file whose form is checked; what the notebooks export is not."
    plain = [ROOT / NAME / f"{name}.py" for name in PLAIN if (ROOT / NAME / f"{name}.py").exists()]
    folders = [ROOT / settings["nbs_path"], ROOT / "tests", ROOT / ".ci"]
    return plain + [path for each in folders for path in sorted(each.glob("*.[ip][py]*"))]


def cells(path):
    "The code of a file or of each code cell but the setup cell, without IPython's own lines."
    if path.suffix == ".py":
        return [path.read_text(encoding="utf-8")]
    found = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in found if cell["cell_type"] == "code" and cell.get("id") != "setup"]
    return [
        re.sub(r"^(\s*)[%!].*", r"\1pass", "".join(cell["source"]), flags=re.M) for cell in code
    ]


def lines(source):
    "Lines of code, without blank ones and directives."
    return [line for line in source.splitlines() if line.strip() and not line.startswith("#|")]


def is_long(source):
    "Is this cell longer than one of its kind should be?"
    if not re.search(r"^#\|\s*exports?\b", source, flags=re.M):
        return len(lines(source)) > LESSON
    whole = re.search(r"^(class |@dataclass)", source, flags=re.M)
    return len(lines(source)) > (CLASS if whole else EXPORTED)


def is_text(node):
    "Is it a string, or made as one?"
    return isinstance(node, ast.JoinedStr) or isinstance(getattr(node, "value", None), str)


def is_truth(node):
    "Is it true or false?"
    named = isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("bool", "any", "all")
    return named or isinstance(node, (ast.Compare, ast.BoolOp))


def is_packed(node):
    "Does this expression or statement hold more than one thought?"
    inside = list(ast.walk(node))[1:]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        sides = node.left, node.right
        return any(map(is_text, sides)) and any(map(is_truth, sides))
    if isinstance(node, ast.IfExp):
        parts = node.body, node.orelse, node.test
        return any(isinstance(part, ast.IfExp) for part in parts)
    if isinstance(node, (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
        return any(isinstance(part, ast.NamedExpr) for part in inside)
    if isinstance(node, ast.FunctionDef):
        body = node.body[-1]
        return body.end_lineno == node.lineno and body.end_col_offset - body.col_offset > ONE_LINE
    if isinstance(node, ast.ImportFrom):
        private = any(name.name[0] == "_" for name in node.names)
        return private and (node.module or "").startswith(NAME)
    return isinstance(node, ast.Call) and getattr(node.func, "id", "") == "locals"


def ruff(paths):
    "How many faults ruff finds in each file."
    command = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--output-format",
        "json",
        "--no-cache",
        *paths,
    ]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if run.returncode > 1:
        raise RuntimeError(f"ruff fails: mend this first\n{run.stderr}")
    return collections.Counter(fault["filename"] for fault in json.loads(run.stdout))


def counts():
    "What is left in each file, {file: {kind: count}}; the share of lines that are over the aim."
    found, total, wide, faults = {}, 0, 0, ruff(files())
    for path in files():
        sources = cells(path)
        nodes = [node for source in sources for node in ast.walk(ast.parse(source))]
        code = [line for source in sources for line in lines(source)]
        total, wide = total + len(code), wide + sum(len(line) > COLUMNS for line in code)
        left = {"ruff": faults[str(path)], "packed": sum(map(is_packed, nodes))}
        if path.suffix == ".ipynb":
            left["long cells"] = sum(map(is_long, sources))
        name = path.relative_to(ROOT).as_posix()
        found |= {name: {kind: left[kind] for kind in sorted(left) if left[kind]}}
    return {name: left for name, left in found.items() if left}, wide / total


def check_style():
    "No file has more against the style than it had, and style.json says how much that is."
    allowed = json.loads(ALLOWED.read_text(encoding="utf-8"))
    (found, share), problems = counts(), []
    for name in sorted({*found, *allowed["files"]}):
        for kind, what in KINDS.items():
            has = found.get(name, {}).get(kind, 0)
            may = allowed["files"].get(name, {}).get(kind, 0)
            if has > may:
                problems.append(f"{name} has {has} {what}; {may} are allowed: mend the new ones")
            if has < may:
                problems.append(f"{name} has only {has} {what}: run `python .ci/style.py tighten`")
    if share > allowed["wide"]:
        limit = f"{allowed['wide']:.1%} are allowed: break the new ones"
        problems.append(f"{share:.2%} of all lines are over {COLUMNS} columns; {limit}")
    return problems


def tighten():
    "Lower what style.json allows to what there is."
    allowed = json.loads(ALLOWED.read_text(encoding="utf-8"))
    found, share = counts()
    files = {}
    for name, left in allowed["files"].items():
        has = found.get(name, {})
        lower = {kind: min(has.get(kind, 0), count) for kind, count in left.items()}
        files |= {name: {kind: count for kind, count in lower.items() if count}}
    text = {"wide": allowed["wide"], "files": {name: left for name, left in files.items() if left}}
    ALLOWED.write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")
    print(f"{share:.2%} of all lines are over {COLUMNS} columns; {allowed['wide']:.1%} are allowed")


if __name__ == "__main__":
    tighten() if sys.argv[1:] == ["tighten"] else sys.exit("\n".join(check_style()) or 0)
