"Networks that come with the package, and one's own pictures: what is kept, what is refused."

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fmnist import modern_recipes, pretrained
from fmnist.checks import CheckpointError, plain
from fmnist.data import CLASSES, FASHION_MNIST_DIGEST, fashion_mnist_sample
from fmnist.recipes import RECIPES

ROOT = Path(__file__).parents[1]



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


def test_the_package_has_both_networks(sample):
    "Small, with their papers, and as good on the sample's test images as chance allows."
    total = 0
    for name in pretrained.NAMES:
        model, about = pretrained.load_model(name), pretrained.about_model(name)
        total += about["bytes"] + (pretrained.weights_folder() / f"{name}.json").stat().st_size
        right = 100*(model.predict(sample.test_images) == sample.test_labels).mean()
        assert abs(right - about["test_accuracy"]) < 3.5
        assert abs(about["test_accuracy_before_rounding"] - about["test_accuracy"]) < 0.1
        assert about["parameters"] <= 300_000 and about["data"] == "Fashion-MNIST"
        assert about["digest"] == FASHION_MNIST_DIGEST and about["seed"] == 0
        assert "Apache-2.0" in about["licence"] and len(about["machine"]["commit"]) == 12
    assert total < 1_500_000


def test_the_mlp_needs_no_torch():
    code = (
        "import sys; from fmnist.pretrained import load_model; import numpy as np; "
        "load_model('mlp').predict_proba(np.zeros((1, 28, 28), np.uint8)); "
        "print(*{'torch', 'torchvision', 'scipy', 'matplotlib'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout == "\n", done.stdout + done.stderr


def test_the_recipe_is_the_published_one():
    mlp, cnn = map(pretrained.about_model, ("mlp", "modern_cnn"))
    recipe, modern = RECIPES["fast"], modern_recipes.RECIPES["fast"]
    assert mlp["settings"] == plain(recipe["network"]) and mlp["epochs"] == recipe["epochs"]
    assert cnn["settings"] == plain(modern["settings"]) and cnn["epochs"] == modern["epochs"]
    assert cnn["training"] == plain(modern["training"]) and cnn["images"] == 60_000


def test_the_command_that_makes_them(monkeypatch, tmp_path, capsys):
    made = []

    def make(name, folder):
        made.append((name, folder))
        return dict(test_accuracy=90.0, seconds=1.0)

    monkeypatch.setattr(pretrained, "make", make)
    pretrained.main([str(tmp_path)])
    assert [name for name, _ in made] == ["modern_cnn", "mlp"] and made[0][1] == str(tmp_path)
    assert "mlp: 90.00 % (1 s)" in capsys.readouterr().out
    pretrained.main([str(tmp_path), "mlp"])
    assert made[2:] == [("mlp", str(tmp_path))]
