"Layers: their form, many networks at once, both libraries, and what they refuse."
import inspect

import numpy as np
import pytest
import torch

from fmnist import layers
from fmnist.data import random_generator
from fmnist.layers import (
    ACTIVATIONS,
    OPTIMIZERS,
    Activation,
    BatchNorm,
    Bias,
    Dropout,
    DroppedUnits,
    LayerNorm,
    Linear,
    Residual,
    Sequential,
    SoftmaxCrossEntropy,
    check_layer,
)


def classes():
    "Every class that the module defines."
    named = vars(layers).values()
    return [each for each in named if inspect.isclass(each) and each.__module__ == layers.__name__]


@pytest.mark.parametrize("kind", classes(), ids=lambda kind: kind.__name__)
def test_a_class_is_short(kind):
    lines = [line for line in inspect.getsource(kind).splitlines() if line.strip()]
    assert len(lines) <= 45


def network(draw, sizes=(6, 5, 5, 4), activation="gelu", lead=()):
    "Layers of every kind in a row, with a leading axis or without."
    def array(*shape):
        return draw.standard_normal((*lead, *shape))

    block = [Linear(array(5, 5)), BatchNorm(array(5)), Bias(array(5)), Activation(activation)]
    first = [Linear(array(6, 5), array(5)), LayerNorm(array(5)), Activation(activation)]
    return Sequential([*first, Residual(block), Linear(array(5, 4), array(4))])


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients_of_all_layers_together(activation):
    draw = np.random.default_rng(0)
    assert check_layer(network(draw, activation=activation), draw.standard_normal((7, 6))) < 1e-6


def test_networks_side_by_side_are_what_they_are_alone():
    draw = np.random.default_rng(1)
    many = network(draw, lead=(3,))
    x, labels = draw.standard_normal((3, 7, 6)), draw.integers(0, 4, (3, 7))
    criterion, cache = SoftmaxCrossEntropy(), []
    losses = criterion.forward(many.forward(x, cache), labels, cache)
    dx = many.backward(criterion.backward(cache), cache)
    for r in range(3):
        alone, cache = network(np.random.default_rng(1)), []
        alone.params = {name: value[r] for name, value in many.params.items()}
        loss = criterion.forward(alone.forward(x[r], cache), labels[r], cache)
        assert loss == pytest.approx(losses[r], rel=1e-12)
        gradient = alone.backward(criterion.backward(cache), cache)
        np.testing.assert_allclose(gradient, dx[r], atol=1e-12)
        for name, gradient in alone.grads.items():
            np.testing.assert_allclose(gradient, many.grads[name][r], atol=1e-12)


def test_both_libraries_give_the_same():
    draw = np.random.default_rng(2)
    ours, x, labels = network(draw), draw.standard_normal((7, 6)), draw.integers(0, 4, 7)
    theirs = network(np.random.default_rng(2))
    theirs.params = {name: torch.tensor(value) for name, value in ours.params.items()}
    for layer in layers.leaves(theirs.layers):
        if isinstance(layer, BatchNorm):
            layer.memory = {name: torch.tensor(value) for name, value in layer.memory.items()}
    results = []
    for each, a in ((ours, x), (theirs, torch.tensor(x))):
        criterion, cache = SoftmaxCrossEntropy(), []
        criterion.forward(each.forward(a, cache), labels, cache)
        each.backward(criterion.backward(cache), cache)
        results.append([each.forward(a), *each.grads.values()])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_keep_their_type(name, dtype):
    z = np.linspace(-3, 3, 20, dtype=dtype).reshape(4, 5)
    assert {v.dtype for v in ACTIVATIONS[name](z)} == {np.dtype(dtype)}
    assert {str(v.dtype) for v in ACTIVATIONS[name](torch.tensor(z))} == {f"torch.{dtype}"}


@pytest.mark.parametrize("dropout", [0.01, 0.05, 0.2, 0.7])
def test_portions_of_the_row_do_not_matter(dropout):
    long, portions = (DroppedUnits(random_generator(0, "dropout"), dropout) for _ in range(2))
    parts = [100_000*i + portions.take(100_000) for i in range(9)]
    assert np.array_equal(np.concatenate(parts), long.take(900_000))


def test_dropout_by_itself_and_behind_an_activation():
    a = np.random.default_rng(0).standard_normal((6, 5))
    apart, together, cache = Dropout(0.4), Activation("tanh", Dropout(0.4)), []
    out = apart.forward(np.tanh(a), [])
    np.testing.assert_allclose(together.forward(a, cache), out)
    assert np.array_equal(together.forward(a), np.tanh(a)), "prediction drops nothing"
    assert Dropout(0).forward(a, []) is a


def test_prediction_leaves_nothing_behind():
    draw = np.random.default_rng(3)
    net, x = network(draw), draw.standard_normal((7, 6))
    before = {name: value.copy() for name, value in layers.Named(net.layers, "memory").items()}
    first = net.forward(x)
    assert np.array_equal(net.forward(x), first)
    for name, value in layers.Named(net.layers, "memory").items():
        assert np.array_equal(value, before[name])


def test_an_activation_is_added_in_one_place(monkeypatch):
    from fmnist.mlp import MLP, check_gradients
    from fmnist.recipes import ModernMLP

    def swish(z):
        value, slope = layers.sigmoid(z)
        return z*value, value + z*slope

    monkeypatch.setitem(ACTIVATIONS, "swish", swish)
    x, labels = np.random.default_rng(0).standard_normal((5, 6)), np.arange(5) % 4
    for kind in (MLP, ModernMLP):
        net = kind(6, [5, 4], ["swish", "softmax"], "he", dtype="float64")
        assert max(check_gradients(net, x, labels).values()) < 1e-7
    with pytest.raises(ValueError, match=r"activations\[0\] is 'mish', expected one of .*, swish"):
        MLP(6, [5, 4], ["mish", "softmax"])


@pytest.mark.parametrize("labels, sentence", [
    (-np.ones(5, int),
     r"the range of labels is \(-1.0, -1.0\), expected whole numbers within 0 to 3"),
    (np.full(5, 4), "expected whole numbers within 0 to 3"),
    (np.full(5, 0.5), "expected whole numbers within 0 to 3"),
    (np.zeros(3, int), r"the shape of labels is \(3,\), expected \(5,\), one for each image"),
    (np.zeros((1, 4)), r"the shape of labels is \(1, 4\), expected \(5,\)"),
    (np.full((5, 4), 12.5), r"the sums of labels is \(50.0, 50.0\), expected distributions"),
    (np.array([[2, -1, 0, 0.]]*5), "expected distributions: numbers of at least 0"),
    (np.full((5, 4), np.nan), "expected distributions"),
])
def test_cross_entropy_refuses(labels, sentence):
    z = np.zeros((5, 4))
    for logits in (z, torch.tensor(z)):
        with pytest.raises(ValueError, match=sentence):
            SoftmaxCrossEntropy().forward(logits, labels)


def test_labels_are_taken_by_position():
    pandas = pytest.importorskip("pandas")
    z, labels = np.random.default_rng(0).standard_normal((5, 4)), [0, 3, 1, 1, 2]
    series = pandas.Series(labels, index=[4, 3, 2, 1, 0])
    forms = labels, series, torch.tensor(labels)
    losses = [SoftmaxCrossEntropy().forward(z, given) for given in forms]
    assert losses[0] == losses[1] == losses[2]


@pytest.mark.parametrize("count", [0, 1])
def test_batch_normalisation_needs_a_batch(count):
    norm = BatchNorm(np.ones(3))
    said = f"images in a batch is {count}, expected at least 2: batch norm"
    with pytest.raises(ValueError, match=said):
        norm.forward(np.ones((count, 3)), [])
    assert norm.forward(np.ones((count, 3))).shape == (count, 3)
    assert np.array_equal(norm.memory["mean"], np.zeros((1, 3)))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_finds_a_minimum(name):
    draw = np.random.default_rng(0)
    optimizer, goal = OPTIMIZERS[name](0.0, "W9"), draw.standard_normal((4, 3))
    params = {"W0": np.zeros((4, 3)), "b0": np.zeros(3)}
    for t in range(600):
        rate = 0.05*(1 - t/600)
        optimizer.update(params, {"W0": params["W0"] - goal, "b0": params["b0"] - goal[0]}, rate)
    assert np.abs(params["W0"] - goal).max() < 0.1 and np.abs(params["b0"] - goal[0]).max() < 0.1
