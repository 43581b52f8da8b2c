"Training that is killed at random moments ends as if nothing had happened."
import multiprocessing
import random
import sys
import time

import pytest
import torch

from fmnist.cnn import CNNModel
from fmnist.data import augmentation, cnn_batches, fashion_mnist_sample
from fmnist.training import fit

EPOCHS, KILLS = 8, 20


def train(path):
    model = CNNModel(channels=(4, 4, 4, 4, 4), hidden=(8,))
    data = fashion_mnist_sample()
    data = data.replace(train_images=data.train_images[:300], train_labels=data.train_labels[:300])
    loaders = cnn_batches(data, augment=augmentation(flip=True, shift=2, erase=8))[:2]
    fit(model, *loaders, epochs=EPOCHS, path=path, dtype="float32", device="cpu",
        schedule="one cycle", resume=True)


def version(path):
    return path.stat().st_mtime_ns if path.exists() else None


@pytest.mark.ci  # a killed sweep of trainings is tried by test_sweeps.py each time
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_killed_at_random_moments(tmp_path):
    context = multiprocessing.get_context("forkserver")
    # a new process, and its first optimizer, then start at once
    context.set_forkserver_preload(["fmnist.training", "torch._dynamo"])

    def start(name):
        process = context.Process(target=train, args=(tmp_path / f"{name}.pth",))
        process.start()
        return process

    began = time.perf_counter()
    undisturbed = start("undisturbed")
    undisturbed.join()
    assert undisturbed.exitcode == 0
    whole = time.perf_counter() - began

    draw, kills, met = random.Random(0), 0, set()
    checkpoint = tmp_path / "killed.checkpoint.pth"
    while kills < KILLS:
        process = start("killed")
        for _ in range(draw.randrange(3)):  # let it finish so many epochs, then go into the next
            before = version(checkpoint)
            while version(checkpoint) == before and process.is_alive():
                time.sleep(0.001)
        process.join(draw.uniform(0, whole / EPOCHS))
        process.kill()
        process.join()
        kills += process.exitcode == -9
        if checkpoint.exists():  # whatever the moment, what is there is whole
            epochs = len(torch.load(checkpoint, weights_only=True)["history"]["epochs"])
            met.add(epochs)
            if epochs == EPOCHS and kills < KILLS:  # through before the last kill: once more
                checkpoint.unlink()
    last = start("killed")
    last.join()
    assert last.exitcode == 0
    assert len(met) > 2, f"the kills met too few moments: checkpoints of {met} epochs"

    a, b = (torch.load(tmp_path / f"{name}.checkpoint.pth", weights_only=True)
            for name in ("killed", "undisturbed"))
    for part in ("model", "best"):
        assert all(torch.equal(a[part][name], b[part][name]) for name in b[part])
    for part in (a, b):
        for epoch in part["history"]["epochs"]:
            del epoch["seconds"]
    assert a["history"] == b["history"]
