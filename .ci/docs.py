"""Build the site and README.md from the notebooks: no Quarto, no network, and no cell is run.

    python .ci/docs.py               the site into _docs/, and README.md with its pictures
    python .ci/docs.py readme        README.md and its pictures alone
    python .ci/docs.py site FOLDER   the site alone, into a new FOLDER

The notebooks are made ready in a temporary folder, smalldocs renders them, and latex2mathml sets
the equations. Whoever has Quarto can run `nbdev_docs` on the same sources.
"""

import ast
import base64
import html
import json
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

import yaml

from package import NAME, ROOT, settings
from pages import FILES, NOTEBOOKS, addresses, badges, launch_links, markdown, public_names, read
from pages import read_glossary, read_modules, with_names, with_words

PICTURES = f"{settings['nbs_path']}/index_files"  # README.md's, in a folder that GitHub shows
SITE = f"{settings['doc_host']}{settings['doc_baseurl']}".rstrip("/")
PAGE_LIMIT = 1_500_000  # bytes
FOR_NBDEV = r"^#\|\s*(?:exports|slow|data|cuda|eval:.*)\s*\n?"
BETTER_TEX = {  # for latex2mathml
    r"(begin|end)\{(?:align|aligned|split)\}": r"\1{align*}",  # the one form that it knows well
    r"'": r"{\\prime}",  # a prime is raised by itself
    r"(\\(?:ln|log|exp|tanh))(?= *[\w\\{])(?! *\\left)": r"\1\\,",  # a name is not its argument
}
OPTION = r"^#\| *([\w-]+): *(.*)$"


def unnumbered(text):
    "A page's address outlives its notebook's number: links to 01_data.ipynb lead to data.ipynb."
    return re.sub(r"(\]\(|href: )\d+[a-z]?_(?=\w+\.ipynb)", r"\1", text)


# --- README.md ---


def for_github(text):
    "Links between notebooks lead to the site, those to files to the files."
    text = re.sub(r"\]\((\w+)\.ipynb", rf"]({SITE}/\1.html", unnumbered(text))

    def from_the_top(match):
        return f"]({os.path.normpath(os.path.join(settings['nbs_path'], match[1]))})"

    return re.sub(r"\]\((?![a-z]+:|#|/)([^)]+)\)", from_the_top, text).strip()


def output_for_github(output, options, pictures):
    "One output of a cell as Markdown; a picture goes into `pictures`, {path: content}."
    data = {kind: "".join(content) for kind, content in output.get("data", {}).items()}
    if "image/png" in data:
        path = f"{PICTURES}/picture-{len(pictures) + 1}.png"
        pictures[path] = base64.b64decode(data["image/png"])
        caption = options.get("fig-cap", "")
        shown = f"![{options.get('fig-alt', caption)}]({path})"
        return f"{shown}\n\n*{caption}*" if caption else shown
    if "text/markdown" in data:
        return for_github(data["text/markdown"])
    if "text/html" in data:
        return re.sub(r"<style.*?</style>\s*", "", data["text/html"], flags=re.S).strip()
    text = (output["text"] or data.get("text/plain", "")).rstrip()
    return f"```text\n{text}\n```" if text else ""


def build_readme():
    "README.md and its pictures, as {path: content}."
    title, sentence, cells = read(NOTEBOOKS / settings["readme_nb"])
    note = f"<!-- Made from {settings['nbs_path']}/{settings['readme_nb']} by .ci/docs.py. -->"
    links = f"{badges(settings, settings['readme_nb'])} [Documentation]({SITE})"
    parts, pictures = [note, f"# {title}", f"> {sentence}", links], {}
    names = addresses(read_modules())
    for cell in cells:
        if cell["cell_type"] == "markdown":
            parts.append(for_github(with_names(names, cell["source"])))
            continue
        found = re.findall(OPTION, cell["source"], flags=re.M)
        options = {key: yaml.safe_load(value) for key, value in found}
        code = re.sub(r"^#\|.*\n?", "", cell["source"], flags=re.M).strip()
        if options.get("echo", True):
            parts.append(f"```python\n{code}\n```")
        parts += [output_for_github(output, options, pictures) for output in cell["outputs"]]
    text = "\n\n".join(part for part in parts if part)
    return {"README.md": f"{text}\n".encode(), **pictures}


# --- the site ---


def link_row(*links):
    "Links to open a page elsewhere, each (text, address), as a row below its title."
    items = "".join(f'<a href="{address}">{text}</a>' for text, address in links)
    return markdown(f'<nav class="elsewhere" aria-label="This page elsewhere">{items}</nav>\n')


def source_link(module, node):
    "Where the package defines a name."
    address = f"{FILES}/{NAME}/{module}.py#L{node.lineno}"
    return f"[source]({address}){{.source-link}}"


def with_heading(cell, defined):
    "A cell of the package: its names as headings above it, and an edge that says what it is."
    body = ast.parse(cell["source"]).body
    for name, node in public_names(body).items():
        if node in body and name in defined:  # not a method within its class
            heading = f"### {name} {{#{name}}}\n\n{source_link(*defined[name])}"
            yield markdown(heading)
    yield from (markdown("::::: {.exported}"), cell, markdown(":::::"))


def ready(path, modules, names, words):
    "A notebook ready for smalldocs."
    title, sentence, cells = read(path)
    defined = {
        name: (module, node)
        for module, _, public, notebook in modules
        for name, node in public.items()
        if notebook == path.name
    }
    source = ("Notebook on GitHub", f"{FILES}/{settings['nbs_path']}/{path.name}")
    elsewhere = [(text, address) for text, address, _ in launch_links(settings, path.name)]
    front = yaml.dump({"title": title, "description": sentence})
    made = [markdown(f"---\n{front}---\n"), link_row(source, *elsewhere)]
    words = {} if path.name.endswith("glossary.ipynb") else dict(words)
    for cell in cells:
        text = cell["source"]
        if cell["cell_type"] == "markdown":
            text = with_words(words, with_names(names, text)).replace("](../", f"]({FILES}/")
            made.append(markdown(text))
        else:
            exported = re.search(r"^#\|\s*exports\b", text, flags=re.M)
            cell["source"] = re.sub(FOR_NBDEV, "", text, flags=re.M)
            made += with_heading(cell, defined) if exported else [cell]
    return unnumbered(json.dumps({"cells": made, "metadata": {}, "nbformat": 4}))


def api_page(modules, names):
    "A page of all public names: what each is for, where it is explained, its source."
    package = f"{settings['git_url']}/tree/{settings['branch']}/{NAME}"
    parts = [
        "---\ntitle: API\ndescription: Every public function and class, module by module.\n---"
    ]
    parts += [link_row(("Package on GitHub", package))["source"]]
    parts += [
        "A name leads to where it is explained and tested, *source* to its line in the package."
    ]
    for module, about, public, notebook in sorted(modules, key=lambda each: each[3] or "~"):
        page = f" [The notebook]({notebook})" if notebook else ""
        rows = [f"## {NAME}.{module}\n\n{about}{page}\n"]
        rows += ["| name | what it is |", "|:--|:--|"]
        for name, node in public.items():
            owner = name.rpartition(".")[0]
            shown = f"[`{name}`]({notebook}#{owner or name})" if notebook else f"`{name}`"
            what = (ast.get_docstring(node) or "").partition("\n")[0].replace("|", "\\|")
            rows.append(f"| {shown} | {what} {source_link(module, node)} |")
        parts.append("\n".join(rows))
    return unnumbered("\n\n".join(parts)) + "\n"


def set_equations(renderer):
    "Let smalldocs write MathML, which needs no script, where it writes TeX for one that it fetches."
    from latex2mathml.converter import convert

    def mathml(tex, display, name):
        for written, better in BETTER_TEX.items():
            tex = re.sub(written, better, tex.strip())
        made = convert(tex, display=display)
        if unknown := re.findall(r">(\\[A-Za-z]+|&)<", made):
            sys.exit(f"latex2mathml does not know {', '.join(unknown)}, write it otherwise: {tex}")
        return f'<span class="math {name}">{made}</span>'

    def inline(self, tokens, at, options, env):
        return mathml(tokens[at].content, "inline", "inline")

    def block(self, tokens, at, options, env):
        return mathml(tokens[at].content, "block", "display")

    renderer.math_inline, renderer.math_display, renderer.math_block = inline, block, block


def prepare(folder):
    "All that smalldocs reads, in `folder`."
    modules, words = list(read_modules()), read_glossary()
    names = addresses(modules)
    for path in NOTEBOOKS.iterdir():
        if path.suffix == ".ipynb":
            name = re.sub(r"^\d+[a-z]?_", "", path.name)
            (folder / name).write_text(ready(path, modules, names, words), encoding="utf-8")
        elif path.suffix == ".yml":
            text = path.read_text(encoding="utf-8")
            (folder / path.name).write_text(unnumbered(text), encoding="utf-8")
        elif path.is_file():
            shutil.copy(path, folder)
    (folder / "api.qmd").write_text(api_page(modules, names), encoding="utf-8")
    website = {"title": settings["lib_name"], "site-url": SITE, "repo-url": settings["git_url"]}
    website |= {"description": settings["description"], "repo-branch": settings["branch"]}
    about = {"project": {"output-dir": "_docs"}, "website": website}
    (folder / "nbdev.yml").write_text(yaml.dump(about), encoding="utf-8")


def faults(site, readme):
    "Links to anchors of the site and files of the repository that are not there; heavy pages."
    pages = {path.name: path.read_text(encoding="utf-8") for path in site.glob("*.html")}
    anchors = {name: {"", *re.findall(r'\bid="([^"]+)"', text)} for name, text in pages.items()}
    prose = re.sub(r"^```.*?^```", "", readme, flags=re.M | re.S)  # `f[i](x)` in code is no link
    links = [("README.md", link) for link in re.findall(r"\]\(([^)\s]+)", prose)]
    for name, text in pages.items():
        found = re.findall(r'<a [^>]*?href="([^"]*)"', text)
        links += [(name, html.unescape(link)) for link in found]
        if len(text) > PAGE_LIMIT:
            yield f"{name}: more than {PAGE_LIMIT:,} bytes: make its pictures smaller"
    for page, link in links:
        path, _, anchor = link.replace(f"{SITE}/", "").removeprefix("./").partition("#")
        if page == "README.md" and path not in pages and not re.match(r"[a-z]+:|$", path):
            path = f"{FILES}/{path}"
        if path.startswith(FILES):
            file = path.removeprefix(f"{FILES}/")
            found = file.startswith(PICTURES) or (ROOT / file).exists()
        else:
            found = anchor in anchors.get(path or page, [anchor])
        if not found:
            yield f"{page}: broken link {link}"


def build_site(target, readme):
    "Render every page and check all of them; `target` is replaced once everything went well."
    try:
        from smalldocs import markdown as renderer, site
    except ModuleNotFoundError:
        sys.exit("The site needs Python 3.11 or newer: make clean && make docs PYTHON=python3.12")
    set_equations(renderer)
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        built = site.build(Path(folder).resolve(), quiet=True)
        for path in built.out.glob("site_libs/themes/*.css"):  # fonts from the network
            text = path.read_text(encoding="utf-8")
            path.write_text(re.sub(r"@import url\(https?:[^)]*\);", "", text), encoding="utf-8")
        if problems := sorted({*built.warnings, *faults(built.out, readme)}):
            sys.exit("the site is not built:\n  " + "\n  ".join(problems))
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(built.out, target)
    print(f"{target.name}/: {len(list(target.glob('*.html')))} pages")


def main(what="all", folder="_docs"):
    "Build all, or README.md or the site alone."
    if what not in ("all", "readme", "site"):
        sys.exit(__doc__)
    files, target = build_readme(), ROOT / folder
    if what == "site" and target.exists():
        sys.exit(f"{folder} is there already: name a folder that is not")
    if what != "readme":
        build_site(target, files["README.md"].decode())
    if what != "site":
        shutil.rmtree(ROOT / PICTURES, ignore_errors=True)
        for name, content in files.items():
            (ROOT / name).parent.mkdir(exist_ok=True)
            (ROOT / name).write_bytes(content)
        print(f"README.md, and its pictures in {PICTURES}/")


if __name__ == "__main__":
    main(*sys.argv[1:])
