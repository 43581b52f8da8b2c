"The page that lists all public names of the package, made from its modules; docs.py calls this."
import ast
import re
from pathlib import Path

from nbdev.doclinks import _nbpath2html


def link_row(*links):
    "Links to open a page elsewhere, as a row below its title."
    items = "".join(f'<a href="{link["href"]}"><i class="bi bi-{link["icon"]}" aria-hidden="true"></i>{link["text"]}</a>' for link in links)
    return f'<nav class="elsewhere" aria-label="This page elsewhere">{items}</nav>\n'


def public_names(body):
    "The public functions and classes of a module, as {name: node}; after a class its methods, those added by `patch` too."
    found = {}
    for node in body:
        if not isinstance(node, (ast.FunctionDef, ast.ClassDef)) or node.name.startswith("_"):
            continue
        if any(getattr(each, "id", "") == "patch" for each in node.decorator_list):
            found[f"{node.args.args[0].annotation.id}.{node.name}"] = node
        else:
            found[node.name] = node
            if isinstance(node, ast.ClassDef):
                found |= {f"{node.name}.{name}": method for name, method in public_names(node.body).items()}
    classes = list(found)
    return dict(sorted(found.items(), key=lambda item: (classes.index(item[0].partition(".")[0]), item[1].lineno)))


def api_page(config):
    "A page that lists all public names of the package, from its modules: what each is for, where it is explained, its source."
    package = f"{config.git_url}/tree/{config.branch}/{config.lib_path.name}"
    parts = [
        "---\ntitle: API\ndescription: Every public function and class, module by module.\n---",
        link_row({"text": "Package on GitHub", "icon": "github", "href": package}),
        "A name leads to the place in its notebook where it is explained and tested, *source* to its line in the package. Parameters are documented there, each beside its name.",
    ]
    modules = {}
    for path in config.lib_path.glob("[!_]*.py"):
        text = path.read_text(encoding="utf-8")
        modules[re.search(r"File to edit: \S*/(\S+\.ipynb)", text)[1]] = (path, ast.parse(text))
    for notebook, (path, tree) in sorted(modules.items()):
        page = _nbpath2html(Path(notebook)).name
        heading = f"## {config.lib_name}.{path.stem}\n\n{ast.get_docstring(tree)} [The notebook]({page})"
        rows = ["| name | what it is |", "|:--|:--|"]
        names = public_names(tree.body)
        for name, node in names.items():
            owner = name.partition(".")[0]
            anchor = name if node in tree.body else owner  # a method written inside its class has no heading of its own
            source = f"{package.replace('/tree/', '/blob/')}/{path.name}#L{node.lineno}"
            kind = "class " if isinstance(node, ast.ClassDef) else ""
            summary = ast.get_docstring(node).splitlines()[0].replace("|", "\\|")
            rows.append(f"| {kind}[`{name}`]({page}#{anchor.lower()}) | {summary} [source]({source}) |")
        parts += [heading, "\n".join(rows)]
    return "\n\n".join(parts) + "\n"
