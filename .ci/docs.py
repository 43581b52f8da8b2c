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

import nbformat
import yaml
from nbconvert.preprocessors import CoalesceStreamsPreprocessor

from notebooks import badges, launch_links
from package import NAME, ROOT, settings

NOTEBOOKS = ROOT / settings["nbs_path"]
FILES = f"{settings['git_url']}/blob/{settings['branch']}"
PICTURES = f"{settings['nbs_path']}/index_files"  # README.md's, in a folder that GitHub shows
SITE = f"{settings['doc_host']}{settings['doc_baseurl']}".rstrip("/")
PAGE_LIMIT = 1_500_000  # bytes
UNSEEN = r"^#\|\s*(hide|default_exp|export)\b"
FOR_NBDEV = r"^#\|\s*(?:exports|slow|data|cuda|eval:.*)\s*\n?"
BETTER_TEX = {  # for latex2mathml
    r"(begin|end)\{(?:align|aligned|split)\}": r"\1{align*}",  # the one form that it knows well
    r"'": r"{\\prime}",  # a prime is raised by itself
    r"(\\(?:ln|log|exp|tanh))(?= *[\w\\{])(?! *\\left)": r"\1\\,",  # a name is not its argument
}
API = """---
title: API
description: Every public function and class, module by module.
---

A name leads to where it is explained and tested, *source* to its line in the package."""


# --- a notebook as the reader of a page sees it ---


def page_name(notebook):
    "A page's address outlives its notebook's number: 01_data.ipynb becomes data.ipynb."
    return re.sub(r"^\d+[a-z]?_", "", notebook)


def unnumbered(text):
    "Links between notebooks, made links between pages."
    return re.sub(r"(\]\(|href: )\d+[a-z]?_(?=\w+\.ipynb)", r"\1", text)


def is_unseen(cell):
    "Is it code that the readers of a page do not see?"
    return cell.cell_type == "code" and re.search(UNSEEN, cell.source, flags=re.M)


def read(path):
    "A notebook's title, its one sentence, and the cells that a reader sees."
    title, *rest = nbformat.read(path, as_version=4).cells
    head = re.match(r"# (.*?)\s*(?:> (.*?))?\s*$", title.source, flags=re.S)
    cells = [cell for cell in rest if cell.id != "badges" and not is_unseen(cell)]
    whole = CoalesceStreamsPreprocessor().preprocess_cell  # what was flushed is stored in pieces
    return head[1], head[2] or "", [whole(cell, {}, 0)[0] for cell in cells]


def outside_code(change, text):
    "Apply `change` to all of a Markdown text but its blocks of code, equations and headings."
    parts = re.split(r"(^```.*?^```$|\$\$.*?\$\$|^(?:#| {4}).*?$)", text, flags=re.M | re.S)
    return "".join(part if number % 2 else change(part) for number, part in enumerate(parts))


def public_symbols():
    "The package's names as smalldocs finds them, each with the page of its notebook, if it has one."
    from smalldocs.api import inventory

    sys.path.insert(0, str(ROOT))
    found, pages = inventory([NAME]), {}
    for module in {symbol.module for symbol in found}:
        text = (ROOT / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")
        notebook = re.search(r"File to edit: \S*?([^/]+\.ipynb)", text)
        pages[module] = notebook and notebook[1]
    return sorted(
        [(symbol, pages[symbol.module]) for symbol in found], key=lambda pair: pair[1] or "~"
    )


def addresses(symbols):
    "Where each name is explained, {name: page#anchor}; not of a method's alone."
    found, methods = {}, set()
    for symbol, page in symbols:
        owner, _, method = symbol.name.partition(".")
        methods.add(method)
        if page and symbol.name:
            found[symbol.name] = f"/{page_name(page)}#{owner.lower()}"
    return {name: address for name, address in found.items() if name not in methods}


def read_glossary():
    "The words that the glossary explains, {word: sentence}; its lines are `- **word**: sentence`."
    found = {}
    for path in NOTEBOOKS.glob("*glossary.ipynb"):
        for cell in read(path)[2]:
            found |= re.findall(r"^- \*\*(.+?)\*\*: (.*)$", cell.source, flags=re.M)
    marks = r"[*`$\[\]]|\]\([^)]*\)"
    return {word: re.sub(marks, "", sentence) for word, sentence in found.items()}


def with_words(words, text):
    "Explain each of these words where it first occurs, and take it from them: once is enough."

    def explain(match):
        if sentence := words.pop(match[1], None):
            return f'[{match[0]}](glossary.ipynb "{html.escape(sentence)}"){{.term}}'
        return match[0]

    skip = r"\[[^\]]*\]\([^)]*\)|`[^`]*`|\$[^$]*\$|<[^>]*>"
    pattern = rf"{skip}|(?<![\w-])({'|'.join(map(re.escape, words)) or '(?!)'})(?![\w-])"
    return outside_code(lambda part: re.sub(pattern, explain, part), text)


# --- README.md ---


def for_github(text):
    "Links between notebooks lead to the site, those to files to the files."
    text = re.sub(r"\]\((\w+)\.(?:ipynb|qmd)", rf"]({SITE}/\1.html", unnumbered(text))

    def from_the_top(match):
        return f"]({os.path.normpath(os.path.join(settings['nbs_path'], match[1]))})"

    return re.sub(r"\]\((?![a-z]+:|#|/)([^)]+)\)", from_the_top, text).strip()


def output_for_github(output, options, pictures):
    "One output of a cell as Markdown; a picture goes into `pictures`, {path: content}."
    data = output.get("data", {})
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
    text = (output.get("text") or data.get("text/plain", "")).rstrip()
    return f"```text\n{text}\n```" if text else ""


def build_readme():
    "README.md and its pictures, as {path: content}."
    title, sentence, cells = read(NOTEBOOKS / settings["readme_nb"])
    note = f"<!-- Made from {settings['nbs_path']}/{settings['readme_nb']} by .ci/docs.py. -->"
    links = f"{badges(settings, settings['readme_nb'])} [Documentation]({SITE})"
    parts, pictures = [note, f"# {title}", f"> {sentence}", links], {}
    for cell in cells:
        if cell.cell_type == "markdown":
            parts.append(for_github(cell.source))
            continue
        found = re.findall(r"^#\| *([\w-]+): *(.*)$", cell.source, flags=re.M)
        options = {key: yaml.safe_load(value) for key, value in found}
        code = re.sub(r"^#\|.*\n?", "", cell.source, flags=re.M).strip()
        if options.get("echo", True):
            parts.append(f"```python\n{code}\n```")
        parts += [output_for_github(output, options, pictures) for output in cell.outputs]
    text = "\n\n".join(part for part in parts if part)
    return {"README.md": f"{text}\n".encode(), **pictures}


# --- the site ---


def source_link(symbol):
    "Where the package defines a name."
    path = symbol.module.replace(".", "/")
    return f"[source]({FILES}/{path}.py#L{symbol.line}){{.source-link}}"


def with_heading(cell, symbols):
    "A cell of the package: its names as headings above it, and an edge that says what it is."
    names = [getattr(node, "name", None) for node in ast.parse(cell.source).body]
    for symbol, _ in symbols:
        if symbol.name in names:
            heading = f"### {symbol.name} {{#{symbol.name.lower()}}}\n\n{source_link(symbol)}"
            yield nbformat.v4.new_markdown_cell(heading)
    yield nbformat.v4.new_markdown_cell("::::: {.exported}")
    yield from (cell, nbformat.v4.new_markdown_cell(":::::"))


def with_picture_first(cells):
    "A page's first picture stands on its first screen: imports and long code before it are folded."
    pictures = [n for n, cell in enumerate(cells) if "'image/png'" in str(cell.get("outputs"))]
    opening, hidden, fold = True, "", "#| code-fold: true\n"
    for number, cell in enumerate(cells):
        opening &= not cell.source.startswith("## ")
        imports = not re.sub(r"^(?:import|from|#| |\)).*", "", cell.source, flags=re.M).strip()
        is_long = imports or (opening and cell.source.count("\n") > 4)
        code = cell.cell_type == "code" and "#| export" not in cell.source
        if pictures and number <= pictures[0] and code and is_long:
            options = "".join(re.findall(r"^#\|.*\n", cell.source, flags=re.M))
            hidden += f"{cell.source.removeprefix(options)}\n\n"
            if not cell.outputs:
                continue
            cell.source, hidden = f"{fold}{options}{hidden}", ""
        elif hidden:
            yield nbformat.v4.new_code_cell(f"{fold}{hidden}")
            hidden = ""
        yield cell


def ready(path, symbols, words):
    "A notebook ready for smalldocs."
    title, sentence, cells = read(path)
    here = [(symbol, page) for symbol, page in symbols if page == path.name]
    links = [("Notebook on GitHub", f"{FILES}/{settings['nbs_path']}/{path.name}", "")]
    links += launch_links(settings, path.name)
    row = "".join(f'<a href="{address}">{text}</a>' for text, address, _ in links)
    row = f'<nav class="elsewhere" aria-label="This page elsewhere">{row}</nav>\n'
    front = f"---\n{yaml.dump({'title': title, 'description': sentence})}---\n"
    made = [nbformat.v4.new_markdown_cell(text) for text in (front, row)]
    words = {} if path.name.endswith("glossary.ipynb") else dict(words)
    for cell in with_picture_first(cells):
        exported = re.search(r"^#\|\s*exports\b", cell.source, flags=re.M)
        if cell.cell_type == "markdown":
            cell.source = with_words(words, cell.source).replace("](../", f"]({FILES}/")
        else:
            cell.source = re.sub(FOR_NBDEV, "", cell.source, flags=re.M)
        made += with_heading(cell, here) if exported else [cell]
    return unnumbered(nbformat.writes(nbformat.v4.new_notebook(cells=made)))


def api_page(symbols):
    "A page of all public names: what each is for, where it is explained, its source."
    parts = [API]
    for symbol, notebook in symbols:
        if symbol.kind == "module":
            page = f" [The notebook]({notebook})" if notebook else ""
            parts.append(f"\n## {symbol.module}\n\n{symbol.summary}{page}\n")
            parts.append("| name | what it is |\n|:--|:--|")
            continue
        anchor = symbol.name.partition(".")[0].lower()
        name = f"[`{symbol.name}`]({notebook}#{anchor})" if notebook else f"`{symbol.name}`"
        summary = symbol.summary.replace("|", "\\|")
        parts.append(f"| {name} | {summary} {source_link(symbol)} |")
    return unnumbered("\n".join(parts)) + "\n"


def equation(kind):
    "How to write MathML, which needs no script, where smalldocs has TeX for one that it fetches."
    from latex2mathml.converter import convert

    def rule(self, tokens, at, options, env):
        tex = tokens[at].content.strip()
        for written, better in BETTER_TEX.items():
            tex = re.sub(written, better, tex)
        made = convert(tex, display={"inline": "inline", "display": "block"}[kind])
        if unknown := re.findall(r">(\\[A-Za-z]+|&)<", made):
            sys.exit(f"latex2mathml does not know {', '.join(unknown)}, write it otherwise: {tex}")
        return f'<span class="math {kind}">{made}</span>'

    return rule


def prepare(folder):
    "All that smalldocs reads, in `folder`."
    symbols, words = public_symbols(), read_glossary()
    index = json.dumps(addresses(symbols))
    (folder / "_symbols.json").write_text(index, encoding="utf-8")
    for path in NOTEBOOKS.iterdir():
        if path.suffix == ".ipynb":
            text = ready(path, symbols, words)
            (folder / page_name(path.name)).write_text(text, encoding="utf-8")
        elif path.suffix == ".yml":
            text = path.read_text(encoding="utf-8")
            (folder / path.name).write_text(unnumbered(text), encoding="utf-8")
        elif path.is_file():
            shutil.copy(path, folder)
    project = {"output-dir": "_docs"}
    if (NOTEBOOKS / "try").exists():
        from try_page import write_data

        shutil.copytree(NOTEBOOKS / "try", folder / "try")
        (folder / "try" / "data").mkdir()
        write_data(folder / "try" / "data")
        project["resources"] = ["try/", "try-offline.js"]
    (folder / "api.qmd").write_text(api_page(symbols), encoding="utf-8")
    website = {"title": settings["lib_name"], "site-url": SITE, "repo-url": settings["git_url"]}
    website |= {"description": settings["description"], "repo-branch": settings["branch"]}
    about = {"project": project, "website": website}
    about["smalldocs"] = {"linkify": True}
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
        file = path.removeprefix(f"{FILES}/")
        found = anchor in anchors.get(path or page, [anchor])
        if file != path:
            found = file.startswith(PICTURES) or (ROOT / file).exists()
        if not found:
            yield f"{page}: broken link {link}"


def build_site(target, readme):
    "Render every page and check all of them; `target` is replaced once everything went well."
    try:
        from smalldocs import markdown as renderer, site
    except ModuleNotFoundError:
        sys.exit("The site needs Python 3.11 or newer: make clean && make docs PYTHON=python3.12")
    renderer.math_inline = equation("inline")
    renderer.math_display = renderer.math_block = equation("display")
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
