"What can be an arm by its import path: networks, estimators, learners, as people write them."

import sys

import numpy as np
import pytest

from fmnist.data import ImageData
from fmnist.studies import arm
from fmnist.trials import Trial, data_name, learner_of, run_trial, setting_names

OWN = """
import numpy as np
from sklearn import neighbors
from sklearn.neighbors import KNeighborsClassifier
from torch import nn
from fmnist.data import ImageData, fashion_mnist_sample, mlp_batches
from fmnist.metrics import History
from fmnist.trials import split_batches

class Base(nn.Sequential):
    def __init__(self, hidden, slope=0.1):
        super().__init__(nn.Flatten(), nn.Linear(784, hidden), nn.LeakyReLU(slope),
                         nn.Linear(hidden, 10))

class Narrow(Base):
    def __init__(self, width=4):
        super().__init__(hidden=width)

class Plain(Base):
    def __init__(self, **options):
        super().__init__(**options)

class Steep(Base):
    def __init__(self, width=4, **options):
        super().__init__(hidden=width, **options)

def flexible(classes, seed, width=8):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(width), nn.ReLU(), nn.Linear(width, classes))

def near(k=3) -> KNeighborsClassifier:
    return KNeighborsClassifier(k)

def dotted(k=3) -> "neighbors.KNeighborsClassifier":
    return KNeighborsClassifier(k)

def near_but_silent(k=3):
    return KNeighborsClassifier(k)

class Centroids:
    library, tested, precision = "numpy", "last", "float64"
    defaults = {"temperature": 10.0}

    def __init__(self, trial, data, precision=None):
        self.trial, self.classes = trial, len(data.classes)

    def batches(self, data):
        return split_batches(mlp_batches, self.trial, data)

    def fit(self, train, valid, epochs, state):
        rows = train.prepare(train.images)
        self.means = np.stack([rows[train.labels == k].mean(0) for k in range(self.classes)])
        return History()

    def predict_proba(self, batches):
        rows = batches.prepare(batches.images)
        far = ((rows[:, None] - self.means) ** 2).mean(2) * self.trial.settings["temperature"]
        shares = np.exp(-far)
        return shares / shares.sum(1, keepdims=True)

    def count_parameters(self):
        return self.means.size

def seven():
    data = fashion_mnist_sample()
    train, test = data.train_labels < 7, data.test_labels < 7
    wide = lambda images: np.pad(images, ((0, 0), (2, 2), (0, 0)))
    return ImageData(wide(data.train_images[train]), data.train_labels[train],
                     wide(data.test_images[test]), data.test_labels[test], data.classes[:7],
                     "seven")
"""


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch):
    (tmp_path / "own_learners.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    sys.modules.pop("own_learners", None)


def run(each, **changes):
    "A short training of an arm."
    usual = dict(data=data_name("sample"), epochs=1)
    return run_trial(Trial(**each | usual | changes))


@pytest.mark.parametrize("each, least", [
    (dict(model="sklearn.ensemble:RandomForestClassifier", n_estimators=20), 0.7),
    (dict(model="sklearn.neighbors:KNeighborsClassifier", n_neighbors=3), 0.7),
    (dict(model="sklearn.svm:SVC", probability=True), 0.7),
    (dict(model="own_learners:near", k=1), 0.7),
    (dict(model="own_learners:Centroids"), 0.6),
    (dict(model="own_learners:Narrow", width=16), 0.15),
    (dict(model="own_learners:Plain", hidden=16), 0.15),
    (dict(model="own_learners:Steep", width=16, slope=0.3), 0.15),
], ids=lambda each: each["model"].partition(":")[2] if isinstance(each, dict) else "")  # fmt: skip
@pytest.mark.filterwarnings("ignore:The `probability` parameter:FutureWarning")
def test_what_people_write_can_be_an_arm(each, least):
    settings = dict(each)
    assert run(arm(settings.pop("model"), **settings)).scores.accuracy > least


def test_settings_are_those_that_the_class_hands_on():
    assert list(setting_names("own_learners:Narrow")) == ["width"]
    assert set(setting_names("own_learners:Steep")) == {"hidden", "slope", "width"}
    assert arm("own_learners:Steep")["settings"] == {"slope": 0.1, "width": 4}
    assert arm("own_learners:Centroids")["settings"] == {"temperature": 10.0}
    with pytest.raises(ValueError, match="is 'temprature', expected one of temperature"):
        arm("own_learners:Centroids", temprature=1.0)


def test_a_function_that_does_not_say_what_it_returns_is_told_how():
    said = "returns is 'KNeighborsClassifier', expected an `nn.Module`; .* announced"
    with pytest.raises(ValueError, match=said):
        run(arm("own_learners:near_but_silent"))
    assert learner_of("own_learners:near") is learner_of("own_learners:dotted")


@pytest.mark.parametrize("model", ["own_learners:flexible", "fmnist.modern_cnn:modern_cnn", "cnn",
                                   "hybrid"])
def test_the_data_decide_the_number_of_classes_and_the_shape(model):
    usual = dict(channels=[4], kernel_sizes=[3], strides=[1], paddings=[1], pool_after=[1],
                 hidden=[8])
    modern = dict(channels=[32], pool_after=[1])
    special = {"own_learners:flexible": {}, "fmnist.modern_cnn:modern_cnn": modern}
    settings = special.get(model, usual)
    result = run(arm(model, **settings), data=f"seven-{seven_digest()}",
                 source="own_learners:seven", images=64)
    assert np.shape(result.scores.confusion) == (7, 7)


def seven_digest():
    from fmnist.trials import open_data

    return open_data("own_learners:seven").digest


@pytest.mark.parametrize("share", [1, 2, -0.1, "0.2", float("nan")])
def test_a_share_for_validation_that_cannot_be_is_refused(share):
    said = "valid_fraction is .*, expected a number from 0 to below 1"
    with pytest.raises(ValueError, match=said):
        Trial("chance", {}, 1, valid_fraction=share)


def test_data_of_a_function_are_read_again_when_it_changes():
    from pathlib import Path

    from fmnist.trials import open_data

    first = open_data("own_learners:seven")
    assert open_data("own_learners:seven") is first and isinstance(first, ImageData)
    Path("own_learners.py").write_text(OWN.replace("(2, 2)", "(1, 1)"))
    assert open_data("own_learners:seven").shape == (30, 28)
    assert open_data("fmnist.data:fashion_mnist_sample").shape == (28, 28)
