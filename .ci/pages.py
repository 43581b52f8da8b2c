"The notebooks as a reader of pages sees them, and the names and words that are explained in them."

import ast
import copy
import html
import json
import re
from functools import partial

from package import NAME, ROOT, settings

NOTEBOOKS = ROOT / settings["nbs_path"]
FILES = f"{settings['git_url']}/blob/{settings['branch']}"
UNSEEN = {"hide", "default_exp", "export"}  # cells that readers of a page do not see


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


def markdown(text):
    "A Markdown cell."
    return {"cell_type": "markdown", "metadata": {}, "source": text}


def in_one_piece(outputs):
    "A stream that was flushed is stored in pieces; on a page it is one."
    whole = []
    for output in copy.deepcopy(outputs):
        output["text"] = "".join(output.get("text", ""))
        if whole and output.get("name") and output["name"] == whole[-1].get("name"):
            whole[-1]["text"] += output["text"]
        else:
            whole.append(output)
    return whole


def read(path):
    "A notebook's title, its one sentence, and the cells that a reader sees, each source a string."
    title, *rest = json.loads(path.read_text(encoding="utf-8"))["cells"]
    head = re.match(r"# (.*?)\s*(?:> (.*?))?\s*$", "".join(title["source"]), flags=re.S)
    cells = []
    for cell in rest:
        source = "".join(cell["source"])
        code = cell["cell_type"] == "code"
        flags = {*re.findall(r"^#\|\s*(\w+)", source, flags=re.M)} if code else set()
        if cell.get("id") == "badges" or flags & UNSEEN:
            continue
        cells.append({**cell, "source": source})
        if code:
            cells[-1]["outputs"] = in_one_piece(cell["outputs"])
    return head[1], head[2] or "", cells


# --- names and words ---


def public_names(body):
    "The public functions and classes of a module, {name: node}, with all methods of its classes."
    found = {}
    for node in body:
        if not isinstance(node, (ast.FunctionDef, ast.ClassDef)) or node.name.startswith("_"):
            continue
        if "patch" in map(ast.unparse, node.decorator_list):
            found[f"{ast.unparse(node.args.args[0].annotation)}.{node.name}"] = node
        else:
            found[node.name] = node
        if isinstance(node, ast.ClassDef):
            methods = public_names(node.body).items()
            found |= {f"{node.name}.{name}": method for name, method in methods}
    return found


def exported(body):
    "What `__all__` names."
    for node in body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return ast.literal_eval(node.value)
    return []


def read_modules():
    "Every public module: its name, docstring, public names, and its notebook, if it has one."
    for path in sorted((ROOT / NAME).glob("[!_]*.py")):
        text = path.read_text(encoding="utf-8")
        tree, notebook = ast.parse(text), re.search(r"File to edit: \S*?([^/]+\.ipynb)", text)
        names, shown = public_names(tree.body), exported(tree.body)
        if shown and not notebook:  # a plain module
            names = {name: node for name, node in names.items() if name.partition(".")[0] in shown}
        yield path.stem, ast.get_docstring(tree) or "", names, notebook and notebook[1]


def addresses(modules):
    "Where each public name is explained: {name: notebook#anchor}; a method, with its class."
    found, twice = {}, set()
    for _, _, public, notebook in modules:
        for name in public if notebook else []:
            owner, _, method = name.rpartition(".")
            twice |= {method} if owner else {name} & found.keys()
            found[name] = f"{notebook}#{owner or name}"
    return {name: address for name, address in found.items() if name not in twice}


def outside_code(change, text):
    "Apply `change` to all of a Markdown text but its blocks of code, equations and headings."
    parts = re.split(r"(^```.*?^```$|\$\$.*?\$\$|^#.*?$)", text, flags=re.M | re.S)
    return "".join(part if number % 2 else change(part) for number, part in enumerate(parts))


def with_names(names, text):
    "Link the names in backticks, where they are not in a link already."

    def link(match):
        name = match[1]
        return f"[{match[0]}]({names[name]})" if name in names else match[0]

    pattern = r"(?:\[[^\]]*\]\([^)]*\))|`([A-Za-z][\w.]*)(?:\(\))?`"
    return outside_code(partial(re.sub, pattern, link), text)


def read_glossary():
    "The words that the glossary explains, {word: sentence}; its lines are `- **word**: sentence`."
    found = {}
    for path in NOTEBOOKS.glob("*glossary.ipynb"):
        for cell in read(path)[2]:
            found |= re.findall(r"^- \*\*(.+?)\*\*: (.*)$", cell["source"], flags=re.M)
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
    return outside_code(partial(re.sub, pattern, explain), text)
