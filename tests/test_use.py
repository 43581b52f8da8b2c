"Networks that come with the package, and one's own pictures: what is kept, what is refused."

import json

import numpy as np
import pytest

from fmnist import pretrained
from fmnist.checks import CheckpointError
from fmnist.data import CLASSES, fashion_mnist_sample



@pytest.fixture(scope="module")
def sample():
    return fashion_mnist_sample()


@pytest.fixture(scope="module")
def made(tmp_path_factory, sample):
    "The MLP made anew, from the sample alone."
    folder = tmp_path_factory.mktemp("weights")
    return folder, pretrained.make("mlp", folder, sample)


def test_a_network_is_made_stored_and_read(made, sample):
    folder, about = made
    model = pretrained.load_model("mlp", folder)
    p = model.predict_proba(sample.test_images)
    assert p.shape == (500, 10) and np.allclose(p.sum(1), 1, atol=1e-5)
    right = 100*(p.argmax(1) == sample.test_labels).mean()
    assert right == about["test_accuracy"] > 60
    assert abs(about["test_accuracy_before_rounding"] - right) < 2
    assert about["bytes"] < 2.2*about["parameters"] + 10_000 and about["epochs"] == 3
    assert model.classes == CLASSES and "images right" in repr(model)
    assert np.array_equal(model.predict(sample.test_images), p.argmax(1))
    assert model.predict_proba(np.zeros((0, 28, 28), np.uint8)).shape == (0, 10)


def test_another_file_is_refused(made, tmp_path, sample):
    folder, about = made
    content = bytearray((folder / "mlp.npz").read_bytes())
    content[-300] ^= 1
    (tmp_path / "mlp.npz").write_bytes(content)
    (tmp_path / "mlp.json").write_text(json.dumps(about))
    with pytest.raises(CheckpointError, match="mlp.json describes: its SHA-256 is another one"):
        pretrained.load_model("mlp", tmp_path)


def test_images_of_another_size_are_refused(made):
    model = pretrained.load_model("mlp", made[0])
    for images in (np.zeros((2, 30, 30), np.uint8), np.zeros((28, 28), np.uint8)):
        with pytest.raises(ValueError, match="shape of images"):
            model.predict_proba(images)
    with pytest.raises(ValueError, match="multiply by 255"):
        model.predict_proba(np.full((1, 28, 28), 0.5))
    with pytest.raises(ValueError, match="name is 'resnet', expected one of 'modern_cnn', 'mlp'"):
        pretrained.load_model("resnet")
