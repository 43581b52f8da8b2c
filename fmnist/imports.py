"""What somebody else wrote, by its import path `module:name`, and a digest of the code that it is.

A plain module, without a notebook: its tests are in tests/test_imports.py.
"""

import ast
import contextlib
import functools
import hashlib
import importlib
import importlib.machinery
import importlib.util
import os
import sys
import time
from pathlib import Path

from .checks import check

__all__ = ["import_path", "named", "load_module", "code_digest"]

_STARTED = time.time()
# Name of each module that `load_module` gave, or that those import -> digest of its code
_loaded: dict = {}

_IN_A_CELL = (
    "{name} is defined in a notebook's cell or in an interactive session, and a worker process "
    "cannot import that: write it to a file (in a notebook, begin its cell with "
    '%%writefile nets.py) and give its import path, "nets:{name}"'
)


def import_path(
    thing,  # A function or class, or a string "module:name", which stays as it is
) -> str:  # "module:name"
    "Where something can be imported from; a `ValueError` if another process could not."
    if isinstance(thing, str):
        return thing
    module, name = getattr(thing, "__module__", None), getattr(thing, "__qualname__", repr(thing))
    if module in (None, "__main__") or "<" in name:
        raise ValueError(_IN_A_CELL.format(name=name))
    return f"{module}:{name}"


def named(
    path: str,  # "module:name"
):  # The function or class of that name
    "What a path names: a module beside script or notebook, in the working directory, or installed."
    module_name, _, name = path.partition(":")
    check(
        bool(module_name and name),
        "the import path",
        path,
        'the form "module:name", such as "nets:small"',
    )
    if module_name == "__main__":
        raise ValueError(_IN_A_CELL.format(name=name))
    thing = load_module(module_name)
    for part in name.split("."):
        if not hasattr(thing, part):
            public = [
                each
                for each in dir(thing)
                if callable(getattr(thing, each)) and not each.startswith("_")
            ]
            raise ValueError(
                f"{module_name} has no {part!r}; it has {', '.join(public) or 'nothing to call'}"
            )
        thing = getattr(thing, part)
    return thing


def load_module(
    name: str,  # Of the module, with dots
):  # The module as its file is now, and with what it imports of one's own as that is now
    "Import a module, again if a file changed since; a `ValueError` says where it was looked for."
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # a console script does not look there by itself
    importlib.invalidate_caches()
    before = set(sys.modules)
    try:
        with _without_bytecode():
            module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and not f"{name}.".startswith(f"{error.name}."):
            raise  # something that this module needs
        raise ValueError(
            f"there is no module {name!r} in {os.getcwd()}, beside the script, or installed"
        ) from None
    file = getattr(module, "__file__", None)
    if file and not os.path.exists(file):
        raise ValueError(f"{file}, where {name!r} was found before, is gone: put it back")
    for each in _own_files(name):  # what is imported comes before who imports it
        parts = _own_files(each)
        digest = _together(parts)
        newest = max(map(os.path.getmtime, parts.values()))
        was_there = each in before and newest > _STARTED
        is_old = _loaded[each] != digest if each in _loaded else was_there
        if is_old and each in sys.modules:
            with _without_bytecode():
                importlib.reload(sys.modules[each])
        _loaded[each] = digest
    return sys.modules[name]


def code_digest(
    path: str,  # "module:name", or a module's name
) -> (
    str | None
):  # 12 hexadecimal digits, or the version of an installed package; None for this package
    "What the code is: a digest of the module's source and of all of one's own that it imports."
    name = path.partition(":")[0]
    top = name.partition(".")[0]
    if top == __package__:
        return None
    load_module(name)
    if files := _own_files(name):
        return _together(files)
    return str(getattr(importlib.import_module(top), "__version__", "installed"))


def _own_files(name, known=None):
    "One's own files that a module is made of, {name: path}: those that it imports, then its own."
    known = {} if known is None else known
    file = None if name in known else _own_file(name)
    if file:
        known[name] = file  # so that a circle of imports ends
        for each in _imported(name, file, _file_digest(file)):
            _own_files(each, known)
        known[name] = known.pop(name)
    return known


def _together(files):
    "One digest of files as `_own_files` gives them; of a single one, its own."
    *others, own = map(_file_digest, files.values())
    joint = "".join([own, *sorted(others)])
    return hashlib.sha256(joint.encode()).hexdigest()[:12] if others else own


def _own_file(name):
    "Where the source of one's own module is, found without importing it; None for any other."
    top, *parts = name.split(".")
    if top in ("", "__main__", __package__):
        return None
    is_there = top in sys.modules
    spec = sys.modules[top].__spec__ if is_there else importlib.util.find_spec(top)
    for part in parts:
        inside = spec and spec.submodule_search_locations
        top = f"{top}.{part}"
        spec = importlib.machinery.PathFinder.find_spec(top, inside) if inside else None
    file = spec and spec.origin
    return file if file and file.endswith(".py") and not _is_installed(file) else None


@functools.cache
def _imported(name, file, digest):
    "The names that a source imports, wherever in it, and the packages around it; some no modules."
    package = name if Path(file).name == "__init__.py" else name.rpartition(".")[0]
    found = {name.rpartition(".")[0]}
    try:
        nodes: list = [ast.parse(Path(file).read_bytes())]
    except SyntaxError:  # who imports it will be told
        return ()
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.rsplit(".", node.level - 1)[0] if node.level else ""
            base = ".".join(filter(None, [above, node.module]))
            found |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
        elif not _is_for_scripts(node):
            nodes += ast.iter_child_nodes(node)
    return tuple(sorted(found))


def _is_for_scripts(node):
    "Is this `if __name__ == ...`, which is passed over when a module is imported?"
    return isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)


@contextlib.contextmanager
def _without_bytecode():
    "Compile anew: a .pyc knows its source by size and second, and a quick edit can keep both."
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before


def _file_digest(file):
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()[:12]


@functools.cache
def _is_installed(file):
    "Is it a part of Python, or of what a package manager put beside it?"
    folders = {"site-packages", "dist-packages"} & set(Path(file).parts)
    return bool(folders) or Path(file).resolve().is_relative_to(Path(os.__file__).resolve().parent)
