"The two estimators keep scikit-learn's contract, and work in its tools."
import os
import subprocess
import sys
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fmnist.data import fashion_mnist_sample
from fmnist.estimators import (FARTHEST, WHOLE, MLPEstimator, TorchEstimator, default_batch,
                               default_epochs, race, race_table)

BOTH = [MLPEstimator, TorchEstimator]
SAMPLE = fashion_mnist_sample()
CHECKS = """
import warnings
from sklearn.utils.estimator_checks import check_estimator
from fmnist.estimators import MLPEstimator, TorchEstimator
warnings.simplefilter("ignore")
results = check_estimator({model}, on_fail=None, on_skip=None)
print(len(results), *(each["check_name"] for each in results if each["status"] != "passed"))
"""


def checks(model):
    "How many checks of scikit-learn there are, and the names of those that are not passed."
    run = subprocess.run([sys.executable, "-c", CHECKS.format(model=model)], capture_output=True,
                         text=True, env=os.environ | {"SCIPY_ARRAY_API": "1"})
    assert run.returncode == 0, run.stderr
    count, *others = run.stdout.split()
    return int(count), others


def test_check_estimator():
    count, others = checks("MLPEstimator()")
    assert count >= 60 and others == []


@pytest.mark.ci
def test_check_estimator_for_torch():
    "In float32 a weight of 2 and a row that stands there twice agree to seven digits only."
    count, others = checks("TorchEstimator(epochs=25)")
    assert count >= 60
    assert set(others) <= {"check_sample_weight_equivalence_on_dense_data"}


@pytest.mark.parametrize("load, least", [(load_iris, 0.93), (load_wine, 0.96),
                                         (load_breast_cancer, 0.95), (load_digits, 0.93)])
def test_defaults_fit_small_tables(load, least):
    X, y = load(return_X_y=True)
    assert cross_val_score(MLPEstimator(), X, y).mean() > least
    assert cross_val_score(TorchEstimator(), X, y, cv=3).mean() > least - 0.03


def test_defaults_fit_pictures():
    X, y = SAMPLE.train_images.reshape(2000, -1), SAMPLE.train_labels
    tests = SAMPLE.test_images.reshape(500, -1), SAMPLE.test_labels
    assert MLPEstimator().fit(X, y).score(*tests) > 0.8


def test_it_takes_at_most_half_of_the_time():
    theirs = make_pipeline(StandardScaler(), MLPClassifier(random_state=0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        contenders = {"theirs": theirs, "ours": MLPEstimator()}
        rows = race(contenders, {"digits": load_digits(return_X_y=True)})
    seconds = [np.median([row["seconds"] for row in rows if row["name"] == name])
               for name in ("theirs", "ours")]
    assert seconds[1] < 0.5*seconds[0]
    above, names, line = race_table(rows).splitlines()
    assert names.split() == ["theirs", "ours", "theirs", "ours", "ratio"]
    assert line.endswith(f"{seconds[1]/seconds[0]:7.2f}")


@pytest.mark.parametrize("cls", BOTH)
def test_names_tables_and_tools(cls, tmp_path):
    flowers = load_iris(as_frame=True)
    names = flowers.target_names[flowers.target]
    model = cls().fit(flowers.data, names)
    assert list(model.classes_) == ["setosa", "versicolor", "virginica"]
    assert list(model.feature_names_in_) == list(flowers.data.columns)
    assert model.score(flowers.data, pd.Series(names)) > 0.95
    assert abs(model.predict_proba(flowers.data).sum(axis=1) - 1).max() < 1e-5
    with pytest.raises(ValueError, match="feature names"):
        model.predict(flowers.data.rename(columns=str.upper))
    assert np.array_equal(clone(model).fit(flowers.data, names).predict_proba(flowers.data),
                          model.predict_proba(flowers.data))
    joblib.dump(model, tmp_path / "model.joblib")
    assert np.array_equal(joblib.load(tmp_path / "model.joblib").predict(flowers.data),
                          model.predict(flowers.data))


@pytest.mark.parametrize("cls", BOTH)
def test_inside_other_estimators(cls):
    X, y = load_wine(return_X_y=True)
    pipe = make_pipeline(StandardScaler(), cls())
    search = GridSearchCV(pipe, {f"{cls.__name__.lower()}__epochs": [1, 80]}, cv=2).fit(X, y)
    assert search.best_params_[f"{cls.__name__.lower()}__epochs"] == 80
    assert search.score(X, y) > 0.95
    assert CalibratedClassifierCV(cls(), cv=2).fit(X, y).score(X, y) > 0.9


@pytest.mark.parametrize("cls", BOTH)
def test_pieces(cls):
    X, y = load_digits(return_X_y=True)
    model = cls()
    said = "classes is None, expected all classes, in the first call"
    with pytest.raises(ValueError, match=said):
        model.partial_fit(X[:9], y[:9])
    for start in range(0, 1500, 100):
        model.partial_fit(X[start:start + 100], y[start:start + 100], classes=range(10))
    assert model.score(X[1500:], y[1500:]) > 0.75
    with pytest.raises(ValueError, match="classes is .* expected those of the first call"):
        model.partial_fit(X[:9], y[:9], classes=[1, 2])
    with pytest.raises(ValueError, match=r"y is \[11\], expected some of the classes"):
        model.partial_fit(X[:9], np.full(9, 11))
    assert model.fit(X[:300], y[:300]).partial_fit(X, y).score(X, y) > 0.9


@pytest.mark.parametrize("cls, most", [(MLPEstimator, 1e-9), (TorchEstimator, 1e-4)])
def test_weights_are_repetitions(cls, most):
    X, y = load_iris(return_X_y=True)
    weights = np.arange(150) % 3
    weighted = cls().fit(X, y, sample_weight=weights).predict_proba(X)
    repeated = cls().fit(X.repeat(weights, axis=0), y.repeat(weights)).predict_proba(X)
    plain = cls().fit(X, y).predict_proba(X)
    assert abs(weighted - repeated).max() < most < abs(weighted - plain).max()


@pytest.mark.parametrize("weights, sentence", [
    (np.zeros(150), "weights that are not all zero"), (-np.ones(150), "numbers of at least 0"),
    (np.full(150, np.nan), "finite numbers"),
    (np.ones(3), r"shape of sample_weight is \(3,\), expected \(150,\)"),
], ids=range(4))
def test_no_weights(weights, sentence):
    with pytest.raises(ValueError, match=sentence):
        MLPEstimator().fit(*load_iris(return_X_y=True), sample_weight=weights)


@pytest.mark.parametrize("options", [
    dict(epochs=0), dict(batch_size=0), dict(activation="relux"), dict(dropout=1),
    dict(layers=(0,)),
    dict(learning_rate=-1), dict(weight_decay=-1),
], ids=str)
def test_bad_options_are_named(options):
    with pytest.raises(ValueError, match=next(iter(options)).split("_")[0]):
        MLPEstimator(**options).fit(*load_iris(return_X_y=True))


def test_no_epochs_are_refused_by_both():
    said = "epochs is 0, expected a whole number of at least 1, or None"
    with pytest.raises(ValueError, match=said):
        TorchEstimator(epochs=0).fit(*load_iris(return_X_y=True))


def test_units_of_measurement_do_not_matter():
    X, y = load_wine(return_X_y=True)
    p = MLPEstimator().fit(X, y).predict_proba(X)
    q = MLPEstimator().fit(1e6*X - 5, y).predict_proba(1e6*X - 5)
    assert abs(p - q).max() < 1e-6
    constant = np.hstack([X, np.full((len(X), 1), 7.0)])
    assert np.isfinite(MLPEstimator().fit(constant, y).predict_proba(constant)).all()
    far = X.copy()
    far[0] = 1e30
    assert np.isfinite(MLPEstimator().fit(X, y).predict_proba(far)).all() and FARTHEST == 5


def test_defaults():
    assert [default_batch(n) for n in (1, WHOLE, WHOLE + 1, 9_999, 10_000)] == [1, 256, 64, 64, 128]
    assert [default_epochs(n) for n in (10, 256, 640, 64_000)] == [100, 100, 10, 10]
    assert default_batch(20, 50) == 20 and default_batch(500, 50) == 50


def test_random_state():
    X, y = load_iris(return_X_y=True)
    def p(state):
        return MLPEstimator(epochs=2, random_state=state).fit(X, y).predict_proba(X)
    assert np.array_equal(p(3), p(3)) and not np.array_equal(p(3), p(4))
    assert np.array_equal(p(np.random.RandomState(1)), p(np.random.RandomState(1)))
    assert np.isfinite(p(None)).all()


def own_builder(features, classes, depth):
    "A network of one's own, which names what it wants to know."
    from torch import nn
    return nn.Sequential(*(nn.Linear(features, features) for _ in range(depth)),
                         nn.Linear(features, classes))


def test_torch_takes_any_builder():
    X, y = load_iris(return_X_y=True)
    model = TorchEstimator(own_builder, dict(depth=2)).fit(X, y)
    assert len(model.network_) == 3 and model.score(X, y) > 0.9
    assert clone(model).get_params() == model.get_params()


@pytest.mark.parametrize("builder, settings", [
    ("fmnist.cnn:CNNModel", dict(channels=(8, 16, 16, 16, 16), hidden=(32,))),
    ("fmnist.modern_cnn:modern_cnn", dict(channels=(8, 16), pool_after=(1, 2))),
    ("fmnist.hybrid:hybrid_model", dict(channels=(8, 16, 16, 16, 16), hidden=(32,))),
])
def test_torch_takes_pictures(builder, settings):
    recipe = dict(optimizer="adamw", learning_rate=0.01, schedule="one cycle", dtype="float32",
                  augment=dict(flip=True), test_views=dict(flip=True))
    model = TorchEstimator(builder, settings, epochs=8, recipe=recipe)
    names = np.array(SAMPLE.classes)[SAMPLE.train_labels]
    model.fit(SAMPLE.train_images[:501], names[:501], sample_weight=np.arange(501) + 1)
    assert model.score(SAMPLE.train_images[:501], names[:501]) > 0.35
    with pytest.raises(ValueError, match="the shape of X"):
        model.predict(SAMPLE.test_images[:, :, :20])


def test_scikit_learn_is_asked_for():
    program = "import sys; sys.modules['sklearn'] = None; import fmnist.estimators"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "ImportError: fmnist.estimators needs scikit-learn" in run.stderr
    assert "pip install 'fmnist[sklearn]'" in run.stderr
