"""Give every notebook its badges and its setup cell, from settings.ini; make one ready for Kaggle.

    python .ci/notebooks.py                                  both cells of every notebook in nbs/
    python .ci/notebooks.py kaggle NOTEBOOK FOLDER [USER]    for `kaggle kernels push -p FOLDER`

USER is the name at Kaggle, by default the `user` of settings.ini.
"""

import json
import re
import sys
from pathlib import Path

from execnb.nbio import mk_cell, nb2str, read_nb

from package import ROOT, settings

# A folder of the package's name, as `git clone` makes it, has a spec, too, but no origin. %pip, not
# a subprocess: it installs where the kernel runs. Without -U, what is there is not changed if it
# will do. On Kaggle the internet may be off; then what the image lacks is looked for beside our
# wheel.
SETUP = """#| eval: false
#| hide
# On Colab and Kaggle: install the package, unless it is there; what is there stays as it is.
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
}


def launch_links(config, notebook):
    "Where Colab and Kaggle open a notebook of the project, as (text, address, picture)."
    owner = f"{config['user']}/{config['repo']}/blob/{config['branch']}"
    file, colab = f"{owner}/{config['nbs_path']}/{notebook}", "https://colab.research.google.com"
    yield "Open in Colab", f"{colab}/github/{file}", f"{colab}/assets/colab-badge.svg"
    kaggle = "https://kaggle.com"
    address = f"{kaggle}/kernels/welcome?src=https://github.com/{file}"
    yield "Open in Kaggle", address, f"{kaggle}/static/images/open-in-kaggle.svg"


def badges(config, notebook):
    "The same links as Markdown."
    links = launch_links(config, notebook)
    return " ".join(f"[![{text}]({picture})]({address})" for text, address, picture in links)


def complete(path, config):
    "The text of a notebook with its two cells, which follow the title."
    notebook = read_nb(path)
    title, *rest = [cell for cell in notebook.cells if cell.id not in ("badges", "setup")]
    badge = mk_cell(badges(config, path.name), "markdown", id="badges")
    setup = mk_cell(SETUP.format(name=config["lib_name"], url=config["git_url"]), id="setup")
    setup.execution_count = None
    notebook.cells = [title, badge, setup, *rest]
    return nb2str(notebook)


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


def for_kaggle(config, notebook, folder, user=settings["user"]):
    "Write a notebook and what `kaggle kernels push` must know of it."
    path, folder = Path(notebook), Path(folder)
    # 5 to 50 characters; Kaggle derives the slug of the id from it
    title = f"{config['lib_name']} {path.stem.replace('_', ' ')}"
    slug = re.sub("[^a-z0-9]+", "-", title.lower())
    about = {"id": f"{user}/{slug}", "title": title, "code_file": path.name, **KAGGLE}
    text = complete(path, config)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / path.name).write_text(text, encoding="utf-8")
    (folder / "kernel-metadata.json").write_text(json.dumps(about, indent=2) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["kaggle"] and len(sys.argv) in (4, 5):
        for_kaggle(settings, *sys.argv[2:])
    elif sys.argv[1:]:
        sys.exit(__doc__)
    else:
        write_all(settings)
