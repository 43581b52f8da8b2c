"""What somebody else wrote, by its import path `module:name`, and a digest of the code that it is.

A plain module, without a notebook: its tests are in tests/test_imports.py.
"""

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
):  # The module as its file is now
    "Import a module, again if its file has changed since; a `ValueError` says where it was looked for."
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # a console script does not look there by itself
    importlib.invalidate_caches()
    try:
        known = name in sys.modules
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
    if file and not _is_installed(file):
        digest = _file_digest(file)
        is_old = (
            _loaded[name] != digest
            if name in _loaded
            else known and os.path.getmtime(file) > _STARTED
        )
        if is_old:
            with _without_bytecode():
                module = importlib.reload(module)
        _loaded[name] = digest
    return module


def code_digest(
    path: str,  # "module:name", or a module's name
) -> (
    str | None
):  # 12 hexadecimal digits, or the version of an installed package; None for this package
    "What the module's code is: of one's own file a digest of its source, whatever it imports."
    name = path.partition(":")[0]
    top = name.partition(".")[0]
    if top == __package__:
        return None
    module = load_module(name)
    file = getattr(module, "__file__", None)
    if file is None or _is_installed(file):
        return str(getattr(importlib.import_module(top), "__version__", "installed"))
    return _file_digest(file)


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
