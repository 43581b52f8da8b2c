"What would lose a record is found before the first run."

import json
import sys

import pytest
import torch

from fmnist.data import fashion_mnist_sample
from fmnist.modern_recipes import RECIPES
from fmnist.speedrun import fmnist_speedrun, read_speedruns, speedrun

SHORT = ["--sample", "--runs", "1", "--epochs", "1", "--threads", "1", "--device", "cpu"]


def refused(words):
    "What the command says at its end."
    with pytest.raises(SystemExit) as stopped:
        fmnist_speedrun(words)
    return str(stopped.value)


def test_a_record_is_added_to_a_file(tmp_path, capsys):
    file = tmp_path / "records.jsonl"
    file.write_text("\n")
    fmnist_speedrun([*SHORT, "--save", str(file)])
    [record] = read_speedruns(file)
    assert json.loads(file.read_text())["seeds"] == record.seeds == [0]
    assert "one run shows nothing about the next" in capsys.readouterr().out


def test_a_file_that_cannot_be_written_is_found_before_the_warm_up(tmp_path, capsys):
    said = refused([*SHORT, "--save", str(tmp_path / "nowhere" / "records.jsonl")])
    assert said.startswith("fmnist_speedrun: ") and "nowhere" in said
    assert "warm-up" not in capsys.readouterr().out


def test_a_network_of_ones_own_and_a_precision(tmp_path, monkeypatch):
    (tmp_path / "fast_nets.py").write_text(
        "from torch import nn\n"
        "def small(width=4): return nn.Sequential(nn.Conv2d(1, width, 3), nn.ReLU(), nn.Flatten(),"
        " nn.Linear(676*width, 10))\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    own = dict(model="fast_nets:small", settings=dict(width=3), epochs=1, batch_size=200)
    training = RECIPES["fast"]["training"] | dict(dtype="float32")
    data = fashion_mnist_sample()
    chosen = RECIPES["fast"] | own | dict(training=training)
    record = speedrun(data, "mine", 1, device="cpu", chosen=chosen)
    assert (record.parameters, record.precision) == (9 * 3 + 3 + 676 * 30 + 10, "float32")
    assert record.multiply_adds == 676 * 3 * 9 + 676 * 30
    assert record.recipe["model"] == "fast_nets:small"
    with pytest.raises(ValueError, match="a part of chosen is 'epoch', expected one of"):
        speedrun(data, "mine", 1, device="cpu", chosen=RECIPES["fast"] | dict(epoch=4))
    chosen = RECIPES["fast"] | dict(model="fast_nets:small")
    said = "a setting of fast_nets:small is 'channels', expected one of width"
    with pytest.raises(ValueError, match=said):
        speedrun(data, "mine", 1, device="cpu", chosen=chosen)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there():
    said = refused([*SHORT[:-1], "cuda"])
    allowed = "one that PyTorch can use here, such as cpu"
    assert said == f"fmnist_speedrun: device is 'cuda', expected {allowed}"
