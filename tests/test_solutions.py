"Every exercise of every notebook has a folded solution, and what is code in it runs."

import ast
import json
import re
import textwrap
from pathlib import Path
from unittest.mock import patch

import pytest

from fmnist.benchmarks import set_threads
from fmnist.layers import ACTIVATIONS

NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "nbs").glob("*_*.ipynb"))
MARKS = ("# needs the full data", "# takes minutes")  # first line of a block that is only compiled
FOLDED = re.compile(
    r"\n\n   <details><summary>Solution</summary>\n\n(?P<solution>.*\S.*)\n\n   </details>\s*",
    flags=re.S,
)


def exercises(path):
    "The numbered items below `## Exercises`, each as (number, text), with what is indented below."
    text = "".join(json.loads(path.read_text(encoding="utf-8"))["cells"][-1]["source"])
    _, heading, below = text.partition("## Exercises\n\n")
    assert heading, f"{path.name}: the last cell has no exercises"
    items = re.split(r"^(\d+)\. ", below, flags=re.M)
    assert not items[0].strip(), f"{path.name}: text before the first exercise"
    return list(zip(map(int, items[1::2]), items[2::2], strict=True))


def solution(text):
    "An exercise's solution, not indented; an `AssertionError` says what is wrong with its form."
    question, newline, rest = text.partition("\n")
    assert question.strip() and text.count("<details>") == text.count("</details>") == 1, (
        "not one folded solution"
    )
    folded = FOLDED.fullmatch(newline + rest)
    assert folded, "the solution has another form"
    lines = folded["solution"].split("\n")
    assert all(line.startswith("   ") or not line for line in lines), (
        "a line that is not indented by three spaces ends the list"
    )
    return textwrap.dedent(folded["solution"])


def blocks(text):
    "The Python code of a solution."
    found = re.findall(r"^```python\n(.*?)^```$", text, flags=re.M | re.S)
    assert text.count("```") == 2 * len(found), "a block that is no Python, or not closed"
    return found


def shows_something(node):
    "Does this part of a program print or check?"
    called = isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "fmnist_classes")
    return called or isinstance(node, ast.Assert)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_exercise_is_solved(path):
    found = exercises(path)
    assert [number for number, _ in found] == list(range(1, len(found) + 1)) and len(found) >= 3
    for number, text in found:
        try:
            assert len(solution(text).split()) > 20, "too short to be one"
            for code in blocks(solution(text)):
                assert any(map(shows_something, ast.walk(ast.parse(code)))), "it shows nothing"
        except AssertionError as error:
            raise AssertionError(f"{path.name}, exercise {number}: {error}") from None


@pytest.mark.ci  # `make quick` runs those of a notebook that changed
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_code_runs(path, tmp_path, monkeypatch):
    import matplotlib.pyplot as plt

    monkeypatch.chdir(tmp_path)
    plt.switch_backend("agg")
    set_threads(1)
    for number, text in exercises(path):
        for code in blocks(solution(text)):
            program = compile(code, f"{path.name}, exercise {number}", "exec")
            if not code.startswith(MARKS):
                # in its own namespace, as below the notebook's last cell; some add an activation
                with patch.dict(ACTIVATIONS):
                    exec(program, {"__name__": "__main__"})
    plt.close("all")


GOOD = """Why?

   <details><summary>Solution</summary>

   Because.

   ```python
   assert 1
   ```

   </details>

"""
EMPTY = GOOD.replace("Because.\n\n   ```python\n   assert 1\n   ```", "")
WRONG = ["Why?\n", EMPTY, GOOD.replace("\n\n   ", "\n   "), GOOD.replace("   Because", "Because")]
WRONG += [GOOD + GOOD, GOOD.replace("<details>", "<details open>"), "\n" + GOOD]
WRONG += [GOOD.replace("   </details>", "   ")]


@pytest.mark.parametrize("wrong", WRONG, ids=range(8))
def test_faults_are_found(wrong):
    assert blocks(solution(GOOD)) == ["assert 1\n"]
    with pytest.raises(AssertionError):
        solution(wrong)
