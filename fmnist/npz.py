"""Networks in `.npz` files: written whole or not at all, and read without believing anything.

A plain module, without a notebook: its tests are in tests/test_npz.py. An `.npz` file is a ZIP
archive of arrays. What `write_npz` makes is never compressed, so a file cannot unpack to more than
it is: what is compressed, overlaps, has another shape than it should, or a name that nobody asked
for, is refused before it is read. Nothing is executed.
"""

import json
import math
import os
from contextlib import contextmanager
from zipfile import ZIP_STORED, ZipFile

import numpy as np

from .checks import CheckpointError
from .files import atomic_write

__all__ = ["write_npz", "Archive", "refusing"]

# bytes of the JSON text; 10,000 epochs of one network have 2 million characters, of 4 bytes
LONGEST_TEXT = 64_000_000
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def write_npz(
    path,  # The file to write, usually *.npz
    about: dict,  # What JSON can hold
    arrays: dict,  # Name -> NumPy array
):
    "Write a dictionary and arrays into one file, which is replaced in one go."
    with atomic_write(path) as file:
        np.savez(file, about=np.array(json.dumps(about)), **arrays)


@contextmanager
def refusing(
    path,  # The file, for the message
):
    "Whatever is wrong with the content of a file becomes a `CheckpointError` that names it."
    try:
        yield
    except (CheckpointError, FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise CheckpointError(f"{path} is not a file that `save` has written ({reason})") from error


class Archive:
    "An open `.npz` file; a context manager."

    def __init__(
        self,
        path,  # The file
    ):
        self.path = path
        self.zip = ZipFile(path)
        infos = self.zip.infolist()
        self.sizes = {info.filename.removesuffix(".npy"): info.file_size for info in infos}
        packed = [info.filename for info in infos if info.compress_type != ZIP_STORED]
        twice = len(self.sizes) < len(infos)
        if packed or twice or sum(self.sizes.values()) > os.path.getsize(path):
            self.zip.close()
            raise CheckpointError(f"{path} is not a file that `save` has written: it is "
                                  "compressed, or unpacks to more than it holds")

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.zip.close()

    def _refuse(self, name, reason):
        raise CheckpointError(f"{self.path} is not a file that `save` has written: {name} {reason}")

    def _open(self, name, shape, kinds):
        "The array `name`, if the file gives it this shape, one of these kinds, and as many bytes."
        if name not in self.sizes:
            self._refuse(name, "is missing")
        with self.zip.open(f"{name}.npy") as stream:
            version = np.lib.format.read_magic(stream)
            given, _, dtype = HEADERS[version](stream)
            expected = stream.tell() + math.prod(given) * dtype.itemsize
        if tuple(given) != tuple(shape) or dtype.kind not in kinds or self.sizes[name] != expected:
            self._refuse(name, f"is {dtype} {tuple(given)}, expected shape {tuple(shape)}")
        with self.zip.open(f"{name}.npy") as stream:
            return np.lib.format.read_array(stream, allow_pickle=False)

    def about(self) -> dict:  # What `write_npz` was given
        "The dictionary."
        if self.sizes.get("about", 0) > LONGEST_TEXT:
            self._refuse("about", f"has {self.sizes['about']:,} bytes")
        about = json.loads(str(self._open("about", (), "U")))
        if not isinstance(about, dict):
            self._refuse("about", f"is a {type(about).__name__}, expected a dictionary")
        return about

    def arrays(
        self,
        shapes: dict,  # Every name that there may be -> its shape
        required,  # Names that there must be
    ) -> dict:  # Name -> array of finite numbers
        "All arrays."
        names = {name for name in self.sizes if name != "about"} | set(required)
        foreign = names - set(shapes)
        if foreign:
            self._refuse(min(foreign), "does not belong to such a network")
        arrays = {name: self._open(name, shape, "fi") for name, shape in shapes.items()
                  if name in names}
        for name, values in arrays.items():
            if not np.isfinite(values).all():
                self._refuse(name, "has numbers that are not finite")
        return arrays
