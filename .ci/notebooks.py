"""Give every notebook its badges and its setup cell, from settings.ini; make one ready for Kaggle.

    python .ci/notebooks.py                                  both cells of every notebook in nbs/
    python .ci/notebooks.py kaggle NOTEBOOK FOLDER [USER]    for `kaggle kernels push -p FOLDER`

USER is the name at Kaggle, by default the `user` of settings.ini.
"""

import argparse
import json
import re
import sys
from pathlib import Path

from package import ROOT, settings
from pages import badges

IDS = ("badges", "setup")
# A folder of the package's name, as `git clone` makes it, has a spec, too, but no origin. %pip, not
# a subprocess: it installs where the kernel runs. Without -U, what is there is not changed if it
# will do. On Kaggle the internet may be off; then what the image lacks is looked for beside our
# wheel.
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
KAGGLE = {
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


def generated(config, name):
    "The two cells of the notebook `name`."
    setup = SETUP.format(name=config["lib_name"], url=config["git_url"])
    badge = {"cell_type": "markdown", "id": IDS[0], "metadata": {}}
    code = {
        "cell_type": "code",
        "execution_count": None,
        "id": IDS[1],
        "metadata": {},
        "outputs": [],
    }
    return [
        {**badge, "source": badges(config, name).splitlines(True)},
        {**code, "source": setup.splitlines(True)},
    ]


def complete(path, config):
    "The text of a notebook with its two cells, which follow the title."
    notebook = json.loads(path.read_text(encoding="utf-8"))
    title, *rest = [cell for cell in notebook["cells"] if cell.get("id") not in IDS]
    notebook["cells"] = [title, *generated(config, path.name), *rest]
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def incomplete(config):
    "The notebooks that lack their two cells, or have others: {path: what it should be}."
    for path in sorted((ROOT / config["nbs_path"]).glob("*.ipynb")):
        text = complete(path, config)
        if text != path.read_text(encoding="utf-8"):
            yield path, text


def write_all(config):
    "Complete every notebook of the project."
    for path, text in incomplete(config):
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(ROOT).as_posix())


def for_kaggle(config, notebook, folder, user):
    "Write a notebook and what `kaggle kernels push` must know of it."
    path, folder = Path(notebook), Path(folder)
    if not path.is_file():
        sys.exit(f"there is no notebook {path}")
    # 5 to 50 characters; Kaggle derives the slug of the id from it
    title = f"{config['lib_name']} {path.stem.replace('_', ' ')}"
    slug = re.sub("[^a-z0-9]+", "-", title.lower())
    about = {"id": f"{user}/{slug}", "title": title, "code_file": path.name, **KAGGLE}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / path.name).write_text(complete(path, config), encoding="utf-8")
    text = json.dumps(about, indent=2) + "\n"
    (folder / "kernel-metadata.json").write_text(text, encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    about = "write a notebook and kernel-metadata.json into a folder"
    kaggle = parser.add_subparsers(dest="command").add_parser("kaggle", help=about)
    kaggle.add_argument("notebook")
    kaggle.add_argument("folder")
    kaggle.add_argument("user", nargs="?", default=settings["user"], help="the name at Kaggle")
    options = parser.parse_args()
    if options.command == "kaggle":
        for_kaggle(settings, options.notebook, options.folder, options.user)
    else:
        write_all(settings)


if __name__ == "__main__":
    main()
