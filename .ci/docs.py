"""Build the site and README.md from the notebooks: no Quarto, no network, and no cell is run.

    python .ci/docs.py               the site into _docs/, and README.md with its pictures
    python .ci/docs.py readme        README.md and its pictures alone
    python .ci/docs.py site FOLDER   the site alone, into a new FOLDER

The notebooks are made ready in a temporary folder, smalldocs renders them, and latex2mathml sets
the equations. Whoever has Quarto can run `nbdev_docs` on the same sources.
"""

import ast
import html
import inspect
import json
import re
import shutil
import sys
import tempfile
from functools import partial
from itertools import groupby
from pathlib import Path
from urllib.parse import urljoin

import nbformat
import yaml
from bs4 import BeautifulSoup
from execnb.nbio import mk_cell, nb2str, new_nb
from latex2mathml.converter import convert
from nbconvert.preprocessors import CoalesceStreamsPreprocessor
from nbdev.process import NBProcessor
from nbdev.quarto import _nbdev_yml

from notebooks import badges, launch_links
from package import NAME, ROOT, settings

if sys.version_info < (3, 11):
    sys.exit("smalldocs needs Python 3.11 or newer: make clean && make docs PYTHON=python3.12")
import smalldocs.site
from markdown_it import MarkdownIt
from smalldocs import api, llms, markdown

NOTEBOOKS = ROOT / settings["nbs_path"]
FILES = f"{settings['git_url']}/blob/{settings['branch']}"
PICTURES = f"{settings['nbs_path']}/index_files"  # README.md's, in a folder that GitHub shows
SITE = f"{settings['doc_host']}{settings['doc_baseurl']}".rstrip("/")
PAGE_LIMIT = 1_500_000  # bytes
UNSEEN = {"hide", "default_exp", "export"}  # directives of code that a reader does not see
NO_PROSE = (  # in Markdown: blocks of code, equations and headings; links, code, TeX and tags
    r"^ *```.*?^ *```$|\$\$.*?\$\$|^(?:#| {4}).*?$"
    r"|\[[^\]]*\]\([^)]*\)|`[^`]*`|\$[^$]*\$|<[^>]*>"
)
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


def read(path):
    "A notebook's title, its one sentence, and the cells that a reader sees, with directives_."
    notebook = NBProcessor(nb=nbformat.read(path, as_version=4)).nb
    title, *rest = [cell for cell in notebook.cells if cell.id != "badges"]
    head = re.match(r"# (.*?)\s*(?:> (.*?))?\s*$", title.source, flags=re.S)
    cells = [cell for cell in rest if not UNSEEN & set(cell.directives_)]
    whole = CoalesceStreamsPreprocessor().preprocess_cell  # what was flushed is stored in pieces
    return head[1], head[2] or "", [whole(cell, {}, 0)[0] for cell in cells]


def split(cell):
    "The lines of a cell that begin with `#|`, and the others."
    marks = "".join(re.findall(r"^#\|.*\n?", cell.source, flags=re.M))
    return marks, cell.source.removeprefix(marks)


def public_symbols():
    "The package's names as smalldocs finds them, each with its notebook and its place there."
    sys.path.insert(0, str(ROOT))
    found = []
    for symbol in api.inventory([NAME]):
        text = inspect.getsource(sys.modules[symbol.module])
        notebook = re.search(r"File to edit: \S*?([^/]+\.ipynb)", text)
        owner = symbol.name.partition(".")[0].lower()
        place = notebook and f"{notebook[1]}#{owner}"  # a method is explained with its class
        found.append((symbol, place))
    return sorted(found, key=lambda pair: (pair[1] or "~").partition("#")[0])


def addresses(symbols):
    "Where each name is explained, {name: page#anchor}; not one that is a method's, too."
    methods = {symbol.name.partition(".")[2] for symbol, _ in symbols}
    known = [(symbol.name, place) for symbol, place in symbols if place]
    return {name: f"/{page_name(place)}" for name, place in known if name not in methods}


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

    known = "|".join(map(re.escape, words)) or "(?!)"
    pattern = rf"{NO_PROSE}|(?<![\w-])({known})(?![\w-])"
    return re.sub(pattern, explain, text, flags=re.M | re.S)


# --- README.md ---


def for_github(text):
    "Links between notebooks lead to the site, those to files to the files."
    text = re.sub(r"\]\((\w+)\.(?:ipynb|qmd)", rf"]({SITE}/\1.html", unnumbered(text))
    text = re.sub(r"\]\((?![a-z]+:|#|/|\.\./)", f"]({settings['nbs_path']}/", text)
    return text.replace("](../", "](").strip()


def build_readme():
    "README.md and its pictures, as {path: content}."
    title, sentence, cells = read(NOTEBOOKS / settings["readme_nb"])
    note = f"<!-- Made from {settings['nbs_path']}/{settings['readme_nb']} by .ci/docs.py. -->"
    links = f"{badges(settings, settings['readme_nb'])} [Documentation]({SITE})"
    llms.indent = lambda text: f"```text\n{text.rstrip()}\n```"  # what a cell printed
    body, pictures = llms.notebook(nb2str(new_nb(cells)), {}, "index", llms.Prose(str, {}), str)
    text = "\n\n".join([note, f"# {title}", f"> {sentence}", links, for_github(body)])
    files = {f"{settings['nbs_path']}/{name}": content for name, content in pictures.items()}
    return {"README.md": f"{text}\n".encode(), **files}


# --- the site ---

# Where the package defines a name, as a link.
source_link = partial(api.source_link, api.Settings(ROOT, [NAME], root=ROOT, source=FILES))


def with_heading(cell, symbols):
    "A cell of the package: its names as headings above it, and an edge that says what it is."
    names = [getattr(node, "name", None) for node in ast.parse(cell.source).body]
    parts = []
    for symbol in symbols:
        if symbol.name in names:
            parts += [f"### {symbol.name} {{#{symbol.name.lower()}}}", source_link(symbol)]
    above = "\n\n".join([*parts, "::::: {.exported}"])
    return [mk_cell(above, "markdown"), cell, mk_cell(":::::", "markdown")]


def with_picture_first(cells):
    "A page's first picture stands on its first screen: imports and long code before it are folded."
    pictures = [n for n, cell in enumerate(cells) if "'image/png'" in str(cell.get("outputs"))]
    opening, shown, fold = True, [], "#| code-fold: true\n"
    for number, cell in enumerate(cells):
        opening &= not cell.source.startswith("## ")
        imports = not re.sub(r"^(?:import|from|#| |\)).*", "", cell.source, flags=re.M).strip()
        is_long = imports or (opening and cell.source.count("\n") > 4)
        code = cell.cell_type == "code" and "exports" not in cell.directives_
        if pictures and number <= pictures[0] and code and is_long:
            marks, source = split(cell)
            if shown and shown[-1].source.startswith(fold) and not shown[-1].outputs:
                source = f"{split(shown.pop())[1]}\n\n{source}"
            cell.source = f"{fold}{marks if cell.outputs else ''}{source}"
        shown.append(cell)
    return shown


def ready(path, symbols, words):
    "A notebook ready for smalldocs."
    title, sentence, cells = read(path)
    here = [symbol for symbol, place in symbols if place and place.startswith(path.name)]
    links = [("Notebook on GitHub", f"{FILES}/{settings['nbs_path']}/{path.name}", "")]
    links += launch_links(settings, path.name)
    row = "".join(f'<a href="{address}">{text}</a>' for text, address, _ in links)
    row = f'<nav class="elsewhere" aria-label="This page elsewhere">{row}</nav>\n'
    front = f"---\n{yaml.dump({'title': title, 'description': sentence})}---\n"
    made = [mk_cell(front, "markdown"), mk_cell(row, "markdown")]
    words = {} if path.name.endswith("glossary.ipynb") else dict(words)
    for cell in with_picture_first(cells):
        if cell.cell_type == "markdown":
            cell.source = with_words(words, cell.source).replace("](../", f"]({FILES}/")
        made += with_heading(cell, here) if "exports" in cell.directives_ else [cell]
    return nb2str(new_nb(made))


def api_page(symbols):
    "A page of all public names: what each is for, where it is explained, its source."
    parts = [API]
    for module, group in groupby(symbols, key=lambda pair: pair[0].module):
        (about, place), *names = group
        notebook = f" [The notebook]({place.rstrip('#')})" if place else ""
        rows = []
        for symbol, place in names:
            name = f"[`{symbol.name}`]({place})" if place else f"`{symbol.name}`"
            rows.append([name, f"{symbol.summary} {source_link(symbol)}"])
        parts += [f"## {module}", f"{about.summary}{notebook}"]
        parts.append(api.table(rows, ["name", "what it is"]))
    return "\n\n".join(parts)


def equation(self, tokens, at, options, env):
    "MathML, which needs no script, where smalldocs has TeX for one that it fetches."
    tex = tokens[at].content.strip()
    kind, display = ("display", "block") if tokens[at].type != "math_inline" else ("inline",) * 2
    for written, better in BETTER_TEX.items():
        tex = re.sub(written, better, tex)
    made = convert(tex, display=display)
    if unknown := re.findall(r">(\\[A-Za-z]+|&)<", made):
        sys.exit(f"latex2mathml does not know {', '.join(unknown)}, write it otherwise: {tex}")
    return f'<span class="math {kind}">{made}</span>'


def prepare(folder):
    "All that smalldocs reads, in `folder`."
    symbols, words = public_symbols(), read_glossary()
    unread = shutil.ignore_patterns("*.ipynb", "*.py", "__pycache__", "index_files")
    shutil.copytree(NOTEBOOKS, folder, ignore=unread, dirs_exist_ok=True)
    made = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.yml")}
    made |= {"nbdev.yml": _nbdev_yml.format_map(settings), "api.qmd": api_page(symbols)}
    made["_symbols.json"] = json.dumps(addresses(symbols))
    for path in NOTEBOOKS.glob("*.ipynb"):
        made[page_name(path.name)] = ready(path, symbols, words)
    for name, text in made.items():
        (folder / name).write_text(unnumbered(text), encoding="utf-8")
    if (folder / "try").exists():
        sys.path.append(str(NOTEBOOKS / "try"))
        from arrays import write_data

        (folder / "try" / "data").mkdir()
        write_data(folder / "try" / "data")


def faults(site, readme):
    "Links to anchors of the site and files of the repository that are not there; heavy pages."
    pages, anchors, homes = {}, {}, {FILES: ROOT, SITE: site}
    for path in site.glob("*.html"):
        page, text = f"{SITE}/{path.name}", path.read_text(encoding="utf-8")
        pages[page] = BeautifulSoup(text, "html.parser")
        anchors[page] = {tag["id"] for tag in pages[page].find_all(id=True)}
        if path.stat().st_size > PAGE_LIMIT:
            yield f"{path.name}: more than {PAGE_LIMIT:,} bytes: make its pictures smaller"
    front = BeautifulSoup(MarkdownIt().render(readme), "html.parser")
    for page, content in [(f"{FILES}/README.md", front), *pages.items()]:
        for link in content.select(f"a, img:not([src^='data:'], [src^='{PICTURES}'])"):
            written = link.get("href") or link.get("src", "")
            address, _, place = urljoin(page, written).partition("#")
            ours = [start for start in homes if address.startswith(start)]
            files = [homes[start] / address.removeprefix(start).strip("/") for start in ours]
            missing = any(not file.exists() for file in files)
            if missing or (place and place not in anchors.get(address, {place})):
                yield f"{page.rpartition('/')[2]}: broken link {written}"


def build_site(target, readme):
    "Render every page and check all of them; `target` is replaced once everything went well."
    markdown.math_inline = markdown.math_display = markdown.math_block = equation
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        built = smalldocs.site.build(Path(folder).resolve(), quiet=True)
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
