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
    "The code of a file, or of each code cell but the setup cell, with its number."
    if path.suffix == ".py":
        return [(0, path.read_text(encoding="utf-8"))]
    found = enumerate(json.loads(path.read_text(encoding="utf-8"))["cells"])
    code = [(number, "".join(cell["source"])) for number, cell in found if is_checked(cell)]
    return [(number, re.sub(r"^(\s*)[%!].*", r"\1pass", text, flags=re.M)) for number, text in code]


def is_checked(cell):
    "Is it code, and not the setup cell?"
    return cell["cell_type"] == "code" and cell.get("id") != "setup"


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
    "The faults that ruff finds, {file: places}."
    options = "check", "--output-format", "json", "--no-cache"
    command = [sys.executable, "-m", "ruff", *options, *paths]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if run.returncode > 1:
        raise RuntimeError(f"ruff fails: mend this first\n{run.stderr}")
    found = collections.defaultdict(list)
    for fault in json.loads(run.stdout):
        cell = f"cell {fault['cell'] - 1} " if fault.get("cell") else ""
        place = f"{cell}line {fault['location']['row']} {fault['code']}"
        found[fault["filename"]].append(place)
    return found


def left_over():
    "What is left in each file, {file: {kind: places}}; the share of lines that are over the aim."
    found, total, wide, faults = {}, 0, 0, ruff(files())
    for path in files():
        left = {"ruff": faults[str(path)], "long cells": [], "packed": []}
        for number, source in cells(path):
            code = lines(source)
            total, wide = total + len(code), wide + sum(len(line) > COLUMNS for line in code)
            if path.suffix == ".ipynb" and is_long(source):
                left["long cells"].append(f"cell {number}")
            nodes = [node for node in ast.walk(ast.parse(source)) if is_packed(node)]
            left["packed"] += [f"cell {number} line {node.lineno}" for node in nodes]
        found[path.relative_to(ROOT).as_posix()] = left
    return found, wide / total


def check_style():
    "No file has more against the style than it had, and style.json says how much that is."
    allowed = json.loads(ALLOWED.read_text(encoding="utf-8"))
    found, share = left_over()
    for name in sorted({*found, *allowed["files"]}):
        for kind, what in KINDS.items():
            places = found.get(name, {}).get(kind, [])
            may = allowed["files"].get(name, {}).get(kind, 0)
            if len(places) > may:
                where = ", ".join(places[:20])
                yield f"{name} has {len(places)} {what}; {may} are allowed: mend some of {where}"
            if len(places) < may:
                yield f"{name} has only {len(places)} {what}: run `python .ci/style.py tighten`"
    if share > allowed["wide"]:
        limit = f"{allowed['wide']:.1%} are allowed: break the new ones"
        yield f"{share:.2%} of all lines are over {COLUMNS} columns; {limit}"


def tighten():
    "Lower what style.json allows to what there is."
    allowed = json.loads(ALLOWED.read_text(encoding="utf-8"))
    found, share = left_over()
    files = {}
    for name, left in allowed["files"].items():
        has = found.get(name, {})
        lower = {kind: min(len(has.get(kind, [])), count) for kind, count in left.items()}
        files |= {name: {kind: count for kind, count in lower.items() if count}}
    text = {"wide": allowed["wide"], "files": {name: left for name, left in files.items() if left}}
    ALLOWED.write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")
    print(f"{share:.2%} of all lines are over {COLUMNS} columns; {allowed['wide']:.1%} are allowed")


if __name__ == "__main__":
    tighten() if sys.argv[1:] == ["tighten"] else sys.exit("\n".join(check_style()) or 0)
