"Pictures show what they say, and leave the network as they found it."
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from fmnist import pictures
from fmnist.cnn import CNNModel
from fmnist.data import fashion_mnist_sample, normalise_images
from fmnist.pictures import (class_activation_map, feature_maps, plot_class_activation,
                             plot_feature_maps, plot_filters)

SMALL = dict(channels=(8, 12, 16, 16, 16), kernel_sizes=(5, 3, 3, 3, 3), paddings=(2, 1, 1, 1, 1),
             hidden=(32,))
IMAGES = fashion_mnist_sample().test_images[:4]
X = normalise_images(torch.as_tensor(IMAGES))


@pytest.fixture
def network():
    return CNNModel(**SMALL, seed=1)


def test_a_mosaic_has_a_pixel_between_its_tiles():
    assert pictures._mosaic(np.arange(3)[:, None, None], 2)[:, ::2].tolist()[0] == [0, 1]
    grid = pictures._mosaic(np.ones((3, 5, 5)), 2)
    # a row, a column, and the fourth's place
    assert grid.shape == (11, 11) and np.isnan(grid).sum() == 11 + 10 + 25


def test_filters_share_a_scale_whose_grey_is_0(network):
    figure = plot_filters({"before": CNNModel(**SMALL), "after": network}, columns=4)
    before, after, bar = figure.axes
    words = before.get_title(), after.get_title(), bar.get_xlabel()
    assert words == ("before", "after", "weight")
    limits = before.images[0].get_clim()
    assert limits == after.images[0].get_clim() and sum(limits) == 0
    kernels = network.features[0].weight.detach()[:, 0].numpy()
    assert np.array_equal(after.images[0].get_array()[:5, 6:11].data, kernels[1])
    plt.close(figure)


def test_maps_are_what_the_layers_make(network):
    maps = feature_maps(network, X)
    shapes = [layer.shape[1:] for layer in maps]
    assert shapes == [(8, 28, 28), (12, 14, 14), (16, 7, 7), (16, 7, 7), (16, 7, 7)]
    convolution, normalisation = network.eval().features[:2]
    with torch.no_grad():
        first = normalisation(convolution(X)).relu().numpy()
    assert np.allclose(maps[0], first, atol=1e-6) and all(layer.min() == 0 for layer in maps)


def test_the_strongest_maps_are_drawn(network):
    maps = [layer[0] for layer in feature_maps(network, X)]
    figure = plot_feature_maps(IMAGES[0], maps, count=3)
    drawn = [[ax for ax in part.axes if ax.images] for part in figure.subfigs]
    assert [len(row) for row in drawn] == [1, 3, 3, 3, 3, 3]
    titles = [part.get_suptitle() for part in figure.subfigs]
    assert titles[:2] == ["image, 28 × 28", "convolution 1: 8 maps, 28 × 28"]
    strongest = maps[2].max(axis=(1, 2)).argmax()
    assert np.array_equal(drawn[3][0].images[0].get_array().data, maps[2][strongest])
    plt.close(figure)


def state(model):
    modes = [part.training for part in model.modules()]
    gradients = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    return modes, gradients, [value.clone() for value in model.state_dict().values()]


def test_the_network_is_left_as_it_was(network):
    network.train()
    network.features[1].eval()  # frozen normalisation, as in fine-tuning
    network.classifier[-1].bias.grad = torch.ones(10)
    modes, gradients, values = state(network)
    with torch.no_grad():
        feature_maps(network, X)
        maps = class_activation_map(network, X)
        assert not torch.is_grad_enabled()
    after = state(network)
    assert after[0] == modes and all(map(torch.equal, values, after[2]))
    assert all(a is b is None or torch.equal(a, b)
               for a, b in zip(gradients, after[1], strict=True))
    assert not any(part._forward_hooks or part._backward_hooks for part in network.modules())
    assert (X.requires_grad, maps.shape, maps.min() >= 0) == (False, (4, 7, 7), True)
    with pytest.raises((IndexError, RuntimeError)):
        class_activation_map(network, X, [10] * 4)
    assert state(network)[0] == modes  # also after an error


def test_the_predicted_class_is_explained_by_default(network):
    answers = network.eval()(X).argmax(1).numpy().astype(np.uint8)
    explained = class_activation_map(network, X, answers)
    assert np.array_equal(class_activation_map(network, X), explained)


def test_maps_of_an_image_share_a_scale(network):
    answers, others = class_activation_map(network, X), class_activation_map(network, X, [0] * 4)
    maps = {"predicted": answers, "T-shirt/top": others}
    figure = plot_class_activation(IMAGES, maps, list("abcd"))
    grid = np.array(figure.axes[:12]).reshape(3, 4)
    assert [ax.get_title() for ax in grid[0]] == list("abcd")
    assert [ax.get_ylabel() for ax in grid[1:, 0]] == ["predicted", "T-shirt/top"]
    for n in range(4):
        drawn = np.array([ax.images[0].get_array() for ax in grid[1:, n]])
        largest = max(answers[n].max(), others[n].max())
        assert np.allclose(drawn * largest, [answers[n], others[n]], atol=1e-6)
    plt.close(figure)
    plt.close(plot_class_activation(IMAGES[:1], {"none": np.zeros((1, 7, 7))}))  # no division by 0
