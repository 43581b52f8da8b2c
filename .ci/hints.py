"""Check the package's type hints with mypy.

    python .ci/hints.py

mypy does not see what is added to a class after it is defined, as the notebooks do. So it gets a temporary copy of the
modules, in which all that stands within its class; the lines that it names are those of the modules themselves.
"""

import ast
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# `seen = {}` needs no annotation; not every library that we use has hints; what fills the place of
# `*values` mypy does not know, and running tells at once
OPTIONS = [
    "--check-untyped-defs",
    "--warn-redundant-casts",
    "--disable-error-code=var-annotated",
    "--disable-error-code=import-untyped",
    "--disable-error-code=call-arg",
    "--disable-error-code=misc",
    "--no-error-summary",
]


def owner(node):
    "The class that a statement adds to, by `@patch` or as `Class.name = value`; None if it does not."
    if isinstance(node, ast.FunctionDef) and "patch" in map(ast.unparse, node.decorator_list):
        return ast.unparse(node.args.args[0].annotation)
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute):
        return ast.unparse(node.targets[0].value)


def whole_classes(text):
    "The text of a module with all additions inside their classes, and for each of its lines the number in the module."
    lines, body = dict(enumerate(text.splitlines(), 1)), ast.parse(text).body
    ends = {node.name: node.end_lineno for node in body if isinstance(node, ast.ClassDef)}
    added = {end: [] for end in ends.values()}
    for node in body:
        if (name := owner(node)) in ends:
            first = min(
                [node.lineno, *(each.lineno for each in getattr(node, "decorator_list", []))]
            )
            for number in range(first, node.end_lineno + 1):
                if (line := lines.pop(number)) != "@patch":
                    added[ends[name]].append((number, "    " + line.removeprefix(f"{name}.")))
    order = [
        pair for number, line in lines.items() for pair in ((number, line), *added.get(number, []))
    ]
    return "\n".join(line for _, line in order) + "\n", [number for number, _ in order]


def wrong_hints(package):
    "What mypy finds in the modules of the folder `package`, one line each."
    with tempfile.TemporaryDirectory() as folder:
        copy, numbers = Path(folder) / package.name, {}
        copy.mkdir()
        for path in package.glob("*.py"):
            text, numbers[path.name] = whole_classes(path.read_text(encoding="utf-8"))
            (copy / path.name).write_text(text, encoding="utf-8")
        mypy = [
            sys.executable,
            "-m",
            "mypy",
            *OPTIONS,
            "--cache-dir",
            package.parent / ".mypy_cache",
            package.name,
        ]
        run = subprocess.run(mypy, cwd=folder, capture_output=True, text=True)
    if run.returncode > 1 or run.stderr:
        raise RuntimeError(f"mypy fails: mend this first\n{run.stderr}{run.stdout}")
    found = [
        re.match(r".*?(\w+\.py):(\d+): (?:error: )?(.*)", line).groups()
        for line in run.stdout.splitlines()
    ]
    return [
        f"{package.name}/{name}, line {numbers[name][int(number) - 1]}: {said}"
        for name, number, said in found
    ]


if __name__ == "__main__":
    sys.exit("\n".join(wrong_hints(ROOT / "fmnist")) or 0)
