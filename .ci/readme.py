"README.md from the notebook that settings.ini names, in GitHub's Markdown; docs.py calls this."
import base64
import os
import re
from pathlib import Path

import yaml
from execnb.nbio import read_nb
from nbdev.doclinks import _nbpath2html
from nbdev.processors import FilterDefaults

PICTURES = "nbs/index_files"  # the pictures of README.md, in a folder that GitHub shows


def site_address(config):
    "The address at which the site is published."
    return f"{config.doc_host}{config.doc_baseurl}".rstrip("/")


def launch_links(config, notebook):
    "Where Colab and Kaggle open a notebook; in the form of Quarto's `code-links`, and a picture of each link."
    file = f"{config.user}/{config.repo}/blob/{config.branch}/{config.nbs_path.name}/{notebook}"
    return [
        {"text": "Open in Colab", "icon": "play-circle", "href": f"https://colab.research.google.com/github/{file}",
         "badge": "https://colab.research.google.com/assets/colab-badge.svg"},
        {"text": "Open in Kaggle", "icon": "play-circle", "href": f"https://kaggle.com/kernels/welcome?src=https://github.com/{file}",
         "badge": "https://kaggle.com/static/images/open-in-kaggle.svg"},
    ]


def badges(config, notebook):
    "The same links as Markdown, with the pictures that Colab and Kaggle have for them."
    return " ".join(f"[![{link['text']}]({link['badge']})]({link['href']})" for link in launch_links(config, notebook))


def front_matter(cell):
    "The YAML that nbdev put in the first cell of a processed notebook, made from its title and its `>` line."
    return yaml.safe_load(cell.source.strip().strip("-"))


def alert(match):
    "A Quarto callout as a GitHub alert, its title in bold."
    title = re.search(r'title="([^"]*)"', match[2])
    body = re.sub(r"\A#+ (.*)\n+", r"**\1**\n\n", match[3].strip() + "\n").strip()
    body = f"**{title[1]}**\n\n{body}" if title else body
    return "\n".join(f"> {line}".rstrip() for line in [f"[!{match[1].upper()}]", *body.split("\n")])


def github_markdown(text, config):
    "Quarto's Markdown as GitHub reads it: callouts are alerts, other divs and attributes go, links lead to the site or to a file."
    text = re.sub(r"^:::+ *\{\.callout-(\w+)([^}]*)\}\n(.*?)^:::+ *$", alert, text, flags=re.M | re.S)
    text = re.sub(r"^:::+.*\n?", "", text, flags=re.M)
    text = re.sub(r"(\]\([^)]*\))\{[^}]*\}", r"\1", text)
    text = re.sub(r"\]\(([^):#/]+\.ipynb)", lambda m: f"]({site_address(config)}/{_nbpath2html(Path(m[1])).name}", text)
    return re.sub(r"\]\((?![a-z]+:|#|/)([^)]+)\)", lambda m: f"]({os.path.normpath(config.nbs_path.name + '/' + m[1])})", text).strip()


def output_markdown(output, options, pictures, config):
    "One output of a cell as Markdown; a picture goes into `pictures`, {path: content}."
    data = output.get("data", {})
    if "image/png" in data:
        path = f"{PICTURES}/picture-{len(pictures) + 1}.png"
        pictures[path] = base64.b64decode("".join(data["image/png"]))
        caption = options.get("fig-cap", "")
        return f"![{options.get('fig-alt', caption)}]({path})" + (f"\n\n*{caption}*" if caption else "")
    if "text/markdown" in data:
        return github_markdown("".join(data["text/markdown"]), config)
    if "text/html" in data:
        return re.sub(r"<style.*?</style>\s*", "", "".join(data["text/html"]), flags=re.S).strip()
    text = "".join(output.get("text") or data.get("text/plain") or "").rstrip()
    return f"```text\n{text}\n```" if text else ""


def build_readme(config):
    "README.md and its pictures, as {path: content}."
    notebook = read_nb(config.nbs_path / config.readme_nb)
    FilterDefaults()(notebook)
    meta = front_matter(notebook.cells[0])
    parts = [f"# {meta['title']}", f"> {meta['description']}", f"{badges(config, config.readme_nb)} [Documentation]({site_address(config)})"]
    pictures = {}
    for cell in notebook.cells[2:]:  # after the front matter and nbdev's own "do not edit"
        source = cell.source or ""
        if cell.cell_type == "markdown" and not source.startswith("[!["):  # the badges are there already
            parts.append(github_markdown(source, config))
        elif cell.cell_type == "code":
            options = {key: yaml.safe_load(value) for key, value in re.findall(r"^#\| *([\w-]+): *(.*)$", source, flags=re.M)}
            code = re.sub(r"^#\|.*\n?", "", source, flags=re.M).strip()
            shown = options.get("include", True)
            if shown and code and options.get("echo", True):
                parts.append(f"```python\n{code}\n```")
            for output in cell.outputs if shown and options.get("output", True) else []:
                parts.append(output_markdown(output, options, pictures, config))
    note = f"<!-- Made from {config.nbs_path.name}/{config.readme_nb} by .ci/docs.py: edit the notebook. -->"
    text = "\n\n".join(part for part in [note, *parts] if part)
    return {"README.md": f"{text}\n".encode(), **pictures}
