"""Damage what the package reads, again and again: the answer is a result or one sentence, always.

    python tests/campaign.py --idx 1000000 --seed 1

Each kind of file has a function here, `kind(folder, draw)`: it makes one damaged input in the empty
`folder`, drawing from the generator `draw`, has it read, and returns a word for what came of it, to
be counted. Whatever it does not catch ends the campaign and is printed with the seed that makes it
again. `tests/test_campaign.py` runs a few hundred of each.
"""

import argparse
import collections
import functools
import gzip
import io
import json
import math
import struct
import sys
import tempfile
import time
import warnings
import zipfile
from pathlib import Path

import numpy as np

from fmnist.checks import CheckpointError
from fmnist.files import IDXError, load_idx_file
from fmnist.recipes import ModernMLP
from fmnist.store import published_folder, read_records, valid_record

TYPES = (">u1", ">i1", ">i2", ">i4", ">f4", ">f8")
CODES = (8, 9, 11, 12, 13, 14)


def mutate(content, draw, times=2):
    "`content` after up to `times` accidents: a bit flips, a piece is lost, moved, added, repeated."
    content = bytearray(content)
    for _ in range(draw.integers(1, times + 1)):
        start, end = sorted(draw.integers(0, len(content) + 1, 2).tolist())
        kind = draw.integers(6)
        if kind == 0 and len(content):
            content[min(start, len(content) - 1)] ^= 1 << int(draw.integers(8))
        elif kind == 1:
            del content[start:]
        elif kind == 2:
            del content[start : min(end, start + 8)]
        elif kind == 3:
            content[start:start] = draw.bytes(draw.integers(9))
        elif kind == 4:
            content[start : start + 4] = struct.pack(
                ">I", int(draw.choice([0, 1, 255, 2**16, 2**31, 2**32 - 1]))
            )
        else:
            content[start:start] = content[start:end][:64]
    return bytes(content)


def idx(folder, draw):
    "An IDX file, plain or compressed; damaged before or after compression, or a header that lies."
    path, packed = folder / "file", draw.integers(2) == 1
    shape = tuple(draw.integers(0, 5, draw.integers(0, 5)).tolist())
    if draw.integers(8) == 0:  # any header
        dimensions = draw.choice([0, 1, 2, 3, 2**16, 2**32 - 1], draw.integers(0, 80)).tolist()
        content = struct.pack(
            f">HBB{len(dimensions)}I", 0, draw.choice(CODES), len(dimensions), *dimensions
        )
        content += draw.bytes(draw.integers(100))
    else:
        kind = draw.integers(len(CODES))
        content = struct.pack(f">HBB{len(shape)}I", 0, CODES[kind], len(shape), *shape)
        content = mutate(content + np.arange(math.prod(shape)).astype(TYPES[kind]).tobytes(), draw)
    if packed:
        content = gzip.compress(content, 1)
        if draw.integers(2):
            content = mutate(content, draw)
    path.write_bytes(content)
    try:
        array = load_idx_file(path)
    except IDXError as error:
        assert str(path) in str(error) and "\n" not in str(error), str(error)
        return "refused"
    assert array.flags.writeable and array.dtype.isnative
    return "read"


def damage(value, draw):
    "A value of JSON with one of its parts replaced by something that does not belong there."
    if isinstance(value, (dict, list)) and value and draw.integers(8):
        key = (
            draw.choice(list(value)) if isinstance(value, dict) else int(draw.integers(len(value)))
        )
        value[key] = damage(value[key], draw)
        return value
    others = [
        None,
        True,
        -1,
        7,
        0.5,
        10**30,
        "x",
        "\ud800",
        math.nan,
        math.inf,
        [],
        [1],
        {},
        {"x": 1},
    ]
    return others[draw.integers(len(others))]


def line(folder, draw):
    "A line of results behind a good one, its bytes or its values damaged."
    good, whole = draw.choice(published_lines(), 2, replace=False).tolist()
    by_value = draw.integers(2)
    content = (
        json.dumps(damage(json.loads(whole), draw)).encode() if by_value else mutate(whole, draw)
    )
    content = content.replace(b"\n", b" ")
    (folder / "study.jsonl").write_bytes(good + b"\n" + content + b"\n")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        records = read_records(folder)
    assert json.loads(good)["digest"] in records and len(records) + len(caught) in (1, 2)
    for record in records.values():
        content = record.to_dict()  # with seven digits
        assert valid_record(json.loads(json.dumps(content))).to_dict() == content
    return "refused" if caught else "read"


@functools.cache
def published_lines():
    "All lines that ship with the package, as an array of bytes."
    paths = sorted(published_folder().glob("*.jsonl"))
    return np.array(
        [line for path in paths for line in path.read_bytes().splitlines()], dtype=object
    )


@functools.cache
def saved_network():
    "The members of a small saved network: name in the ZIP archive -> bytes."
    draw = np.random.default_rng(0)
    net = ModernMLP(6, [5, 4], ["relu", "softmax"], optimizer="adamw")
    batches = [(draw.random((7, 6), np.float32), draw.integers(0, 4, 7)) for _ in range(3)]
    net.train(batches, batches, epochs=2, verbose=False)
    with tempfile.TemporaryDirectory() as folder:
        net.save(Path(folder) / "net.npz")
        with zipfile.ZipFile(Path(folder) / "net.npz") as archive:
            return {name: archive.read(name) for name in archive.namelist()}


def as_npy(value):
    "The bytes of an array as NumPy saves it, also as a pickle."
    buffer = io.BytesIO()
    np.save(buffer, value, allow_pickle=True)
    return buffer.getvalue()


FOREIGN = (None, True, -1, 0, 1.5, 1e300, math.nan, "", "a", [], {}, [1], [[1]], 10**30, 2**40)


def other_text(text, draw):
    "The JSON text with one of its values, at any depth, replaced or taken out."
    about = json.loads(text)
    place = about
    while True:
        keys = list(place) if isinstance(place, dict) else range(len(place))
        key = keys[draw.integers(len(keys))]
        if not isinstance(place[key], (dict, list)) or not place[key] or draw.integers(3) == 0:
            break
        place = place[key]
    if draw.integers(4) == 0:
        del place[key]
    else:
        place[key] = FOREIGN[draw.integers(len(FOREIGN))]
    return json.dumps(about)


def other_array(content, draw):
    "A member with another type, shape or content."
    values = np.load(io.BytesIO(content))
    kind = draw.integers(5)
    if kind == 0:
        kinds = ["float16", "complex64", "object", "U3", "bool"]
        return as_npy(values.astype(kinds[draw.integers(5)]))
    if kind == 1:
        return as_npy(values[None])
    if kind == 2 and values.ndim:
        values.flat[draw.integers(values.size)] = [np.nan, np.inf, 1e38][draw.integers(3)]
        return as_npy(values)
    return mutate(content, draw)


def npz(folder, draw):
    "A saved network: its bytes damaged, a value of its text, or a member; foreign ones added."
    path, members = folder / "net.npz", dict(saved_network())
    kind, name = draw.integers(4), list(members)[draw.integers(len(members))]
    if kind == 0:
        text = str(np.load(io.BytesIO(members["about.npy"])))
        members["about.npy"] = as_npy(np.array(other_text(text, draw)))
    elif kind == 1:
        members[name] = other_array(members[name], draw) if name != "about.npy" else b""
    elif kind == 2:
        members[["evil.npy", "extra.v.W9.npy", "a/../b", "W0"][draw.integers(4)]] = members[name]
    packing = zipfile.ZIP_DEFLATED if draw.integers(16) == 0 else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", packing) as archive:
        for each, content in members.items():
            archive.writestr(each, content)
    if kind == 3:
        path.write_bytes(mutate(path.read_bytes(), draw))
    try:
        net = ModernMLP.load(path)
    except CheckpointError:
        return "refused"
    assert all(np.isfinite(value).all() for value in net.state().values())
    assert np.isfinite(net.learning_rate) and len(net.history.epochs) == net.epoch
    return "read"


# Name on the command line -> function; checkpoints belong here, too.
KINDS = {"idx": idx, "line": line, "npz": npz}


def run(kind, count, seed=0):
    "Try `count` inputs of one kind; what came of them, counted. An unexpected error says which."
    outcomes: collections.Counter = collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            try:
                outcomes[KINDS[kind](Path(folder), np.random.default_rng([seed, number]))] += 1
            except Exception as error:
                raise AssertionError(
                    f"{kind}, seed {seed}, input {number}: {type(error).__name__}: {error}"
                ) from error
            for path in Path(folder).iterdir():
                path.unlink()
    return outcomes


def main(argv=None):
    "Run the kinds that are asked for, and print the counts."
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for kind, function in KINDS.items():
        parser.add_argument(
            f"--{kind}", type=int, default=0, metavar="COUNT", help=function.__doc__
        )
    parser.add_argument("--seed", type=int, default=0, help="another seed, other inputs")
    arguments = vars(parser.parse_args(argv))
    for kind in KINDS:
        began, count = time.monotonic(), arguments[kind]
        if count:
            outcomes = run(kind, count, arguments["seed"])
            counts = ", ".join(f"{number:,} {word}" for word, number in sorted(outcomes.items()))
            print(f"{kind}: {count:,} inputs, {counts}; {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    sys.exit(main())
