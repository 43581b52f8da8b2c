"The network of the original report: every way to make it, and what cannot be made."

import inspect
import math

import pytest
import torch

from fmnist.cnn import CNNModel, feature_sizes
from fmnist.original import FIRST_READING, FIRST_SECTION_3, LITERAL_CNN, LITERAL_SECTION_3

TINY = dict(channels=(4, 8, 8, 8, 8), hidden=(16,))
X = torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))


def test_the_defaults_are_the_best_network_in_the_first_reading():
    defaults = {
        name: value.default for name, value in inspect.signature(CNNModel).parameters.items()
    }
    assert {name: defaults[name] for name in FIRST_READING} == FIRST_READING


@pytest.mark.parametrize("pooling", ["max", "average", "global avg"])
@pytest.mark.parametrize("initialization", ["he", "xavier", "random"])
def test_a_seed_decides_the_weights(pooling, initialization):
    before = torch.random.get_rng_state()
    a, b, c = (
        CNNModel(**TINY, pooling=pooling, initialization=initialization, seed=seed).eval()
        for seed in (0, 0, 1)
    )
    assert torch.equal(a(X), b(X)) and not torch.equal(a(X), c(X))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_he_has_the_right_spread():
    weights = CNNModel(initialization="he").features[4].weight  # 64 maps, 3 x 3 kernels: 576 inputs
    assert math.isclose(weights.std().item(), math.sqrt(2 / 576), abs_tol=0.001)


@pytest.mark.parametrize(
    "settings, features",
    [(FIRST_READING, 2304), (LITERAL_CNN, 256), (FIRST_READING | dict(pooling="global avg"), 256)],
)
def test_features_that_enter_the_first_dense_layer(settings, features):
    model = CNNModel(**settings)
    assert model.classifier[2].in_features == features and model.eval()(X).shape == (2, 10)


def test_section_3_has_256_inputs_in_both_readings():
    assert CNNModel(**FIRST_SECTION_3).classifier[1].in_features == 256
    assert CNNModel(**LITERAL_CNN | LITERAL_SECTION_3).classifier[1].in_features == 256


@pytest.mark.parametrize("pooling", ["max", "average"])
@pytest.mark.parametrize("pool", [(2, 2, 0), (3, 2, 1), (3, 1, 1), (2, 1, 0), (3, 3, 0), (1, 1, 0)])
def test_any_window_stride_and_padding(pool, pooling):
    model = CNNModel(**TINY, pool=pool, pool_after=(1, 3), pooling=pooling).eval()
    width = feature_sizes([3] * 5, [1] * 5, [1] * 5, (1, 3), 28, pool)[-1]
    assert model.features(X).shape == (2, 8, width, width)


def test_without_batch_normalisation():
    model = CNNModel(**TINY, batch_norm=False).eval()
    assert not any(isinstance(layer, torch.nn.BatchNorm2d) for layer in model.modules())
    assert model(X).shape == (2, 10) and CNNModel(**TINY).features[1].num_features == 4


@pytest.mark.parametrize("size, shape", [(32, (32, 32)), ((20, 24), (20, 24))])
def test_other_images(size, shape):
    model = CNNModel(**TINY, classes=3, size=size, input_channels=3).eval()
    assert model(torch.zeros(5, 3, *shape)).shape == (5, 3)
    assert "total" in model.summary()
    with pytest.raises(ValueError, match=rf"expected \(m, 3, {shape[0]}, {shape[1]}\)"):
        model(torch.zeros(5, 1, *shape))


@pytest.mark.parametrize(
    "settings, message",
    [
        (dict(pooling="min"), "pooling is 'min', expected one of 'max', 'average', 'global avg'"),
        (dict(initialization="zeros"), "initialization is 'zeros'"),
        (dict(channels=(8, 8)), "one entry for each convolution"),
        (dict(dropout=1), "dropout is 1, expected at least 0 and less than 1"),
        (dict(pool_after=(0, 7)), r"pool_after names \[0, 7\], expected numbers from 1 to 5"),
        (dict(paddings=(0,) * 5), "nothing is left after convolution 5"),
        (dict(pool=(2, 2)), "pool is .2, 2., expected"),
        (dict(pool=(2, 0, 0)), "pool is .2, 0, 0., expected"),
        (dict(pool=(2, 2, 2)), "the padding at most half of the window"),
        (dict(classes=1), "classes is 1, expected a whole number of at least 2"),
        (dict(size=0), "size is 0"),
        (dict(size=(28, 28, 1)), "size is"),
        (dict(input_channels=0), "input_channels is 0"),
    ],
)
def test_what_cannot_be(settings, message):
    with pytest.raises(ValueError, match=message):
        CNNModel(**settings)


def test_a_batch_of_another_shape():
    with pytest.raises(ValueError, match=r"x has shape \(4, 28, 28\), expected \(m, 1, 28, 28\)"):
        CNNModel(**TINY)(torch.zeros(4, 28, 28))


def test_a_summary_leaves_the_model_as_it_was():
    model = CNNModel(**TINY).train()
    averages = model.features[1].running_mean.clone()
    model.summary()
    assert model.training and torch.equal(model.features[1].running_mean, averages)
