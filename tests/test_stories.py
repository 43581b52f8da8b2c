"""The five stories of the notebook on studies, each as a script in an empty folder.

A story is what stands below a heading of the section "Your own study": its `%%writefile` cells
become files, its other cells a script without a guard, at most fifteen lines together.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MOST_LINES = 15  # of the user's, in one story
LESSON = "test_", "plt.", "found.", "print(found.frame", "columns =", "blocks = replace", "#|"


def stories():
    "The code of each story: heading -> list of cells."
    cells = json.loads((ROOT / "nbs" / "05d_studies.ipynb").read_text(encoding="utf-8"))["cells"]
    found, section, name = {}, None, None
    for cell in cells:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            for level, heading in re.findall(r"^(##+) (.*)", source, flags=re.M):
                name = heading if level == "###" else None
                section = section if level == "###" else heading
        elif section == "Your own study" and name and not source.startswith("#| hide"):
            found.setdefault(name, []).append(source)
    return found


def is_lesson(line):
    "Is this a line of the page that the story does without: a test, or a figure that is shown?"
    return line.startswith(LESSON)


def script_of(cells, folder):
    "Write the files of a story; the lines of its script, which trains as little as it can."
    lines = []
    for cell in cells:
        if magic := re.match(r"%%writefile( -a)? (\S+)\n", cell):
            with open(folder / magic[2], "a" if magic[1] else "w", encoding="utf-8") as file:
                file.write(cell[magic.end() :])
        else:
            lines += [line for line in cell.splitlines() if line.strip() and not is_lesson(line)]
    return [re.sub(r"(seeds|epochs)=\d+", r"\1=1", line) for line in lines]


def run(folder, *command):
    "Run Python in the folder; what it printed."
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *command]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_script(folder, lines):
    "Run a script of these lines; it ends with the table of a study."
    (folder / "story.py").write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert "seeds  failed  test accuracy" in run(folder, "story.py")


def test_there_are_five_stories():
    expected = "A network", "A loss", "Options of the modern MLP", "Other data", "Two machines"
    assert tuple(stories()) == expected


@pytest.mark.ci  # the same cells are run in nbs/05d_studies.ipynb
@pytest.mark.parametrize(
    "names",
    [["A network", "A loss"], ["Options of the modern MLP"], ["Other data", "Two machines"]],
    ids=" and ".join,
)
def test_story(tmp_path, names):  # a second one builds on the first
    parts = stories()
    run_script(tmp_path, [line for name in names for line in script_of(parts[name], tmp_path)])


def test_stories_are_short(tmp_path):
    for name, cells in stories().items():
        folder = tmp_path / name.replace(" ", "_")
        folder.mkdir()
        lines = script_of(cells, folder)
        for path in folder.iterdir():
            lines += [line for line in path.read_text().splitlines() if line.strip()]
        assert len(lines) <= MOST_LINES, (name, len(lines))


STUDY = """
from fmnist.studies import Study, arm

small = {"linear": arm("mlp", layers=[10], activations=["softmax"], epochs=1),
         "hidden": arm("mlp", layers=[16, 10], activations=["relu", "softmax"], epochs=1)}
study = Study("own", "Is a hidden layer needed?", small, (("hidden", "linear"),), data="sample")
"""


def test_a_study_in_a_file_from_the_command_line(tmp_path):
    (tmp_path / "mine.py").write_text(STUDY)
    command = "import sys; from fmnist.studies import fmnist_{0}; fmnist_{0}(sys.argv[1:]){1}"
    train, full = command.format("run", ""), ["--budget", "full"]
    said = run(tmp_path, "-c", train, "mine.py:study", *full, "--seeds", "2")
    assert "4 trials done, 0 failed" in said
    show = command.format("results", "; assert 'torch' not in sys.modules")
    assert "hidden against linear" in run(tmp_path, "-c", show, "mine.py:study", *full)
    said = run(tmp_path, "-c", train, "mine:study", *full, "--seeds", "2", "--dry-run")
    assert "0 of 4 trials are missing" in said
