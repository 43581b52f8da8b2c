"ModernMLP: what it refuses, any input size, views, and that a crash changes nothing."
import json

import numpy as np
import pytest

from fmnist.data import fashion_mnist_sample, mlp_batches
from fmnist.mlp import replica_batches
from fmnist.modern_recipes import RECIPES as CNN_RECIPES
from fmnist.recipes import (ModernMLP, RECIPES, Views, fmnist_recipe, mixed, smallest_batch,
                            train_recipe)

SMALL = dict(input_size=784, layers=[32, 32, 10], activations=["gelu", "relu", "softmax"],
             dropout=0.2, learning_rate=0.01)
EVERYTHING = dict(optimizer="adamw", weight_decay=0.01, schedule="one_cycle",
                  normalization="batch", residual=True, input_scaling=(0.286, 0.353),
                  label_smoothing=0.1, flip=True, shift=1, shift_share=0.3, erase=0.2,
                  mixup=0.4, average=0.99, flip_test=True)


@pytest.fixture(scope="module")
def sample():
    return fashion_mnist_sample()


def assert_same(a, b):
    "Two dictionaries hold the same bits under the same names."
    assert sorted(a) == sorted(b)
    for name in a:
        assert np.asarray(a[name]).tobytes() == np.asarray(b[name]).tobytes(), name


@pytest.mark.parametrize("options, sentence", [
    (dict(optimizer="adam"),
     "optimizer is 'adam', expected one of sgd, momentum, nesterov, adamw, muon"),
    (dict(schedule="step"), "expected one of constant, cosine, linear, one_cycle"),
    (dict(normalization="group"), "expected None, batch or layer"),
    (dict(shift=-1), "shift is -1, expected a whole number of pixels"),
    (dict(shift=15), "shift is 15, expected at most half of the 28 pixels of a row"),
    (dict(shift_share=1.5), "shift_share is 1.5, expected a share of the images, 0 to 1"),
    (dict(erase=float("nan")), "erase is nan, expected a share"),
    (dict(label_smoothing=1), "label_smoothing is 1, expected at least 0 and less than 1"),
    (dict(average="a"), "average is 'a', expected at least 0 and less than 1"),
    (dict(input_scaling=(0, 0)), "expected a mean and a standard deviation above 0"),
    (dict(weight_decay=-1), "weight_decay is -1, expected a number of at least 0"),
    (dict(mixup=-1), "mixup is -1, expected a number of at least 0"),
])
def test_arguments(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        ModernMLP(**SMALL | options)


@pytest.mark.parametrize("option", [dict(flip=True), dict(shift=1), dict(erase=0.1),
                                    dict(flip_test=True)])
def test_pictures_must_be_square(option):
    said = "input_size is 783, expected 784 or another square number: flip, shift"
    with pytest.raises(ValueError, match=said):
        ModernMLP(**SMALL | dict(input_size=783) | option)


@pytest.mark.parametrize("size", [6, 64, 783])
def test_any_input_size(size):
    draw = np.random.default_rng(0)
    of_pictures = dict(flip=False, shift=0, erase=0.0, flip_test=False)
    options = EVERYTHING if size == 64 else EVERYTHING | of_pictures
    net = ModernMLP(**SMALL | options | dict(input_size=size))
    batches = [(draw.random((8, size)), draw.integers(0, 10, 8))]
    assert np.isfinite(net.train(batches, batches, epochs=2, verbose=False).epochs[-1].train_loss)
    assert net.predict(batches[0][0]).shape == (8,)


def train(sample, epochs, seed=3, checkpoint=None, **options):
    net = ModernMLP(**SMALL, seed=seed, **options)
    batches = (replica_batches(sample, seed) if isinstance(seed, list)
               else mlp_batches(sample, seed=seed))
    net.train(*batches[:2], epochs=epochs, verbose=False, checkpoint=checkpoint)
    return net


class Stopped(Exception):
    "What a killed process does not even raise."


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "nesterov", "adamw", "muon"])
@pytest.mark.parametrize("seed", [3, [3, 4]], ids=["one", "many"])
def test_a_crash_changes_nothing(sample, tmp_path, monkeypatch, optimizer, seed):
    options, file = EVERYTHING | dict(optimizer=optimizer), tmp_path/"run.npz"
    straight = train(sample, 3, seed, **options)
    save = ModernMLP.save

    def save_and_stop(net, path):
        save(net, path)
        raise Stopped

    with monkeypatch.context() as patched, pytest.raises(Stopped):
        patched.setattr(ModernMLP, "save", save_and_stop)
        train(sample, 3, seed, checkpoint=file, **options)
    resumed = train(sample, 3, seed, checkpoint=file, **options)
    assert_same(resumed.state(), straight.state())
    assert_same(ModernMLP.load(file).state(), straight.state())
    with pytest.raises(ValueError, match="epochs is 3 there, 2 here"):
        train(sample, 2, seed, checkpoint=file, **options)


def test_settings_of_numpy_keep_the_type(sample):
    by_numpy = {name: np.float64(value) if isinstance(value, float) else value
                for name, value in EVERYTHING.items()}
    by_numpy["input_scaling"] = np.array(EVERYTHING["input_scaling"])
    ours = train(sample, np.int64(1), **by_numpy)
    assert_same(ours.state(), train(sample, 1, **EVERYTHING).state())
    for library in ("numpy", "torch"):
        state = train(sample, 1, library=library, **EVERYTHING).state()
        kinds = {str(value.dtype).removeprefix("torch.") for name, value in state.items()
                 if name != "updates"}
        assert kinds == {"float32"}


def test_batch_normalisation_is_refused_before_training(sample):
    one_left = sample.replace(train_images=sample.train_images[:81],
                              train_labels=sample.train_labels[:81])
    rest = len(mlp_batches(one_left)[0].labels) - 1
    train_batches, val_batches, _ = mlp_batches(one_left, batch_size=rest)
    assert smallest_batch(train_batches) == 1
    net = ModernMLP(**SMALL, normalization="batch")
    said = "the number of images in a batch is 1, expected at least 2: batch norm"
    with pytest.raises(ValueError, match=said):
        net.train(train_batches, val_batches, epochs=1)
    assert net.epoch == 0
    by_row = ModernMLP(**SMALL, normalization="layer")
    by_row.train(train_batches, val_batches, epochs=1, verbose=False)
    x, y = next(iter(val_batches))
    before = net.state()
    with pytest.raises(ValueError, match="the number of images in a batch is 1"):
        net.step(x[:1], y[:1])
    with pytest.raises(ValueError, match="the number of images in a batch is 1"):
        net.train([(x[:5], y[:5]), (x[:1], y[:1])], val_batches, epochs=1)
    assert_same(net.state(), before)
    assert net.predict(x[:1]).shape == (1,)


def test_outside_training_there_is_no_schedule(sample):
    net = ModernMLP(784, [9, 10], ["relu", "softmax"], schedule="cosine")
    x, y = next(iter(mlp_batches(sample)[0]))
    for step in range(3):
        if step == 2:
            net.train(*mlp_batches(sample)[:2], epochs=1, verbose=False)
        before = net.state()
        net.step(x, y.astype(np.float32))
        assert (net.params["W0"] != before["W0"]).any()
    for wrong in (y - 1, y + 5, y + 0.5):
        with pytest.raises(ValueError, match="expected whole numbers within 0 to 9"):
            net.step(x, wrong)
    with pytest.raises(ValueError, match="train_batches is .*, expected batches with a length"):
        net.train(iter([(x, y)]), [(x, y)], epochs=1)


def test_views():
    draw = np.random.default_rng(0)
    views = Views(784, flip=False, shift=2, shift_share=0.3, erase=0.0)
    index = views.index(4000, draw)
    still = (index == np.arange(784)).all(axis=1).mean()
    assert abs(still - (0.7 + 0.3/25)) < 0.03
    views = Views(784, flip=False, shift=0, shift_share=1.0, erase=0.2)
    erased = (views.index(4000, draw) == 784).sum(axis=1)
    assert abs((erased > 0).mean() - 0.2) < 0.03
    assert 0.01*784 < erased[erased > 0].min() <= erased.max() < 0.12*784
    mirrored = views.mirrored(np.arange(784.)[None])
    assert np.array_equal(mirrored.reshape(28, 28), np.arange(784.).reshape(28, 28)[:, ::-1])


def test_mixup_mixes_labels_as_it_mixes_images():
    x, y = np.eye(8), np.eye(8)
    a, b = mixed(x, y, 0.4, [np.random.default_rng(0)])
    assert np.array_equal(a, b) and np.allclose(a.sum(axis=1), 1)


def test_networks_side_by_side(sample):
    three = train(sample, 1, [3, 4, 5], dtype="float64", **EVERYTHING)
    x = sample.test_images[:50].reshape(-1, 784)/255
    for r, seed in enumerate([3, 4, 5]):
        alone = train(sample, 1, seed, dtype="float64", **EVERYTHING)
        np.testing.assert_allclose(three.predict_proba(x)[r], alone.predict_proba(x), atol=1e-6)


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_run_on_the_sample(sample, name, tmp_path):
    options = dict(layers=[16, 10], activations=["relu", "softmax"]) if name == "best" else {}
    mlp, test = train_recipe(name, sample, epochs=1, checkpoint=tmp_path/"recipe.npz", **options)
    again, _ = train_recipe(name, sample, epochs=1, checkpoint=tmp_path/"recipe.npz", **options)
    assert_same(again.state(), mlp.state())
    assert mlp.evaluate(test).accuracy > 0.2


def test_a_recipe_for_many_seeds(sample):
    many, test = train_recipe("fast", sample, seed=(4, 5), epochs=1)
    for r, seed in enumerate((4, 5)):
        alone, _ = train_recipe("fast", sample, seed=seed, epochs=1)
        np.testing.assert_allclose(many.params["W0"][r], alone.params["W0"], atol=1e-5)
    assert len(many.evaluate(test)) == 2


@pytest.mark.parametrize("name", ["fast", "fast_cnn"])
def test_the_command_keeps_weights_and_goes_on(name, sample, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("fmnist.recipes.fashion_mnist", lambda: sample)
    monkeypatch.setitem(RECIPES["fast"], "epochs", 2)
    monkeypatch.setitem(CNN_RECIPES["fast"], "epochs", 2)
    lines = []
    for _ in range(2):
        fmnist_recipe([name, "--seeds", "3", "--folder", str(tmp_path)])
        lines.append(json.loads(capsys.readouterr().out.splitlines()[-2]))
    first, again = lines
    assert first["accuracy"] == again["accuracy"] > 0.5
    assert list(tmp_path.glob(f"{name}-3.*"))
    if name == "fast_cnn":  # the second call trained nothing, and says the first one's seconds
        assert again["seconds"] == first["seconds"]


def test_the_command_does_not_overwrite_what_is_no_checkpoint(sample, tmp_path, monkeypatch):
    monkeypatch.setattr("fmnist.recipes.fashion_mnist", lambda: sample)
    (tmp_path/"fast-0.npz").write_bytes(b"a diary")
    with pytest.raises(SystemExit, match="fmnist_recipe: .*fast-0.npz"):
        fmnist_recipe(["fast", "--seeds", "0", "--folder", str(tmp_path)])
    assert (tmp_path/"fast-0.npz").read_bytes() == b"a diary"
