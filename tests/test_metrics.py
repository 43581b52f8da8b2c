"Every score equals that of an independent reference, and what is no probability gets no score."

import json

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import metrics as reference
from sklearn.calibration import calibration_curve

from fmnist.data import fashion_mnist_sample
from fmnist.metrics import (
    Epoch,
    History,
    Scores,
    as_probabilities,
    certainty,
    class_scores,
    confusion_matrix,
    cross_entropy,
    find_mistakes,
    plot_class_scores,
    plot_confusion,
    plot_mistakes,
    reliability,
    wilson,
)


def made_up(seed=0, images=1000, classes=10):
    "Labels, and probabilities that are better than chance; class 7 is never predicted."
    rng = np.random.default_rng(seed)
    labels, probabilities = (
        rng.integers(0, classes, images),
        rng.dirichlet(np.ones(classes), images),
    )
    probabilities[np.arange(images), labels] += 0.3
    probabilities[:, min(7, classes - 1)] = 1e-9
    return labels, probabilities / probabilities.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("choose", ["all", "one class", "one image"])
def test_scores_are_those_of_scikit_learn(choose):
    labels, probabilities = made_up()
    rows = {"all": slice(None), "one class": labels == 3, "one image": slice(1)}[choose]
    labels, probabilities = labels[rows], probabilities[rows]
    predictions, scores = (
        probabilities.argmax(axis=1),
        Scores.from_probabilities(labels, probabilities),
    )
    macro = reference.precision_recall_fscore_support(
        labels, predictions, average="macro", zero_division=0
    )[:3]
    assert np.allclose((scores.precision, scores.recall, scores.f1), macro, rtol=0, atol=1e-12)
    assert np.isclose(
        scores.accuracy, reference.accuracy_score(labels, predictions), rtol=0, atol=1e-12
    )
    assert np.isclose(
        scores.loss, reference.log_loss(labels, probabilities, labels=range(10)), rtol=0, atol=1e-12
    )
    if choose == "all":
        assert np.array_equal(scores.confusion, reference.confusion_matrix(labels, predictions))


def test_nothing_is_rounded_on_the_way():
    "One wrong image of ten thousand million is a difference."
    recall = class_scores([[1, 0], [1, 10**10 - 1]])[1]
    assert 0 < 1 - recall[1] < 2e-10


@pytest.mark.parametrize("classes", [2, 3, 26, 300])
def test_any_number_of_classes(classes):
    labels, probabilities = made_up(classes=classes)
    scores = Scores.from_probabilities(labels, probabilities)
    assert np.shape(scores.confusion) == (classes, classes) and np.sum(scores.confusion) == 1000


# --- by position ---


def forms(labels):
    "The same labels in every form in which people have them."
    shuffled = np.random.default_rng(1).permutation(len(labels))
    return [
        labels,
        labels.tolist(),
        tuple(labels.tolist()),
        torch.as_tensor(labels),
        labels.astype(float),
        pd.Series(labels, index=shuffled),
        pd.Series(np.r_[labels, labels])[len(labels) :],
    ]


def test_labels_are_taken_by_position():
    labels, probabilities = made_up()
    scores, mistakes = (
        Scores.from_probabilities(labels, probabilities),
        find_mistakes(labels, probabilities),
    )
    result = reliability(labels, probabilities)
    for form in forms(labels):
        assert Scores.from_probabilities(form, probabilities) == scores
        assert find_mistakes(form, probabilities) == mistakes
        assert reliability(form, probabilities).error == result.error
        assert cross_entropy(form, probabilities) == scores.loss
        assert np.array_equal(confusion_matrix(form, form), np.diag(np.bincount(labels)))


def test_probabilities_are_taken_in_any_form():
    labels, probabilities = made_up()
    scores = Scores.from_probabilities(labels, probabilities)
    frame = pd.DataFrame(probabilities, index=np.random.default_rng(1).permutation(1000))
    for form in (probabilities.tolist(), torch.as_tensor(probabilities), frame):
        assert Scores.from_probabilities(labels, form) == scores


# --- what is refused ---


@pytest.mark.parametrize(
    "rows, problem",
    [
        ([[90, 10]], "image 0 are not all from 0 to 1"),
        ([[1, 0], [0.5, np.nan]], "image 1 are not finite"),
        ([[1, 0], [np.inf, 0]], "image 1 are not finite"),
        ([[1.2, -0.2]], "image 0 are not all from 0 to 1"),
        ([[0.5, 0.4]], "image 0 do not sum to 1"),
        ([[0.9, 0.9]], "image 0 do not sum to 1"),
        ([0.5, 0.5], "the shape of probabilities is"),
        ([["a", "b"]], "the shape of probabilities is"),
    ],
)
def test_what_is_no_probability(rows, problem):
    for score in (Scores.from_probabilities, cross_entropy, find_mistakes, reliability):
        with pytest.raises(ValueError, match=problem):
            score([0] * len(rows), rows)


@pytest.mark.parametrize(
    "labels, problem",
    [
        ([0, -1], "label -1 at index 1, expected whole numbers from 0 to 1"),
        ([0, 2], "label 2 at index 1, expected whole numbers from 0 to 1"),
        ([0, 0.5], "label 0.5 at index 1"),
        ([0, np.nan], "label nan at index 1"),
        ([0, -100], "label -100 at index 1"),
        (["a", "b"], "the type of labels is"),
        ([0], "1 labels but 2 rows of probabilities"),
        ([0, 1, 1], "3 labels but 2 rows of probabilities"),
        ([[0, 1]], "the shape of labels is"),
    ],
)
def test_what_is_no_label(labels, problem):
    for score in (Scores.from_probabilities, cross_entropy, find_mistakes, reliability):
        with pytest.raises(ValueError, match=problem):
            score(labels, np.eye(2))


def test_no_images():
    for score in (Scores.from_probabilities, cross_entropy, reliability):
        with pytest.raises(ValueError, match="no images to score"):
            score([], np.zeros((0, 10)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("classes", [2, 10, 100])
def test_a_softmax_of_any_precision_is_allowed(dtype, classes):
    logits = torch.randn(5000, classes, generator=torch.Generator().manual_seed(0)) * 5
    probabilities = logits.to(dtype).softmax(1)
    assert probabilities.dtype == dtype and len(as_probabilities(probabilities)) == 5000
    if dtype != torch.bfloat16:
        assert len(as_probabilities(probabilities.numpy())) == 5000


def test_confusion_matrix_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match=r"\(2,\) labels but \(1,\) predictions"):
        confusion_matrix([0, 1], [0])
    with pytest.raises(
        ValueError, match="predictions: label 10 at index 1, expected whole numbers from 0 to 9"
    ):
        confusion_matrix([0, 1], [0, 10])
    assert confusion_matrix([], []).sum() == 0


# --- records, mistakes, calibration ---


def test_records_survive_json():
    scores = Scores.from_probabilities(*made_up())
    assert Scores.from_dict(json.loads(json.dumps(scores.to_dict()))) == scores
    history = History((Epoch(1, 1.1, 0.6, 0.82, 0.7, 1.5), Epoch(2, 0.9, 0.7, 0.8, 0.71, 1.5)))
    assert History.from_dict(json.loads(json.dumps(history.to_dict()))) == history
    assert history.best.epoch == 2 and history.seconds == 3
    with pytest.raises(ValueError, match="no epochs yet"):
        History().best


def test_mistakes():
    labels, said = [0, 1, 1, 2], [[0.9, 0.1, 0], [0.6, 0.4, 0], [0.2, 0.8, 0], [0.05, 0.95, 0]]
    assert find_mistakes(labels, said, count=1) == ((3, 2, 1, 0.95),)
    assert find_mistakes(labels, said, count=0) == ()
    assert [certainty(p) for p in (0.5, 0.99949, 0.9995, 1)] == [
        "50.0 %",
        "99.9 %",
        ">99.9 %",
        ">99.9 %",
    ]
    with pytest.raises(ValueError, match="no mistakes to show"):
        plot_mistakes(fashion_mnist_sample().test_images, ())


def test_calibration_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.full(10, 0.15), 1000)
    labels = (probabilities.cumsum(axis=1) < rng.random((1000, 1))).sum(axis=1).clip(max=9)
    result = reliability(labels, probabilities)
    right = probabilities.argmax(axis=1) == labels
    accuracy, confidence = calibration_curve(right, probabilities.max(axis=1), n_bins=10)
    filled = result.counts > 0
    assert np.allclose(result.accuracy[filled], accuracy) and np.allclose(
        result.confidence[filled], confidence
    )
    certain = reliability([0], [[1.0, 0]])
    assert certain.counts.tolist() == [0] * 9 + [1] and np.isnan(certain.accuracy[:9]).all()


@pytest.mark.parametrize("share, count", [(0, 10), (0.3, 20), (1, 5)])
def test_wilson(share, count):
    "The ends are the true shares from which the seen one is 1.96 standard errors away."
    for end in wilson(share, count):
        assert np.isclose((share - end) ** 2, 1.96**2 * end * (1 - end) / count, rtol=0, atol=1e-12)


# --- pictures ---


def test_plots_bear_the_names_that_they_are_given():
    labels, probabilities = made_up(classes=3)
    scores, names = Scores.from_probabilities(labels, probabilities), ["cat", "dog", "cow"]
    assert [text.get_text() for text in plot_confusion(scores).get_xticklabels()] == ["0", "1", "2"]
    assert [
        text.get_text() for text in plot_confusion(scores, classes=names).get_xticklabels()
    ] == names
    order = np.argsort(class_scores(scores.confusion)[2], kind="stable")
    ax = plot_class_scores(scores, classes=names)
    assert [text.get_text() for text in ax.get_yticklabels()] == [names[k] for k in order]
    for marks, values in zip(ax.collections[1:], class_scores(scores.confusion)[:2], strict=True):
        assert np.allclose(marks.get_offsets()[:, 0], 100 * values[order])
    figure = plot_mistakes(
        np.zeros((1000, 5, 7)), find_mistakes(labels, probabilities, 3), classes=names
    )
    assert figure.axes[0].get_title().split("\n")[0] in names
    with pytest.raises(ValueError, match="the number of names in classes is 2, expected 3"):
        plot_confusion(scores, classes=["cat", "dog"])
