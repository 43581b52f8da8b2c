"A checkpoint is believed only what it can know; whatever else it holds is a `CheckpointError`."

import copy
import math
import os
import random
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from fmnist import checkpoints
from fmnist.checks import CheckpointError, data_digest
from fmnist.cnn import CNNModel
from fmnist.data import augmentation, cnn_batches, fashion_mnist_sample
from fmnist.training import fit

TINY = dict(channels=(4, 8, 8, 8, 8), hidden=(16,))
DATA = fashion_mnist_sample()
LOADERS = cnn_batches(DATA)[:2]
LONG = int(
    os.environ.get("FMNIST_MUTATIONS", "40")
)  # forged checkpoints; the campaign by hand: 2000


def run(folder, epochs=2, loaders=LOADERS, initialization="he", dropout=0.2, **options):
    model = CNNModel(**TINY, initialization=initialization, dropout=dropout)
    given = dict(dtype="float32", device="cpu", resume=True) | options
    return fit(model, *loaders, epochs=epochs, path=folder / "best.pth", **given), model


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    "The folder of a training of two epochs, and what its checkpoint holds."
    folder = tmp_path_factory.mktemp("made")
    run(folder, schedule="one cycle", average=0.9)
    return folder, torch.load(folder / "best.checkpoint.pth", weights_only=True)


def refused(folder, message, **settings):
    "It says why, and the folder stays as it was."
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(CheckpointError, match=message):
        run(folder, **settings)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_other_settings(tmp_path):
    run(tmp_path)
    refused(
        tmp_path,
        "learning_rate is 0.001 there, 0.01 here; seed is 0 there, 7 here. Name another `path`",
        learning_rate=0.01,
        seed=7,
    )
    refused(
        tmp_path, "batches is 25 there, 15 here", loaders=cnn_batches(DATA, valid_fraction=0.52)[:2]
    )
    refused(
        tmp_path,
        "model is 'initialization=he, seed=0' there, 'initialization=xavier, seed=0' here",
        initialization="xavier",
    )
    refused(
        tmp_path,
        r"model is '\(1\): Dropout\(p=0.2, inplace=False\)' there, '\(1\): Dropout\(p=0.3",
        dropout=0.3,
    )
    refused(
        tmp_path,
        "augmentation of train_loader is 'False' there",
        loaders=cnn_batches(DATA, augment=augmentation(flip=True))[:2],
    )
    refused(tmp_path, "augment is None there, {'flip': True} here", augment=dict(flip=True))
    refused(tmp_path, "dtype is 'float32' there, 'bfloat16' here", dtype="bfloat16")
    refused(
        tmp_path, "the number of its epochs is 2, expected no more than the 1 asked for", epochs=1
    )
    refused(tmp_path, "digest of sample_weight is False there", sample_weight=np.ones(1600))
    assert len(run(tmp_path, epochs=3, dtype="auto")[0].epochs) == 3  # goes on in its own precision


def test_other_data(tmp_path):
    "The same number of batches, of other images or other labels, for training or validation."
    run(tmp_path)
    for part in (0, 1):
        for name in ("images", "labels"):
            loaders = list(map(copy.copy, LOADERS))
            values = getattr(loaders[part], name).clone()
            values[[0, 2]] = values[[2, 0]]
            setattr(loaders[part], name, values)
            which = ("train_loader", "val_loader")[part]
            refused(
                tmp_path,
                f"other settings: the digest of {which} is '[0-9a-f]{{16}}' there",
                loaders=loaders,
                epochs=3,
            )


def test_damaged_files(made, tmp_path):
    file = tmp_path / "best.checkpoint.pth"
    whole = (made[0] / file.name).read_bytes()
    damages = [whole[:-100], b"", b"PK", whole[:5000] + b"?" + whole[5001:], b"\x80\x04K\x01."]
    for damage in damages:
        file.write_bytes(damage)
        refused(tmp_path, "is no checkpoint, or damaged")
    torch.save({"format": Path("a Python object, which could do anything when read")}, file)
    refused(tmp_path, r"is no checkpoint, or damaged \(UnpicklingError\)")
    settings = {"format": checkpoints.FORMAT, "settings": {"learning_rate": torch.zeros(2)}}
    torch.save(settings, file)
    refused(tmp_path, "does not say how it was made")
    for foreign in (
        {"weights": torch.zeros(3)},
        [1, 2],
        torch.zeros(3),
        {"format": "fmnist.cnn.fit, version 1"},
    ):
        torch.save(foreign, file)
        refused(tmp_path, "is not a checkpoint of fmnist.training.fit, version 2")


WRONG = [
    None,
    7,
    "text",
    [],
    {},
    [1],
    {"a": 1},
    math.nan,
    -1,
    1e9,
    True,
    torch.zeros(2),
    torch.tensor(math.nan),
]


def places(value, path=()):
    "Every place in nested dictionaries and lists."
    yield path
    inner = dict(enumerate(value)) if isinstance(value, list) else value
    for key in inner if isinstance(inner, dict) else ():
        yield from places(inner[key], (*path, key))


def forge(content, draw):
    "A copy that is wrong in one place: another value, a missing or foreign one, one that is none."
    content = copy.deepcopy(content)
    *way, last = draw.choice([place for place in places(content) if place])
    part = content
    for key in way:
        part = part[key]
    kind = draw.randrange(4)
    if kind == 0 and isinstance(part, dict):
        del part[last]
    elif kind == 1 and isinstance(part, dict):
        part["foreign"] = part.pop(last)
    elif (
        kind == 2
        and isinstance(part[last], torch.Tensor)
        and part[last].is_floating_point()
        and part[last].numel()
    ):
        part[last][(0,) * part[last].ndim] = draw.choice([math.nan, math.inf])
    else:
        part[last] = draw.choice(WRONG)
    return content


def test_forged_checkpoints(made, tmp_path):
    "Either a `CheckpointError`, or a network of finite numbers: never another error."
    draw, refusals = random.Random(0), 0
    options = dict(schedule="one cycle", average=0.9)
    (tmp_path / "whole").mkdir()
    torch.save(made[1], tmp_path / "whole" / "best.checkpoint.pth")
    whole = run(tmp_path / "whole", **options)[1].state_dict()
    for _ in range(LONG):
        torch.save(forge(made[1], draw), tmp_path / "best.checkpoint.pth")
        try:
            _, model = run(tmp_path, **options)
        except CheckpointError as error:
            assert "Name another `path`" in str(error)
            refusals += 1
        else:
            assert all(value.isfinite().all() for value in model.state_dict().values())
            assert list(model.state_dict()) == list(whole)
    assert refusals > LONG // 2


def test_a_forged_learning_rate_is_not_believed(made, tmp_path):
    for schedule in ("constant", "linear"):
        folder = tmp_path / schedule
        run(folder, schedule=schedule, epochs=3)
        expected = run(folder, schedule=schedule, epochs=3)[1]
        run(folder, schedule=schedule, epochs=3, resume=False)
        forged = torch.load(folder / "best.checkpoint.pth", weights_only=True)
        forged["optimizer"]["param_groups"][0]["lr"] = 1e9
        torch.save(forged, folder / "best.checkpoint.pth")
        epochs = 4 if schedule == "constant" else 3
        history, model = run(folder, schedule=schedule, epochs=epochs)
        again, other = run(tmp_path / f"{schedule} again", schedule=schedule, epochs=epochs)
        assert [e.train_loss for e in history.epochs] == [e.train_loss for e in again.epochs]
        assert schedule == "constant" or all(
            map(torch.equal, model.state_dict().values(), expected.state_dict().values())
        )


def test_a_refusal_leaves_the_network_as_it_was(made, tmp_path):
    forged = copy.deepcopy(made[1])
    forged["best"] = {}
    torch.save(forged, tmp_path / "best.checkpoint.pth")
    model, fresh = CNNModel(**TINY), CNNModel(**TINY)
    with pytest.raises(
        CheckpointError, match="does not hold what a training writes: the names of its best"
    ):
        fit(
            model,
            *LOADERS,
            epochs=2,
            path=tmp_path / "best.pth",
            dtype="float32",
            device="cpu",
            resume=True,
            schedule="one cycle",
            average=0.9,
        )
    assert all(map(torch.equal, model.state_dict().values(), fresh.state_dict().values()))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_a_full_disk_leaves_the_old_files(tmp_path):
    run(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
    try:
        with pytest.raises(OSError, match="a file that was there before is untouched"):
            run(tmp_path, epochs=3)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_what_a_killed_process_left_is_removed(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = [
        tmp_path / f".best{middle}.pth.{dead.pid}-0a1b2c3d.tmp" for middle in ("", ".checkpoint")
    ]
    others = [
        tmp_path / f".best.pth.{os.getpid()}-0a1b2c3d.tmp",
        tmp_path / f".other.pth.{dead.pid}-0a1b2c3d.tmp",
        tmp_path / ".best.pth.tmp",
    ]
    parent = tmp_path / f".best.pth.{os.getppid()}-0a1b2c3d.tmp"
    for path in (*left, *others, parent):
        path.write_bytes(b"half")
    run(tmp_path, epochs=1)
    assert not any(path.exists() for path in left)
    assert all(path.exists() for path in others[1:]) and parent.exists()  # not ours to remove


def test_digests_of_loaders():
    train = LOADERS[0]
    pairs = list(train.epoch(0))
    assert data_digest(train) == data_digest(copy.copy(train)) != data_digest(LOADERS[1])
    assert data_digest(pairs) == data_digest(tuple(train.epoch(0))) != data_digest(pairs[:-1])
    assert data_digest(iter(pairs)) is None
