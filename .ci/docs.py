"""Build the documentation site and README.md, with no Quarto and no network.

    python .ci/docs.py               the site into _docs/, and README.md with its pictures
    python .ci/docs.py readme        README.md and its pictures alone
    python .ci/docs.py site FOLDER   the site alone, into a new FOLDER

nbdev prepares the notebooks in a temporary copy of the project, smalldocs renders them, latex2mathml sets the equations.
"""
import ast
import collections
import contextlib
import html
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

import yaml
from execnb.nbio import read_nb, write_nb
from nbdev.config import get_config
from nbdev.doclinks import _build_modidx, _nbpath2html
from nbdev.quarto import refresh_quarto_yml
from nbdev.serve import proc_nbs
from api import api_page, link_row
from readme import PICTURES, build_readme, front_matter, launch_links, site_address

ROOT = Path(__file__).resolve().parents[1]
PAGE_LIMIT = 1_500_000  # bytes of a page and of all that it loads


@contextlib.contextmanager
def project_copy():
    "Work in a temporary copy of the project, importable from there, so that a build leaves nothing behind in the real one."
    with tempfile.TemporaryDirectory() as folder:
        copy, back = Path(folder).resolve(), Path.cwd()
        shutil.copy(ROOT / "settings.ini", copy)
        os.chdir(copy)
        sys.path.insert(0, str(copy))
        config = get_config()
        for part in (config.nbs_path, config.lib_path):
            shutil.copytree(ROOT / part.relative_to(copy), part, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        _build_modidx()
        index = config.lib_path / "_modidx.py"  # a method has no heading of its own: link to its class
        index.write_text(re.sub(r"(\.html#\w+)\.[\w.]+'", r"\1'", index.read_text(encoding="utf-8")), encoding="utf-8")
        # nbdev finds the names to link by this entry point: so it finds them even where the package is not installed
        egg = copy / f"{config.lib_name}.egg-info"
        egg.mkdir()
        (egg / "PKG-INFO").write_text(f"Metadata-Version: 2.1\nName: {config.lib_name}\nVersion: {config.version}\nSummary: {config.description}\n")
        scripts = "\n".join(config.console_scripts.split())  # the page of commands lists them
        (egg / "entry_points.txt").write_text(f"[nbdev]\n{config.lib_name} = {config.lib_path.name}._modidx:d\n[console_scripts]\n{scripts}\n")
        try:
            yield config
        finally:
            os.chdir(back)


def in_one_piece(outputs):
    "A stream that was flushed is stored in pieces; on a page it is one."
    whole = []
    for output in outputs:
        if whole and output.get("name") and output.get("name") == whole[-1].get("name"):
            whole[-1]["text"] = "".join(whole[-1]["text"]) + "".join(output["text"])
        else:
            whole.append(output)
    return whole


def headings_first(cells):
    "nbdev puts the headings of the names that a cell defines around it, the last name first; a reader wants them above it, in order."
    headings = collections.defaultdict(list)
    for cell in cells:
        if name := re.search(r"^show_doc\((?:\w+\.)?(\w+)\)$", cell.source or "", flags=re.M):
            headings[name[1]].append(cell)
            for output in cell.outputs:  # name and link alone: signature and docstring follow with the source
                output["data"]["text/markdown"] = "".join(output["data"]["text/markdown"]).partition("```")[0].removeprefix("---\n")
    moved = [id(cell) for group in headings.values() for cell in group]
    for cell in cells:
        if id(cell) in moved:
            continue
        if '#| code-summary: "Exported source"' in (cell.source or ""):
            names = re.findall(r"^(?:def|class) (\w+)", cell.source, flags=re.M)
            yield from (headings[name].pop(0) for name in names if headings[name])
        yield cell


def prepare(config):
    "Let nbdev write page-ready notebooks; add the launch links and the API page, and let links out of the notebooks' folder lead to the repository."
    refresh_quarto_yml()
    pages = proc_nbs(n_workers=0, force=True)
    files = f"{config.git_url}/blob/{config.branch}/"
    for path in pages.glob("*.ipynb"):
        notebook = read_nb(path)
        meta = front_matter(notebook.cells[0])
        del meta["output-file"]  # smalldocs does not know it: `finish` renames the pages
        notebook.cells[0].source = f"---\n{yaml.dump(meta)}---\n"
        notebook.cells = [cell for cell in notebook.cells if not (cell.source or "").startswith("[![")]  # badges are pictures from the network
        source = {"text": "Notebook on GitHub", "icon": "github", "href": f"{files}{config.nbs_path.name}/{path.name}"}
        notebook.cells[1].source = link_row(source, *launch_links(config, path.name))  # in place of nbdev's "do not edit"
        for cell in notebook.cells:
            if cell.cell_type == "markdown" and cell.source:
                cell.source = cell.source.replace("](../", f"]({files}")
            if cell.cell_type == "code":
                cell.outputs = in_one_piece(cell.outputs)
        notebook.cells = list(headings_first(notebook.cells))
        write_nb(notebook, path)
    (pages / "api.qmd").write_text(api_page(config), encoding="utf-8")
    return pages


# What latex2mathml writes, and what a browser without a mathematical font sets as it should be.
BETTER_MATH = [
    # a prime is raised by itself
    (r"<msup>(<mi>\w</mi>)<mi>&#x02032;</mi></msup>", r'<mrow>\1<mo lspace="0" rspace="0">&#x02032;</mo></mrow>'),
    # a line over a term is as long as the term
    (r'<mover>(<mrow>(?:(?!<mrow>).)*?</mrow>)<mo accent="true">&#x02015;</mo></mover>', r'<mrow class="overline">\1</mrow>'),
    # a function's name is not its argument
    (r"(?<!<msup>)(?<!<msub>)(<mi>(?:ln|log|exp|tanh|max|min)</mi>|<msup><mi>(?:ln|log|exp|tanh)</mi><mn>\d</mn></msup>)(?!<mo|</m)", r'\1<mspace width="0.17em"/>'),
]


def set_equation(match):
    "MathML in place of TeX, which needs no script; TeX that latex2mathml does not know stops the build."
    from latex2mathml.converter import convert

    tex = re.sub(r"(begin|end)\{(?:align|aligned|split)\}", r"\1{align*}", html.unescape(match[3]))  # the one form that it knows well
    mathml = convert(tex, display="block" if match[2] == "display" else "inline")
    if unknown := re.findall(r">(\\[A-Za-z]+|&)<", mathml):
        sys.exit(f"latex2mathml does not know {', '.join(unknown)} here; write the equation otherwise: {match[3].strip()}")
    for written, better in BETTER_MATH:
        mathml = re.sub(written, better, mathml)
    return f"{match[1]}{mathml}</span>"


def doubtful_names(config):
    "Names that a page may mean otherwise than nbdev, which links them to the one function so called: private ones, and those of methods too."
    index = ast.literal_eval((config.lib_path / "_modidx.py").read_text(encoding="utf-8").partition("d = ")[2])
    names = collections.Counter(name.rpartition(".")[2] for module in index["syms"].values() for name in module)
    return {name for name, count in names.items() if count > 1 or name.startswith("_")}


# What smalldocs writes, and what a screen reader, or a reader of code, is better served with.
BETTER = [
    # a section of the sidebar is a heading here, nothing to fold
    (r'<a class="sidebar-item-text sidebar-link text-start" [^>]*>(.*?)</a><a class="sidebar-item-toggle[^>]*>.*?</a>', r'<span class="sidebar-heading">\1</span>'),
    # landmarks of the same kind need names
    (r'<nav class="navbar ', '<nav aria-label="Site" class="navbar '),
    (r'<nav class="quarto-secondary-nav">', '<nav aria-label="Menu" class="quarto-secondary-nav">'),
    (r'<nav id="quarto-sidebar"', '<nav aria-label="Pages" id="quarto-sidebar"'),
    (r'<nav class="page-navigation">', '<nav aria-label="Previous and next page" class="page-navigation">'),
    # code of the package is text to read, nothing to fold; the style sheet marks it
    (r'<details open="" class="code-fold">\n<summary>Exported source</summary>\n(.*?)</details>', r'<div class="exported">\1</div>'),
]


def hang(match):
    "The lines of a block of code, each a block that goes on, if it is long, four columns to the right of where it began."
    lines, opened = [], ""
    for line in match[2].splitlines(keepends=True):
        line = opened + line
        opened = ""
        for end, tag in re.findall(r"<(/?)span([^>]*)>", line):  # one span may reach over several lines
            opened = opened.rpartition("<span")[0] if end else f"{opened}<span{tag}>"
        text, newline = line.rstrip("\n"), "\n" * line.endswith("\n")
        column = len(re.match(r"(?:<[^>]*>)*( *)", text)[1])
        lines.append(f'<span class="line" style="--column:{column}ch">{text}{newline}{"</span>" * opened.count("<span")}</span>')
    return match[1] + "".join(lines) + match[3]


def finish(site, config):
    "Give pages the names that nbdev's links use (01_data.html is data.html), set equations, drop scripts and fonts from the network, mend the markup."
    names = {page.name: _nbpath2html(page).name for page in site.glob("*.html")}
    doubtful = doubtful_names(config)
    for old, new in names.items():
        (site / old).rename(site / new)
    for path in [*site.glob("*.html"), site / "search.json", site / "sitemap.xml"]:
        text = path.read_text(encoding="utf-8")
        for old, new in names.items():
            text = re.sub(rf"(?<![\w.-]){re.escape(old)}", new, text)
        if path.suffix == ".html":
            text = text.replace(f'href="{site_address(config)}/', 'href="./')
            for page, name, code in set(re.findall(r'<a href="\./(\w+\.html)#\w+">(?=<code>(\w+)</code>)(<code>\w+</code>)</a>', text)):
                if name in doubtful and page != path.name:
                    text = re.sub(rf'<a href="\./{page}#\w+">{code}</a>', code, text)
            text = re.sub(r'(<span class="math (inline|display)">)\\[(\[](.*?)\\[)\]]</span>', set_equation, text, flags=re.S)
            text = re.sub(r"<(?:script|link)[^>]*/katex[^>]*>(?:</script>)?", "", text)
            for written, better in BETTER:
                text = re.sub(written, better, text, flags=re.S)
            text = re.sub(r'(<pre class="sourceCode[^"]*"><code[^>]*>)(.*?)(</code></pre>)', hang, text, flags=re.S)
        path.write_text(text, encoding="utf-8")
    for path in site.glob("site_libs/themes/*.css"):
        text = path.read_text(encoding="utf-8")
        path.write_text(re.sub(r"@import url\(https?:[^)]*\);", "", text), encoding="utf-8")


def faults(site, readme, config):
    "Every link of the site and of README.md to a page, an anchor or a file that is not there, or that is none; what needs the network; pictures without a text; heavy pages."
    pages = {path.name: path.read_text(encoding="utf-8") for path in site.glob("*.html")}
    anchors = {name: set(re.findall(r'\bid="([^"]+)"', text)) for name, text in pages.items()}
    links = [(name, html.unescape(link)) for name, text in pages.items() for link in re.findall(r'<a\b[^>]*?\bhref="([^"]*)"', text)]
    prose = re.sub(r"^```.*?^```", "", readme, flags=re.M | re.S)  # code may hold `f[i](x)`, which is no link
    links += [("README.md", link) for link in re.findall(r"\]\(([^)\s]+)", prose) if not link.startswith(PICTURES)]
    files = f"/{config.user}/{config.repo}/blob/{config.branch}/"
    for page, link in links:
        path, _, anchor = link.replace(site_address(config), ".").partition("#")
        if files in path or page == "README.md" and not re.match(r"\.|[a-z]+:", path):  # on GitHub, Colab or Kaggle
            found = (ROOT / path.partition(files)[2] if files in path else ROOT / path).exists()
        elif re.match(r"[a-z]+:|//", path):
            continue
        else:
            target = path.removeprefix("./").removeprefix(".") or ("index.html" if path else page)
            found = (site / target).exists() and (not anchor or anchor in anchors.get(target, [anchor]))
        if not found:
            yield f"{page}: broken link {link}"
    for name, text in pages.items():
        for left in re.findall(r"\]\([\w./#-]+\.ipynb[^)]*\)", text):  # nbdev links a name in backticks, also within a link
            yield f"{name}: {left} stayed Markdown, write the link's text without backticks"
        for part in re.findall(r'<(?:script|img|iframe|link)\b[^>]*?\b(?:src|href)="((?:https?:)?//[^"]*)"', text):
            yield f"{name}: needs the network for {part}"
        for picture in re.findall(r'<img\b(?![^>]*\balt="[^"]+)[^>]*>', text):
            yield f"{name}: a picture has no alternative text, write `#| fig-alt: ...` into its cell: {picture[:60]}"
        loaded = {site / part for part in re.findall(r'<(?:script|link|img)\b[^>]*?\b(?:src|href)="([^":]+)"', text)}
        if (size := sum(path.stat().st_size for path in {site / name, *loaded, *site.rglob("*.woff2")})) > PAGE_LIMIT:
            yield f"{name}: {size:,} bytes with all that it loads, more than {PAGE_LIMIT:,}: make its pictures smaller"


def build_site(config, readme):
    "Render every page, and check all of them; the folder of the finished site."
    try:
        from smalldocs.site import build
    except ModuleNotFoundError:
        sys.exit("The site needs Python 3.11 or newer, for smalldocs. Name one: make clean && make docs PYTHON=python3.12")

    built = build(prepare(config), quiet=True)
    finish(built.out, config)
    problems = [warning for warning in built.warnings if "broken link" not in warning]
    problems += sorted(set(faults(built.out, readme, config)))
    if problems:
        sys.exit("the site is not built:\n  " + "\n  ".join(problems))
    return built.out


def main(what="all", folder="_docs"):
    "Build all, or README.md or the site alone; the project changes only once everything went well."
    if what not in ("all", "readme", "site"):
        sys.exit(__doc__)
    target = ROOT / folder
    if what == "site" and target.exists():
        sys.exit(f"{folder} is there already: name a folder that is not")
    with project_copy() as config:
        files = build_readme(config)
        if what != "readme":
            site = build_site(config, files["README.md"].decode())
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(site, target)
            print(f"{folder}/: {len(list(site.glob('*.html')))} pages")
    if what == "site":
        return
    shutil.rmtree(ROOT / PICTURES, ignore_errors=True)
    for name, content in files.items():
        (ROOT / name).parent.mkdir(exist_ok=True)
        (ROOT / name).write_bytes(content)
    print(f"README.md, and its pictures in {PICTURES}/")


if __name__ == "__main__":
    main(*sys.argv[1:])
