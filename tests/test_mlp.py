"The MLP: what it refuses, that prediction keeps nothing, that a crash changes nothing."
import copy
import pickle
import subprocess
import sys
import threading
from itertools import product

import numpy as np
import pytest
import torch

from fmnist.checks import CheckpointError, TrainingDiverged
from fmnist.data import fashion_mnist_sample, mlp_batches
from fmnist.layers import ACTIVATIONS, loss_of
from fmnist.mlp import MLP, ReplicaBatches, replica_batches

SMALL = dict(input_size=784, layers=[32, 16, 10], activations=["gelu", "relu", "softmax"],
             dropout=0.3, learning_rate=0.1)


@pytest.fixture(scope="module")
def sample():
    return fashion_mnist_sample()


@pytest.fixture(scope="module")
def batch(sample):
    return next(iter(mlp_batches(sample)[0]))


def assert_same(a, b):
    "Two dictionaries hold the same bits under the same names."
    assert list(a) == list(b)
    for name in a:
        assert np.asarray(a[name]).tobytes() == np.asarray(b[name]).tobytes(), name


def trained(sample, epochs, seed=3, batch_size=64, **options):
    net = MLP(**SMALL, seed=3)
    batches = mlp_batches(sample, batch_size, seed=seed)
    net.train(*batches[:2], epochs=epochs, verbose=False, **options)
    return net


@pytest.mark.parametrize("changed, sentence", [
    (dict(activations=["gelu", "swish", "softmax"]),
     r"activations\[1\] is 'swish', expected one of relu, leaky_relu"),
    (dict(activations=["gelu"]*3), "the last of activations is 'gelu', expected softmax"),
    (dict(activations=["gelu", "softmax"]),
     r"expected a list of 3 names, one for each of the layers \[32, 16, 10\]"),
    (dict(input_size=0), "input_size is 0, expected a whole number of at least 1"),
    (dict(layers=[]), r"layers is \[\], expected a list of whole numbers"),
    (dict(layers=[32, 16.0, 10]), r"layers is \[32, 16.0, 10\], expected"),
    (dict(initialization="zeros"),
     "initialization is 'zeros', expected one of random, he, glorot, xavier"),
    (dict(random_scale=0), "random_scale is 0, expected a number above 0"),
    (dict(dropout=1), "dropout is 1, expected a probability of dropping, 0 <= dropout < 1"),
    (dict(learning_rate=float("nan")), "learning_rate is nan, expected a number above 0"),
    (dict(seed=-1), "seed is -1, expected a whole number of at least 0"),
    (dict(library="jax"), "library is 'jax', expected numpy or torch"),
    (dict(dtype="float16"), "dtype is 'float16', expected float32 or float64"),
])
def test_arguments(changed, sentence):
    with pytest.raises(ValueError, match=sentence):
        MLP(**SMALL | changed)


@pytest.mark.parametrize("library, dtype, seed, dropout", [
    *product(("numpy", "torch"), ("float32", "float64"), (0, [0, 1]), (0, 0.01, 0.3))])
def test_a_step_is_forward_backward_update(batch, library, dtype, seed, dropout):
    options = dict(seed=seed, library=library, dtype=dtype)
    network = 784, [32, 16, 10], ["gelu", "relu", "softmax"], "he", dropout, 0.1
    fused, plain = MLP(*network, **options), MLP(*network, **options)
    before, (x, y) = plain.state(), batch
    for _ in range(3):
        loss, right = fused.step(x, y)
        p = plain.forward(x, cache := [])
        plain.update_params(plain.backward(y, cache))
    eps = 1e-6 if dtype == "float32" else 1e-14
    for name, value in before.items():
        np.testing.assert_allclose(np.asarray(fused.params[name]), np.asarray(plain.params[name]),
                                   atol=eps)
        assert (np.asarray(fused.params[name]) != np.asarray(value)).any()
    p = np.asarray(p)
    y = np.eye(10)[y] + 0*p
    np.testing.assert_allclose(loss, loss_of(np.log(p), y), atol=1e-5)
    assert {str(v.dtype).removeprefix("torch.") for v in fused.params.values()} == {dtype}
    assert np.array_equal(right, (p.argmax(axis=-1) == y.argmax(axis=-1)).sum(axis=-1))


def test_settings_of_numpy_keep_the_type(batch):
    x, y = batch
    for library, dtype in product(("numpy", "torch"), ("float32", "float64")):
        rate = np.logspace(-2, -1, 3)[1]
        net = MLP(784, [9]*len(ACTIVATIONS) + [10], [*ACTIVATIONS, "softmax"],
                  dropout=np.float64(0.5), learning_rate=rate, library=library, dtype=dtype)
        net.learning_rate = rate
        net.step(x, y)
        net.forward(x, cache := [])
        arrays = [*cache, *net.backward(y, list(cache)).values(), *net.params.values()]
        assert {str(v.dtype).removeprefix("torch.") for v in arrays} == {dtype}


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_no_number_is_learned_from_or_answered(batch, bad, activation):
    (x, y), net = batch, MLP(784, [9, 10], [activation, "softmax"], "he")
    x = x.copy()
    x[5, 17] = bad
    before = net.state()
    calls = [lambda: net.step(x, y), lambda: net.predict(x), lambda: net.evaluate([(x, y)])]
    for call in calls:
        with pytest.raises(ValueError, match=rf"x\[5, 17\] is {bad}, expected finite numbers"):
            call()
    with pytest.raises(ValueError, match=r"x\[5, 17\] in epoch 1, batch 1 is"):
        net.train([(x, y)], [batch], epochs=1, verbose=False)
    with pytest.raises(ValueError, match=r"x\[5, 17\] in epoch 1, validation is"):
        net.train([batch], [(x, y)], epochs=1, verbose=False)
    assert_same(net.state(), before)


def test_large_finite_numbers_are_numbers(batch):
    net = MLP(784, [10], ["softmax"], random_scale=1e-30)
    x = batch[0]*1e25  # whose squares are infinite in float32
    with np.errstate(over="ignore"):
        assert np.isfinite(net.predict_proba(x)).all()


@pytest.mark.parametrize("change, sentence", [
    (lambda x, y: (x[:, :100], y), r"the shape of x is \(64, 100\), expected \(m, 784\)"),
    (lambda x, y: (x, y[:3]),
     r"the shape of labels is \(3,\), expected \(64,\), one for each image"),
    (lambda x, y: (x, y + 5), "expected whole numbers within 0 to 9"),
    (lambda x, y: (x, y - 1), "expected whole numbers within 0 to 9"),
    (lambda x, y: (x[:0], y[:0]), "the number of images in a batch is 0, expected at least 1"),
    (lambda x, y: (x, np.full((64, 10), 5.0)),
     r"the sums of labels is \(50.0, 50.0\), expected distributions"),
])
def test_a_refused_step_leaves_the_weights(batch, change, sentence):
    net = MLP(**SMALL)
    before = net.state()
    with pytest.raises(ValueError, match=sentence):
        net.step(*change(*batch))
    assert_same(net.state(), before)


def test_what_people_hand_over(batch):
    pandas = pytest.importorskip("pandas")
    x, y = batch
    index = np.random.default_rng(0).permutation(64)
    expected = None
    for given in ((x, y), (x.tolist(), y.tolist()), (torch.tensor(x), torch.tensor(y)),
                  (pandas.DataFrame(x, index=index), pandas.Series(y, index=index))):
        for library in ("numpy", "torch"):
            net = MLP(**SMALL | {"dropout": 0}, library=library)
            loss, right = net.step(*given)
            expected = expected or (loss, right)
            assert loss == pytest.approx(expected[0], rel=1e-5) and right == expected[1]
    assert np.array_equal(net.predict(x), net.predict(pandas.DataFrame(x, index=index)))


def test_no_images_are_a_question_too():
    assert MLP(**SMALL).predict_proba(np.zeros((0, 784))).shape == (0, 10)


def test_eight_threads_may_ask_at_once(sample):
    net = MLP(**SMALL)
    parts = [sample.test_images[i::8].reshape(-1, 784)/255 for i in range(8)]
    expected, wrong = [net.predict_proba(part) for part in parts], []

    def ask(part, answer):
        for _ in range(200):
            if not np.array_equal(net.predict_proba(part), answer):
                wrong.append(1)

    threads = [threading.Thread(target=ask, args=pair)
               for pair in zip(parts, expected, strict=True)]
    state = pickle.dumps(net)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert pickle.dumps(net) == state, "prediction leaves nothing behind"


def test_diverged_training_goes_back(sample, batch):
    wild = MLP(784, [256, 10], ["relu", "softmax"], learning_rate=0.05)
    train, valid, _ = mlp_batches(sample)
    wild.train(train, valid, epochs=1, verbose=False)
    before, wild.learning_rate = wild.state(), 1e30
    said = r"in epoch 2, batch 2: lower learning_rate \(1e\+30\)"
    with pytest.raises(TrainingDiverged, match=said) as caught:
        wild.train(train, valid, epochs=1)
    assert caught.value.history == wild.history and len(wild.history.epochs) == 1
    assert_same(wild.state(), before)
    few = sample.replace(train_images=sample.train_images[:80],
                         train_labels=sample.train_labels[:80])
    one_batch = mlp_batches(few)[0]
    with pytest.raises(TrainingDiverged, match="the loss became nan in epoch 2, validation:"):
        wild.train(one_batch, valid, epochs=1)
    assert_same(wild.state(), before)
    many = MLP(784, [256, 10], ["relu", "softmax"], learning_rate=1e30, seed=[5, 6])
    with pytest.raises(TrainingDiverged, match=r"in epoch 1, validation \(seed 5\)"):
        many.train(one_batch, valid, epochs=1, verbose=False)
    wild.params["W0"][:] = np.inf
    said = "the loss became nan: lower"
    with np.errstate(all="ignore"), pytest.raises(TrainingDiverged, match=said):
        wild.step(*batch)


@pytest.mark.parametrize("empty", [[], iter([])])  # the second has no length
def test_there_must_be_batches(batch, empty):
    net = MLP(**SMALL)
    said = "the number of batches in {} is 0, expected at least one"
    with pytest.raises(ValueError, match=said.format("train_batches")):
        net.train(empty, [batch], epochs=1)
    with pytest.raises(ValueError, match=said.format("val_batches")):
        net.train([batch], empty, epochs=1)
    with pytest.raises(ValueError, match=r"batches is \[\], expected at least one batch"):
        net.evaluate([])
    assert net.epoch == 0


def test_copies_learn_alone(batch):
    net = MLP(**SMALL)
    before = net.state()
    for copied in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert np.array_equal(copied.predict_proba(batch[0]), net.predict_proba(batch[0]))
        copied.step(*batch)
        assert_same(net.state(), before)


def test_a_crash_changes_nothing(sample, tmp_path):
    straight = trained(sample, 4)
    assert_same(trained(sample, 4).params, straight.params)
    for stop in range(1, 5):
        file = tmp_path/f"stop{stop}.npz"
        trained(sample, stop, checkpoint=file)
        resumed = trained(sample, 4, checkpoint=file)
        assert_same(resumed.params, straight.params)
        assert len(resumed.history.epochs) == 4
    trained(sample, 2).save(tmp_path/"two.npz")
    for epochs in (1, 2):  # two more epochs after these, stopped after the first
        more = MLP.load(tmp_path/"two.npz")
        more.train(*mlp_batches(sample, seed=3)[:2], epochs=epochs,
                   checkpoint=tmp_path/"more.npz", verbose=False)
    assert_same(more.params, straight.params)


def test_a_checkpoint_knows_its_training(sample, tmp_path):
    file = tmp_path/"run.npz"
    net = trained(sample, 3, checkpoint=file)
    other = sample.replace(train_images=sample.train_images.copy())
    other.train_images[0, 0, 0] += 1
    for options, sentence in [
        (dict(epochs=2), "run.npz has 3 epochs, expected at most the 2 asked for"),
        (dict(epochs=4, seed=5), "was made with other settings: seed is 3 there, 5 here"),
        (dict(epochs=4, batch_size=8), "batch_size is 64 there, 8 here"),
        (dict(epochs=4, class_weight={3: 2.0}), "class_weight is None there"),
        (dict(epochs=4, patience=3), "patience is None there, 3 here")]:
        with pytest.raises(ValueError, match=sentence):
            trained(sample, checkpoint=file, **options)
    for data in (other, sample.replace(train_labels=(sample.train_labels + 1) % 10)):
        with pytest.raises(CheckpointError, match="was made with other settings: data is"):
            trained(data, 4, checkpoint=file)
    with pytest.raises(CheckpointError, match="layers is .32, 16, 10. there, .5, 10. here"):
        MLP(784, [5, 10], ["relu", "softmax"]).train(*mlp_batches(sample)[:2], checkpoint=file)
    with pytest.raises(ValueError, match="has 3 epochs, this network 4, which it would replace"):
        trained(sample, 4).train(*mlp_batches(sample, seed=3)[:2], checkpoint=file)
    said = r"the state is .*, expected arrays of shapes \{'W0': \(784, 32\)"
    with pytest.raises(ValueError, match=said):
        net.set_state(MLP(784, [5, 10], ["relu", "softmax"]).state())


def test_a_changed_rate_is_saved(tmp_path):
    net = MLP(**SMALL)
    net.learning_rate = 0.001
    net.save(tmp_path/"slower.npz")
    assert MLP.load(tmp_path/"slower.npz").learning_rate == 0.001
    on_torch = MLP.load(tmp_path/"slower.npz", library="torch")
    assert isinstance(on_torch.params["W0"], torch.Tensor)


def test_stopping_early_goes_back_and_can_be_resumed(sample, tmp_path):
    few = sample.replace(train_images=sample.train_images[:200],
                         train_labels=sample.train_labels[:200])
    train, valid, _ = mlp_batches(few)

    def run(epochs, patience=5, **options):
        net = MLP(784, [32, 10], ["relu", "softmax"], "he", learning_rate=0.3)
        net.train(train, valid, epochs=epochs, patience=patience, verbose=False, **options)
        return net

    whole = run(200)
    losses = [epoch.valid_loss for epoch in whole.history.epochs]
    best = int(np.argmin(losses))
    assert len(losses) == best + 6 < 200
    assert_same(whole.params, run(best + 1, patience=None).params)
    file = tmp_path/"early.npz"
    run(best + 3, checkpoint=file)
    assert_same(run(200, checkpoint=file).params, whole.params)
    # finished already: back at the best at once
    assert_same(run(200, checkpoint=file).params, whole.params)
    said = "patience is 0, expected a whole number of at least 1, or None"
    with pytest.raises(ValueError, match=said):
        run(3, patience=0)


def test_weights_of_classes_are_pytorch_s(batch):
    x, y = batch
    weights = np.linspace(0.5, 2, 10)
    net = MLP(784, [9, 10], ["tanh", "softmax"], "he", learning_rate=0.1, dtype="float64")
    W0, b0, W1, b1 = (torch.tensor(v, requires_grad=True) for v in net.params.values())
    z = torch.tanh(torch.tensor(x.astype(float)) @ W0 + b0) @ W1 + b1
    loss = torch.nn.functional.cross_entropy(z, torch.tensor(y), weight=torch.tensor(weights))
    loss.backward()
    before = net.state()
    history = net.train([(x, y)], [(x, y)], epochs=1, class_weight=weights, verbose=False)
    assert history.epochs[0].train_loss == pytest.approx(loss.item(), rel=1e-12)
    for name, leaf in zip(net.params, (W0, b0, W1, b1), strict=True):
        step = before[name] - net.params[name]
        np.testing.assert_allclose(step, 0.1*leaf.grad.numpy(), atol=1e-12)
    for wrong, sentence in [([1, 2], "class_weight is .*, expected 10 numbers"),
                            ({11: 1}, r"some of 0 to 9"), ([-1]*10, "numbers of at least 0"),
                            ([0]*10, "not all of them 0")]:
        with pytest.raises(ValueError, match=sentence):
            net.train([(x, y)], [(x, y)], epochs=1, class_weight=wrong)


def test_weights_of_images(batch):
    x, y = batch
    some = np.arange(64) < 20
    by_weight, alone = (MLP(784, [9, 10], ["tanh", "softmax"], "he", dtype="float64")
                        for _ in range(2))
    by_weight.train([(x, y, some.astype(float))], [(x, y)], epochs=2, verbose=False)
    alone.train([(x[some], y[some])], [(x, y)], epochs=2, verbose=False)
    for name in alone.params:
        np.testing.assert_allclose(by_weight.params[name], alone.params[name], atol=1e-12)


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_networks_side_by_side(sample, library, tmp_path):
    settings = SMALL | dict(dtype="float64", library=library)
    three, batches = MLP(**settings, seed=[3, 4, 5]), replica_batches(sample, [3, 4, 5])
    histories = three.train(*batches[:2], epochs=2, verbose=False)
    for r, seed in enumerate([3, 4, 5]):
        alone = MLP(**settings, seed=seed)
        history = alone.train(*mlp_batches(sample, seed=seed)[:2], epochs=2, verbose=False)
        for name in alone.params:
            np.testing.assert_allclose(three.params[name][r], alone.params[name], atol=1e-12)
        loss = history.epochs[-1].valid_loss
        assert histories[r].epochs[-1].valid_loss == pytest.approx(loss, abs=1e-12)
    assert len(three.evaluate(batches[2])) == 3
    three.save(tmp_path/"three.npz")
    x = np.zeros((2, 784))
    assert np.array_equal(MLP.load(tmp_path/"three.npz").predict_proba(x), three.predict_proba(x))
    said = r"the sizes of parts \(batches, images\) is .*, expected equal ones"
    with pytest.raises(ValueError, match=said):
        ReplicaBatches([batches[0].parts[0], batches[1].parts[0]])


def test_the_module_does_without_torch():
    code = "import fmnist.mlp, fmnist.recipes, sys; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
