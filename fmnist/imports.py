"""What somebody else wrote, by its import path `module:name`, and a digest of the code that it is.

A plain module, without a notebook: its tests are in tests/test_imports.py.
"""

import ast
import contextlib
import functools
import hashlib
import importlib
import importlib.util
import os
import sys
import time
from pathlib import Path

from .checks import check

__all__ = ["import_path", "named", "load_module", "code_digest"]

_STARTED = time.time()
_loaded: dict = {}  # Name of each module that `load_module` gave -> digest of the file that it was made from

_IN_A_CELL = (
    "{name} is defined in a notebook's cell or in an interactive session, and a worker process cannot import "
    "that: write it to a file (in a notebook, begin its cell with %%writefile nets.py) "
    'and give its import path, "nets:{name}"'
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
    "What a path names: a module beside the script or notebook, in the working directory, or installed."
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
):  # The module as its file is now, and as those of one's own are that it imports
    "Import a module, again if a file has changed since; a `ValueError` says where it was looked for."
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
    is_old = False
    for each, path in _own_files(name).items():  # what is imported comes before who imports it
        digest = _file_digest(path)
        if each in _loaded:
            is_old |= _loaded[each] != digest
        else:
            is_old |= each in before and os.path.getmtime(path) > _STARTED
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
    files = _own_files(name)
    if not files:
        return str(getattr(importlib.import_module(top), "__version__", "installed"))
    *others, own = map(_file_digest, files.values())
    together = "".join([own, *sorted(others)]).encode()
    return hashlib.sha256(together).hexdigest()[:12] if others else own


def _own_files(name, known=None):
    "The files of one's own that a module is made of, {name: path}: those that it imports, then its own."
    known = {} if known is None else known
    file = _own_file(name)
    if file is None or name in known:
        return known
    known[name] = file  # so that a circle of imports ends
    for each in _imported(name, file):
        _own_files(each, known)
    known[name] = known.pop(name)
    return known


def _own_file(name):
    "Where the source of a module of one's own is; None for any other."
    top = name.partition(".")[0]
    try:  # that of a package is found without importing it
        spec = importlib.util.find_spec(top)
        if top == __package__ or spec is None or (spec.origin and _is_installed(spec.origin)):
            return None
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    file = spec and spec.origin
    return file if file and file.endswith(".py") and not _is_installed(file) else None


def _imported(name, file):
    "The names that a source imports, wherever in it; some may be no modules."
    package = name if Path(file).name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(Path(file).read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.rsplit(".", node.level - 1)[0] if node.level else ""
            base = ".".join(filter(None, [above, node.module]))
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


@contextlib.contextmanager
def _without_bytecode():
    "Compile anew: a .pyc is told from its source by size and second, and a quick edit can keep both."
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
