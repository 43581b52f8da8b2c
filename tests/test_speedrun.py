"What would lose a record is found before the first run."

import json

import pytest
import torch

from fmnist.speedrun import fmnist_speedrun, read_speedruns

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


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there():
    said = refused([*SHORT[:-1], "cuda"])
    assert said == "fmnist_speedrun: device is 'cuda', expected one that PyTorch can use here, such as cpu"
