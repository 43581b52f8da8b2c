"`load_idx_file` answers any bytes with an array or an IDXError, nothing else."

import gzip
import math
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fmnist.files import IDXError, load_idx_file, save_idx_file

shapes = st.lists(st.integers(0, 5), max_size=5).map(tuple)
types = st.sampled_from(["uint8", "int8", "int16", "int32", "float32", "float64"])
many = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def load(path, content):
    "What becomes of a file with this content: the array; None for an IDXError that names the file."
    path.write_bytes(content)
    try:
        return load_idx_file(path)
    except IDXError as error:
        assert str(path) in str(error)


@many
@given(content=st.binary(max_size=200), packed=st.booleans())
def test_arbitrary_bytes(tmp_path, content, packed):
    load(tmp_path / "file", gzip.compress(content) if packed else content)


@many
@given(
    head=st.sampled_from([8, 9, 11, 12, 13, 14]),
    dims=st.lists(st.integers(0, 3) | st.integers(0, 2**32 - 1), max_size=80)
    | st.lists(st.integers(0, 3), max_size=4),
    tail=st.binary(max_size=100),
    packed=st.booleans(),
)
def test_arbitrary_headers(tmp_path, head, dims, tail, packed):
    content = struct.pack(f">HBB{len(dims)}I", 0, head, len(dims), *dims) + tail
    array = load(tmp_path / "file", gzip.compress(content) if packed else content)
    if array is not None:
        assert array.shape == tuple(dims) and array.nbytes == len(tail)


@many
@given(shape=shapes, dtype=types, data=st.data(), packed=st.booleans())
def test_mutations(tmp_path, shape, dtype, data, packed):
    path = tmp_path / ("file.gz" if packed else "file")
    save_idx_file(path, np.arange(math.prod(shape)).reshape(shape).astype(dtype))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, max(len(content) - 1, 0)))
        kind = data.draw(st.sampled_from(["flip", "cut", "insert", "append"]))
        if kind == "flip" and content:
            content[at] ^= data.draw(st.integers(1, 255))
        elif kind == "cut":
            del content[at:]
        elif kind == "insert":
            content[at:at] = data.draw(st.binary(max_size=8))
        else:
            content += data.draw(st.binary(max_size=8))
    load(path, bytes(content))


@many
@given(shape=shapes, dtype=types, data=st.data(), packed=st.booleans())
def test_round_trip(tmp_path, shape, dtype, data, packed):
    size = math.prod(shape) * np.dtype(dtype).itemsize
    array = np.frombuffer(data.draw(st.binary(min_size=size, max_size=size)), dtype).reshape(shape)
    path = tmp_path / ("file.gz" if packed else "file")
    save_idx_file(path, array)
    loaded = load_idx_file(path)
    assert (loaded.dtype, loaded.shape, loaded.tobytes()) == (
        array.dtype,
        array.shape,
        array.tobytes(),
    )
    assert loaded.flags.writeable


def test_type_without_code(tmp_path):
    with pytest.raises(IDXError, match="IDX has no type for complex128"):
        save_idx_file(tmp_path / "file", np.zeros(3, complex))
    assert not list(tmp_path.iterdir())
