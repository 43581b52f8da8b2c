"""Give every notebook its badges and its setup cell, from settings.ini; make one ready for Kaggle's command-line tool.

    python .ci/notebooks.py                                  both cells of every notebook in nbs/
    python .ci/notebooks.py kaggle NOTEBOOK FOLDER [USER]    notebook and kernel-metadata.json, for `kaggle kernels push -p FOLDER`

USER is the name at Kaggle, by default the `user` of settings.ini.
"""
import argparse
import json
import re
import sys
from pathlib import Path

from nbdev.config import get_config
from readme import badges

ROOT = Path(__file__).resolve().parents[1]
IDS = ("badges", "setup")
# A folder of the package's name, as `git clone` makes it, has a spec, too, but no origin. %pip, not a
# subprocess: it installs where the kernel runs. Without -U, what is there is not changed if it will
# do. On Kaggle the internet may be off; then what the image lacks is looked for beside our wheel.
SETUP = """#| eval: false
#| hide
# On Colab and Kaggle: install the package, unless it is there already; what is there stays as it is.
import importlib.util, pathlib
package = importlib.util.find_spec("{name}")
if package is None or package.origin is None:
    if wheels := sorted(pathlib.Path("/kaggle/input").rglob("{name}-*.whl")):
        %pip install -q --no-index --find-links "{{wheels[-1].parent}}" "{{wheels[-1]}}"
    else:
        %pip install -q git+{url}"""


def generated(config, name):
    "The two cells of the notebook `name`."
    lines = lambda text: text.splitlines(True)
    setup = SETUP.format(name=config.lib_name, url=config.git_url)
    return [
        {"cell_type": "markdown", "id": IDS[0], "metadata": {}, "source": lines(badges(config, name))},
        {"cell_type": "code", "execution_count": None, "id": IDS[1], "metadata": {}, "outputs": [], "source": lines(setup)},
    ]


def complete(path, config):
    "The text of a notebook with its two cells, which follow the title."
    notebook = json.loads(path.read_text(encoding="utf-8"))
    title, *rest = [cell for cell in notebook["cells"] if cell.get("id") not in IDS]
    notebook["cells"] = [title, *generated(config, path.name), *rest]
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def write_all(config):
    "Complete every notebook of the project."
    for path in sorted((ROOT / config.nbs_path.name).glob("*.ipynb")):
        if (text := complete(path, config)) != path.read_text(encoding="utf-8"):
            path.write_text(text, encoding="utf-8")
            print(path.relative_to(ROOT).as_posix())


def for_kaggle(config, notebook, folder, user):
    "Write a notebook and what `kaggle kernels push` must know of it."
    path, folder = Path(notebook), Path(folder)
    if not path.is_file():
        sys.exit(f"there is no notebook {path}")
    title = f"{config.lib_name} {path.stem.replace('_', ' ')}"  # 5 to 50 characters; Kaggle derives the slug of the id from it
    about = {
        "id": f"{user}/{re.sub('[^a-z0-9]+', '-', title.lower())}",
        "title": title,
        "code_file": path.name,
        "language": "python",
        "kernel_type": "notebook",
        "is_private": True,  # Kaggle's own default: who pushes it decides when others may see it
        "enable_gpu": True,
        "enable_internet": True,  # the setup cell installs the package
        "dataset_sources": ["zalando-research/fashionmnist"],
        "competition_sources": [],
        "kernel_sources": [],
        "model_sources": [],
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / path.name).write_text(complete(path, config), encoding="utf-8")
    (folder / "kernel-metadata.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    kaggle = parser.add_subparsers(dest="command").add_parser("kaggle", help="write a notebook and kernel-metadata.json into a folder")
    kaggle.add_argument("notebook")
    kaggle.add_argument("folder")
    kaggle.add_argument("user", nargs="?", help="the name at Kaggle (default: the user of settings.ini)")
    options, config = parser.parse_args(), get_config(path=ROOT)
    if options.command == "kaggle":
        for_kaggle(config, options.notebook, options.folder, options.user or config.user)
    else:
        write_all(config)


if __name__ == "__main__":
    main()
