"Saved networks: what is refused, and that it is refused before it costs anything."
import io
import json
import os
import random
import tracemalloc
import zipfile

import numpy as np
import pytest

from fmnist.checks import CheckpointError
from fmnist.files import remove_leftovers
from fmnist.mlp import MLP
from fmnist.npz import Archive, write_npz
from fmnist.recipes import ModernMLP


def network(kind=MLP, **options):
    return kind(6, [5, 4], ["relu", "softmax"], "he", **options)


@pytest.fixture
def saved(tmp_path):
    "A file of a network that has learned for two epochs."
    mlp, draw = network(), np.random.default_rng(0)
    batches = [(draw.random((7, 6), np.float32), draw.integers(0, 4, 7)) for _ in range(3)]
    mlp.train(batches, batches, epochs=2, verbose=False)
    mlp.save(tmp_path / "mlp.npz")
    return tmp_path / "mlp.npz"


def members(path):
    with zipfile.ZipFile(path) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def rewrite(path, changed, compression=zipfile.ZIP_STORED):
    "The file with other members; None takes one out."
    after = members(path) | changed
    kept = {name: content for name, content in after.items() if content is not None}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in kept.items():
            archive.writestr(name, content)


def npy(value):
    buffer = io.BytesIO()
    np.save(buffer, value, allow_pickle=True)
    return buffer.getvalue()


def with_about(path, change):
    "The file whose text `change` has changed: a dictionary in place, or to what it returns."
    about = json.loads(str(np.load(io.BytesIO(members(path)["about.npy"]))))
    returned = change(about)
    text = returned if isinstance(returned, str) else json.dumps(about)
    rewrite(path, {"about.npy": npy(np.array(text))})


def test_what_was_saved_comes_back(saved):
    mlp = MLP.load(saved)
    assert mlp.epoch == 2 and len(mlp.history.epochs) == 2
    assert sorted(mlp.params) == ["W0", "W1", "b0", "b1"]


def test_no_file_is_no_checkpoint_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        MLP.load(tmp_path / "nowhere.npz")


@pytest.mark.parametrize("content", [b"", b"weights: none", b"PK\x03\x04", npy(np.ones(3))],
                         ids=range(4))
def test_foreign_files(tmp_path, content):
    (tmp_path / "other.npz").write_bytes(content)
    with pytest.raises(CheckpointError, match="other.npz is not a file that `save` has written"):
        MLP.load(tmp_path / "other.npz")


@pytest.mark.parametrize("changed, sentence", [
    ({"W0.npy": None}, "W0 is missing"),
    ({"about.npy": None}, "about is missing"),
    ({"evil.npy": npy(np.ones(3))}, "evil does not belong to such a network"),
    ({"extra.v.W7.npy": npy(np.ones(3))}, "extra.v.W7 does not belong"),
    ({"W0.npy": npy(np.ones((6, 4), np.float32))},
     r"W0 is float32 \(6, 4\), expected shape \(6, 5\)"),
    ({"W0.npy": npy(np.full((6, 5), np.nan, np.float32))}, "W0 has numbers that are not finite"),
    ({"W0.npy": npy(np.full((6, 5), "x"))}, "W0 is <U1"),
    ({"W0.npy": npy(np.array([[{}]*5]*6, object))}, "W0 is object"),
    ({"W0.npy": npy(np.ones((6, 5), complex))}, "W0 is complex128"),
    ({"W0.npy": npy(np.ones((6, 5), np.float32))[:-4]}, "W0"),
    ({"W0.npy": b"no array"}, "not a file that `save` has written"),
    ({"about.npy": npy(np.array("[" * 100_000))}, "not a file that `save` has written"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_foreign_members(saved, changed, sentence):
    rewrite(saved, changed)
    with pytest.raises(CheckpointError, match=sentence):
        MLP.load(saved)


@pytest.mark.parametrize("change", [
    lambda about: "no JSON", lambda about: "[]", lambda about: "null", lambda about: "{}",
    lambda about: about.update(config=None), lambda about: about.update(config={"layers": 3}),
    lambda about: about["config"].update(layers="abc"),
    lambda about: about["config"].update(layers=[-5, 4]),
    lambda about: about["config"].update(seed=None), lambda about: about["config"].update(evil=1),
    lambda about: about["config"].update(learning_rate=float("nan")),
    lambda about: about["config"].update(learning_rate=1e9),
    lambda about: about["config"].update(layers=[10**9, 10**9]),
    lambda about: about.update(records=None), lambda about: about.update(records=[]),
    lambda about: about.update(records=[{"epochs": [{"epoch": 1}]}]),
    lambda about: about["records"][0]["epochs"].pop(0),
    lambda about: about["records"][0]["epochs"][0].update(train_loss=None),
    lambda about: about["records"][0]["epochs"][0].update(train_loss="0.3"),
    lambda about: about.update(began=-1), lambda about: about.update(began="a"),
    lambda about: about.update(kind=7), lambda about: about.update(kind="ModernMLP"),
], ids=range(23))
def test_foreign_text_is_one_error(saved, change):
    with_about(saved, change)
    with pytest.raises(CheckpointError, match="mlp.npz"):
        MLP.load(saved)


def test_a_bomb_is_refused_before_it_is_unpacked(saved):
    rewrite(saved, {"W0.npy": npy(np.zeros(25_000_000, np.float32))}, zipfile.ZIP_DEFLATED)
    assert os.path.getsize(saved) < 200_000
    tracemalloc.start()
    with pytest.raises(CheckpointError, match="it is compressed, or unpacks to more than it holds"):
        MLP.load(saved)
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()


def test_a_header_that_promises_much_is_refused(saved):
    "The array's own header says 4 GB; the file has 150 bytes of it."
    content = members(saved)["W0.npy"].replace(b"(6, 5), ", b"(10**9,)")
    rewrite(saved, {"W0.npy": content})
    with pytest.raises(CheckpointError):
        MLP.load(saved)
    with_about(saved, lambda about: about["config"].update(input_size=10**6, layers=[10**6, 4]))
    with pytest.raises(CheckpointError, match="the number of weights that the settings ask for"):
        MLP.load(saved)


def test_files_of_another_class_say_which(tmp_path):
    network(ModernMLP).save(tmp_path / "modern.npz")
    with pytest.raises(CheckpointError, match="expected MLP: read it with ModernMLP.load"):
        MLP.load(tmp_path / "modern.npz")


def test_files_of_older_versions_are_read(saved):
    def older(about):
        for name in ("kind", "training", "began"):
            del about[name]
    with_about(saved, older)
    assert MLP.load(saved).epoch == 2


DEAD = 2**30  # a number that no process has


def test_leftovers_of_killed_writers_are_removed(tmp_path):
    path = tmp_path / "run[1].npz"
    for name in (f".run[1].npz.{DEAD}-abcd.tmp", f".run1.npz.{DEAD}-abcd.tmp", "run[1].npz.tmp"):
        (tmp_path / name).write_bytes(b"half")
    remove_leftovers(path)
    left = sorted(each.name for each in tmp_path.iterdir())
    assert left == [f".run1.npz.{DEAD}-abcd.tmp", "run[1].npz.tmp"]
    draw = np.random.default_rng(0)
    batches = [(draw.random((7, 6), np.float32), draw.integers(0, 4, 7))]
    (tmp_path / f".run[1].npz.{DEAD}-abcd.tmp").write_bytes(b"half")
    network().train(batches, batches, epochs=1, checkpoint=path, verbose=False)
    assert not (tmp_path / f".run[1].npz.{DEAD}-abcd.tmp").exists() and path.exists()


def test_a_writer_that_lives_is_left_alone(tmp_path):
    name = "a name of more than forty characters, as one's own may be.npz"
    living = tmp_path / f".{name[:40]}.{os.getppid()}-abcd.tmp"
    dead = tmp_path / f".{name[:40]}.{DEAD}-abcd.tmp"
    for file in (living, dead):
        file.write_bytes(b"half")
    remove_leftovers(tmp_path / name)
    assert living.exists() and not dead.exists()


def mutated(content, draw):
    "The content with a few bytes changed, cut or doubled."
    content = bytearray(content)
    for _ in range(draw.randrange(1, 4)):
        at = draw.randrange(len(content))
        kind = draw.randrange(4)
        if kind == 0:
            content[at] = draw.randrange(256)
        elif kind == 1:
            content[at] ^= 1 << draw.randrange(8)
        elif kind == 2:
            del content[at:at + draw.randrange(1, 40)]
        else:
            content[at:at] = content[at:at + draw.randrange(1, 40)]
    return bytes(content)


def test_mutated_files_load_or_are_refused(saved, tmp_path):
    "tests/campaign.py does the same ten thousand times."
    original, draw, refused = saved.read_bytes(), random.Random(0), 0
    for _ in range(300):
        (tmp_path / "mutated.npz").write_bytes(mutated(original, draw))
        try:
            mlp = MLP.load(tmp_path / "mutated.npz")
        except CheckpointError:
            refused += 1
        else:
            assert all(np.isfinite(value).all() for value in mlp.params.values())
    assert refused > 250


def test_an_archive_of_ones_own(tmp_path):
    write_npz(tmp_path / "own.npz", {"a": 1}, {"x": np.arange(3.)})
    with Archive(tmp_path / "own.npz") as archive:
        assert archive.about() == {"a": 1}
        assert archive.arrays({"x": (3,), "y": (2,)}, ["x"])["x"].tolist() == [0, 1, 2]
