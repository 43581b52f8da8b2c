"How a network is trained: what the recipe says happens, and what cannot be is refused in words."

import json
import math
import threading

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from fmnist import training
from fmnist.checks import CheckpointError, TrainingDiverged
from fmnist.cnn import CNNModel
from fmnist.data import Batches, augmentation, cnn_batches, fashion_mnist_sample, normalise_images
from fmnist.hybrid import hybrid_model
from fmnist.training import (
    Muon,
    WeightAverage,
    evaluate,
    fit,
    orthogonalise,
    predict_proba,
    recipe,
    train,
    validate,
)

TINY = dict(channels=(4, 8, 8, 8, 8), hidden=(16,))
DATA = fashion_mnist_sample()
LOADERS = cnn_batches(DATA)
PLAIN = dict(dtype="float32", device="cpu")


class Flat(nn.Module):
    "A network without normalisation, which takes images of any size and a batch of any length."

    def __init__(self, classes=10, pixels=784):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layer = nn.Linear(pixels, classes)

    def forward(self, x):
        return self.layer(x.flatten(1))


def run(path, model=None, loaders=LOADERS[:2], epochs=2, **options):
    "Train a small network; its history and the network."
    model = model or CNNModel(**TINY)
    return fit(model, *loaders, epochs=epochs, path=path / "best.pth", **PLAIN | options), model


def losses(history):
    return [(epoch.train_loss, epoch.valid_loss) for epoch in history.epochs]


def same_bits(a, b):
    return all(map(torch.equal, a.state_dict().values(), b.state_dict().values()))


# The recipe


def test_a_recipe_holds_what_was_given_and_nothing_else():
    assert recipe() == {}
    given = recipe(
        learning_rate=np.float64(0.001),
        weight_decay=0.0001,
        class_weight=(1, np.int64(2)),
        dtype=torch.bfloat16,
    )
    assert given == {
        "learning_rate": 0.001,
        "weight_decay": 0.0001,
        "class_weight": [1, 2],
        "dtype": "bfloat16",
    }
    assert json.loads(json.dumps(given)) == given
    assert recipe(dtype=None) == recipe(dtype="float32") == {"dtype": "float32"}


@pytest.mark.parametrize(
    "options, message",
    [
        (
            dict(optimizer="adm"),
            "optimizer is 'adm', "
            "expected one of 'adam', 'adamw', 'sgd', 'nesterov', 'muon', or the path",
        ),
        (dict(learning_rate=0), "learning_rate is 0, expected a number above 0"),
        (dict(learning_rate=math.nan), "learning_rate is nan"),
        (dict(learning_rate="0.1"), "learning_rate is '0.1'"),
        (dict(weight_decay=-1), "weight_decay is -1, expected a number of at least 0"),
        (dict(momentum=1), "momentum is 1, expected at least 0 and less than 1"),
        (
            dict(schedule="cosin"),
            "schedule is 'cosin', expected one of 'constant', 'one cycle', 'linear', 'cosine'",
        ),
        (dict(label_smoothing=1), "label_smoothing is 1"),
        (dict(class_weight=[0, 0]), "class_weight is"),
        (dict(class_weight=[-1, 2]), "class_weight is"),
        (
            dict(augment=dict(turn=3)),
            "augment is {'turn': 3}, expected a dictionary with flip, shift, erase",
        ),
        (dict(test_views=dict(flip="alternate")), "test_views is"),
        (dict(mixup=-0.1), "mixup is -0.1"),
        (dict(average=1), "average is 1"),
        (dict(dtype="int8"), "dtype is 'int8', expected one of None, 'auto', 'float32'"),
        (dict(keep="first"), "keep is 'first', expected one of 'best', 'last'"),
        (dict(patience=0), "patience is 0, expected a whole number of at least 1"),
        (dict(patience=True), "patience is True"),
        (dict(turns=2), "optimizer is 'adam', expected one of 'muon' where turns is given"),
        (
            dict(keep="last", patience=2),
            "keep is 'last', expected one of 'best' where patience is given",
        ),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(options, message, tmp_path):
    for ask in (lambda: recipe(**options), lambda: run(tmp_path, **options)):
        with pytest.raises(ValueError) as error:
            ask()
        assert str(error.value).startswith(message)


def test_a_misspelt_option_is_refused_with_the_names():
    with pytest.raises(
        TypeError,
        match="no option 'lerning_rate': did you mean learning_rate. "
        "It has optimizer, learning_rate",
    ):
        recipe(lerning_rate=0.1)


def test_functions_of_ones_own(tmp_path, monkeypatch):
    (tmp_path / "training_nets.py").write_text(
        "import torch\nfrom torch.nn import functional as F\n"
        "def loss(logits, labels): return F.nll_loss(logits.log_softmax(1), labels)\n"
        "def vector(logits, labels): return F.cross_entropy(logits, labels, reduction='none')\n"
        "def rmsprop(model, learning_rate, weight_decay):\n"
        "    return torch.optim.RMSprop(model.parameters(), learning_rate,\n"
        "                               weight_decay=weight_decay)\n"
        "def darker(images, draw): return images//2\n"
        "number = 3\n"
    )
    monkeypatch.chdir(tmp_path)
    own = recipe(
        loss="training_nets:loss", optimizer="training_nets:rmsprop", augment="training_nets:darker"
    )
    history, _ = run(tmp_path, **own)
    assert history.epochs[1].train_loss < history.epochs[0].train_loss
    from training_nets import loss

    assert recipe(loss=loss) == {"loss": "training_nets:loss"}
    by_name, model = run(tmp_path, loss=loss)
    plain, other = run(tmp_path)
    assert np.allclose(losses(by_name), losses(plain), atol=1e-6)
    for path, message in [
        ("training_nets:lost", "has no 'lost'; it has"),
        ("missing_nets:loss", "there is no module 'missing_nets' in"),
        ("training_nets:number", "expected a function, not int"),
        ("__main__:loss", "cannot import"),
    ]:
        with pytest.raises(ValueError, match=message) as error:
            recipe(loss=path)
        assert str(error.value).startswith(f"loss is {path!r}")
    with pytest.raises(ValueError, match=r"the shape of the loss is \(64,\), expected \(\)"):
        run(tmp_path, loss="training_nets:vector")
    with pytest.raises(ValueError, match="cannot import"):
        recipe(loss=lambda logits, labels: 0)
    with pytest.raises(
        ValueError,
        match="loss is 'training_nets:loss', expected 'cross entropy' where sample_weight",
    ):
        run(tmp_path, loss="training_nets:loss", sample_weight=np.ones(1600))


def test_an_edited_function_is_another_training(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = (
        "from torch.nn import functional as F\n"
        "def loss(logits, labels): return 1*F.cross_entropy(logits, labels)\n"
    )
    (tmp_path / "edited_nets.py").write_text(source)
    run(tmp_path, loss="edited_nets:loss", epochs=1)
    run(tmp_path, loss="edited_nets:loss", resume=True)
    (tmp_path / "edited_nets.py").write_text(source.replace("1*", "1.5*"))
    with pytest.raises(CheckpointError, match="code is"):
        run(tmp_path, loss="edited_nets:loss", resume=True, epochs=3)


# What each option does


def test_every_recipe_learns_and_resumes_to_the_same_bits(tmp_path, monkeypatch):
    recipes = [
        dict(schedule="one cycle", augment=dict(flip=True, shift=2, erase=8)),
        dict(
            optimizer="muon",
            learning_rate=0.12,
            schedule="linear",
            label_smoothing=0.1,
            augment=dict(flip="alternate", shift=2),
        ),
        dict(
            optimizer="muon",
            learning_rate=0.05,
            renormalise=False,
            turns=5,
            bias_rate=0.1,
            head_rate=0.1,
            weight_decay=0.01,
        ),
        dict(optimizer="nesterov", learning_rate=0.05, schedule="cosine", mixup=0.4),
        dict(optimizer="adamw", average=0.99, weight_decay=0.01),
        dict(keep="last", class_weight=[1] * 9 + [3]),
        dict(optimizer="sgd", learning_rate=0.1, sample_weight=np.linspace(0, 1, 1600)),
        dict(momentum=0.5, schedule="one cycle", dtype="bfloat16"),
    ]
    real = training.train

    def fails_in_epoch_2(*arguments):
        if arguments[4] == 2:
            raise KeyboardInterrupt
        return real(*arguments)

    for number, options in enumerate(recipes):
        folder = tmp_path / str(number)
        before = torch.random.get_rng_state()
        whole, model = run(folder / "whole", epochs=2, **options)
        assert torch.equal(torch.random.get_rng_state(), before)
        assert whole.epochs[-1].train_loss < whole.epochs[0].train_loss
        monkeypatch.setattr(training, "train", fails_in_epoch_2)
        with pytest.raises(KeyboardInterrupt):
            run(folder, epochs=2, **options)
        monkeypatch.setattr(training, "train", real)
        resumed, other = run(folder, epochs=2, resume=True, **options)
        assert losses(resumed) == losses(whole) and same_bits(model, other), options


def test_any_shuffling_loader_resumes_to_the_same_bits(tmp_path):
    tensors = TensorDataset(*(torch.cat(part) for part in zip(*cnn_batches(DATA)[0], strict=True)))
    loaders = DataLoader(tensors, batch_size=64, shuffle=True), LOADERS[1]
    whole, model = run(tmp_path / "whole", loaders=loaders, epochs=3)
    run(tmp_path, loaders=loaders, epochs=1)
    resumed, other = run(tmp_path, loaders=loaders, epochs=3, resume=True)
    assert losses(resumed) == losses(whole) and same_bits(model, other)


def test_the_best_epoch_is_kept_or_the_last(tmp_path):
    (history, scores), model = run(tmp_path, epochs=4, learning_rate=0.05, test_loader=LOADERS[2])
    assert math.isclose(
        validate(model, LOADERS[1], nn.CrossEntropyLoss())[0], history.best.valid_loss, rel_tol=1e-5
    )
    assert scores == evaluate(model, LOADERS[2])
    last, model = run(tmp_path, epochs=4, learning_rate=0.05, keep="last")
    assert losses(last) == losses(history)
    assert math.isclose(
        validate(model, LOADERS[1], nn.CrossEntropyLoss())[0],
        last.epochs[-1].valid_loss,
        rel_tol=1e-5,
    )


def test_patience_ends_a_training_once_and_for_all(tmp_path):
    options = dict(epochs=30, learning_rate=0.5, patience=2)
    history, _ = run(tmp_path, **options)
    assert len(history.epochs) == history.best.epoch + 2 < 30
    again, _ = run(tmp_path, resume=True, **options)
    assert again.to_dict() == history.to_dict()


def test_without_validation_images(tmp_path):
    loaders = LOADERS[0], None
    history, model = run(tmp_path, loaders=loaders, epochs=1, keep="last")
    assert math.isnan(history.epochs[0].valid_loss)
    resumed, model = run(tmp_path, loaders=loaders, keep="last", resume=True)
    whole, other = run(tmp_path / "whole", loaders=loaders, keep="last")
    assert [e.train_loss for e in resumed.epochs] == [
        e.train_loss for e in whole.epochs
    ] and same_bits(model, other)
    with pytest.raises(
        ValueError, match="keep is 'best', expected 'last' where val_loader is None"
    ):
        run(tmp_path, loaders=loaders)


def test_weights_of_images_and_classes(tmp_path):
    labels = LOADERS[0].labels
    _, by_image = run(tmp_path, sample_weight=torch.where(labels == 3, 2.0, 1.0))
    _, by_class = run(tmp_path, class_weight=[1, 1, 1, 2, 1, 1, 1, 1, 1, 1])
    pairs = zip(by_image.state_dict().values(), by_class.state_dict().values(), strict=True)
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in pairs)
    _, only_bags = run(tmp_path, model=Flat(), class_weight=[0] * 8 + [1, 0], learning_rate=0.01)
    assert (predict_proba(only_bags, DATA.test_images).argmax(1) == 8).all()
    for weights, message in [
        (np.ones(3), r"the shape of sample_weight is \(3,\)"),
        (-np.ones(1600), "the least of sample_weight is -1.0"),
    ]:
        with pytest.raises(ValueError, match=message):
            run(tmp_path, sample_weight=weights)
    with pytest.raises(ValueError, match="class_weight is .*expected 10 numbers"):
        run(tmp_path, class_weight=[1, 2])


def test_augmentation_belongs_to_the_recipe_or_to_the_loader(tmp_path):
    ready = cnn_batches(DATA, augment=augmentation(flip=True, shift=1))[:2]
    by_loader, _ = run(tmp_path / "a", loaders=ready)
    by_recipe, _ = run(tmp_path / "b", augment=dict(flip=True, shift=1))
    assert losses(by_loader) == losses(by_recipe) != losses(run(tmp_path / "c")[0])
    assert LOADERS[0].augment is None  # the caller's loader is as it was
    with pytest.raises(ValueError, match="expected nothing: train_loader has one of its own"):
        run(tmp_path, loaders=ready, augment=dict(flip=True))
    batches = [(x, y) for x, y in LOADERS[0]]
    with pytest.raises(ValueError, match="the class of train_loader is 'list', expected Batches"):
        run(tmp_path, loaders=(batches, LOADERS[1]), augment=dict(flip=True))


def test_mixup_mixes_images_and_losses():
    x, y = torch.rand(6, 1, 4, 4), torch.arange(6)
    mixed, (others,), share = training.Mixup(0.4, np.random.default_rng(0))(x, [y])
    assert 0 <= share <= 1 and sorted(others.tolist()) == list(range(6))
    assert torch.equal(mixed, share * x + (1 - share) * x[others])


def test_the_average_of_the_weights():
    model = Flat()
    average = WeightAverage(model, 0.5)
    weights, start = [], model.layer.bias.detach().clone()
    for step in range(1, 4):
        with torch.no_grad():
            model.layer.bias.add_(1)
        average.update(model)
        weights.append(start + step)
    expected = start
    for step, weight in enumerate(weights, 1):
        keep = min(0.5, step / (10 + step))
        expected = keep * expected + (1 - keep) * weight
    assert torch.allclose(average.model.layer.bias, expected)


def test_orthogonalised_matrices():
    for shape in ((8, 40), (40, 8), (16, 16)):
        G = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        U, S, V = torch.linalg.svd(G, full_matrices=False)
        found = orthogonalise(G, turns=6)
        values = torch.linalg.svdvals(found)
        assert found.shape == G.shape and 0.6 < values.min() and values.max() < 1.3
        kept = U.T @ found @ V.T  # the same directions: diagonal
        assert (kept - kept.diag().diag()).abs().max() < 1e-3


def test_muon_moves_matrices_and_all_else_each_in_its_way():
    model = CNNModel(**TINY)
    kernels = [p for p in model.parameters() if p.ndim > 1][:-1]
    optimizer = Muon(model, 0.1, weight_decay=0.0, bias_rate=0.02, head_rate=0.03)
    assert [len(group["params"]) for group in optimizer.param_groups] == [6, 17, 1]
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.02, 0.03]
    x, y = next(iter(LOADERS[0]))
    F.cross_entropy(model.train()(x), y).backward()
    before = {p: p.detach().clone() for p in model.parameters()}
    head, bias = model.classifier[-1].weight, model.classifier[-1].bias
    optimizer.step()
    for p in kernels:
        length = before[p] * len(p) ** 0.5 / before[p].norm()
        step = orthogonalise((1.6 * p.grad).flatten(1), 3).view_as(p)
        assert torch.allclose(p, length - 0.1 * step, atol=1e-5)
    assert torch.allclose(head, before[head] - 0.03 * 1.85 * head.grad, atol=1e-6)
    assert torch.allclose(bias, before[bias] - 0.02 * 1.85 * bias.grad, atol=1e-6)
    frozen = Flat()
    frozen.layer.bias.requires_grad_(False)
    assert sum(len(group["params"]) for group in Muon(frozen).param_groups) == 1


def test_schedules_end_where_they_should(tmp_path):
    for schedule, last in (("linear", 0), ("cosine", 0), ("one cycle", 0), ("constant", 1e-3)):
        run(tmp_path, schedule=schedule)
        checkpoint = torch.load(tmp_path / "best.checkpoint.pth", weights_only=True)
        assert math.isclose(checkpoint["optimizer"]["param_groups"][0]["lr"], last, abs_tol=1e-5), (
            schedule
        )


# Views and probabilities


def test_views_average_logits():
    model, x = CNNModel(**TINY).eval(), normalise_images(torch.as_tensor(DATA.test_images[:5]))
    views = training.view_images(x, flip=True, shift=1)
    assert [share for share, _ in views] == [0.25, 0.25, 0.125, 0.125, 0.125, 0.125]
    up = views[2][1]
    assert torch.equal(up[..., :-1, :-1], x[..., 1:, 1:]) and torch.equal(
        up[..., -1, :-1], x[..., -1, 1:]
    )
    with torch.no_grad():
        expected = sum(share * model(images) for share, images in views).softmax(1)
    found = predict_proba(model, x, test_views=dict(flip=True, shift=1))
    assert np.allclose(found, expected, atol=1e-6)
    assert np.array_equal(
        found, predict_proba(model, DATA.test_images[:5], test_views=dict(flip=True, shift=1))
    )


def test_probabilities_of_images_and_of_loaders():
    model = CNNModel(**TINY)
    by_loader = predict_proba(model, LOADERS[2])
    assert by_loader.shape == (500, 10) and by_loader.dtype == np.float32
    assert np.allclose(by_loader, predict_proba(model, DATA.test_images), atol=1e-6)
    assert np.allclose(by_loader, predict_proba(model, DATA.test_images, "bfloat16"), atol=0.05)
    single = predict_proba(model, normalise_images(torch.as_tensor(DATA.test_images[:1])))
    assert np.allclose(single, by_loader[:1], atol=1e-6)


@pytest.mark.parametrize("build", [CNNModel, hybrid_model])
def test_prediction_is_safe_in_threads(build):
    model, images = build(**TINY), DATA.test_images
    parts = [images[start : start + 20] for start in range(0, 200, 20)]
    expected, wrong = [predict_proba(model, part) for part in parts], []

    def ask(number):
        for _ in range(20):
            if not np.array_equal(predict_proba(model, parts[number]), expected[number]):
                wrong.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# What is refused


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_pixels_that_are_no_numbers(value, tmp_path):
    x, y = next(iter(LOADERS[1]))
    x = x.clone()
    x[7, 0, 3, 4] = value
    model, where = (
        CNNModel(**TINY),
        rf"has the value {value} at \(7, 0, 3, 4\), expected finite numbers",
    )
    with pytest.raises(ValueError, match=f"batch 1 of train_loader {where}"):
        run(tmp_path, loaders=([(x, y)], LOADERS[1]))
    with pytest.raises(ValueError, match=f"batch 1 of val_loader {where}"):
        run(tmp_path, loaders=(LOADERS[0], [(x, y)]))
    with pytest.raises(ValueError, match=f"batch 2 of loader {where}"):
        evaluate(model, [(x[:3], y[:3]), (x, y)])
    with pytest.raises(ValueError, match=f"batch 1 of images {where}"):
        predict_proba(model, x)


@pytest.mark.parametrize("wrong", [-100, -1, 10])
def test_labels_that_are_no_classes(wrong, tmp_path):
    x, y = next(iter(LOADERS[1]))
    y = y.clone()
    y[5] = wrong
    model, where = CNNModel(**TINY), f"has the label {wrong} at 5, expected 0"
    with pytest.raises(ValueError, match=f"batch 1 of train_loader {where} to 9"):
        run(tmp_path, loaders=([(x, y)], LOADERS[1]))
    with pytest.raises(ValueError, match=f"val_loader {where} to 9"):
        run(tmp_path, loaders=(LOADERS[0], [(x, y)]))
    with pytest.raises(ValueError, match=f"loader {where} to 9"):
        evaluate(model, [(x, y)])
    images = torch.as_tensor(DATA.train_images[: len(y)])
    batches = Batches(images, y.clamp(0, 9), normalise_images, 64)
    batches.labels = y  # as they could not be made
    with pytest.raises(ValueError, match=f"train_loader {where} to 9"):  # before training starts
        run(tmp_path, loaders=(batches, LOADERS[1]))
    if wrong < 0:
        with pytest.raises(ValueError, match=f"train_loader {where}"):
            train(
                model, batches, nn.CrossEntropyLoss(), torch.optim.SGD(model.parameters(), 0.1), 1
            )
    with pytest.raises(ValueError, match="the labels of batch 1 of train_loader is 'float32"):
        run(tmp_path, loaders=([(x, y.float())], LOADERS[1]))


def test_a_batch_of_one_image_and_batch_normalisation(tmp_path):
    "Where normalisation sees one number a channel, a last batch of one is refused before training."
    narrow = dict(
        channels=(4, 4),
        kernel_sizes=(28, 1),
        strides=(1, 1),
        paddings=(0, 0),
        pool_after=(),
        hidden=(),
    )
    images, labels = (
        torch.as_tensor(DATA.train_images[:129]),
        torch.as_tensor(DATA.train_labels[:129].astype(np.int64)),
    )
    batches = Batches(images, labels, normalise_images, 64, shuffle=True)
    tensors = DataLoader(TensorDataset(normalise_images(images), labels), batch_size=64)
    for loader in (batches, tensors, list(tensors)):
        said = "train_loader's last batch is 1, expected at least 2"
        with pytest.raises(ValueError, match=said) as error:
            run(tmp_path, CNNModel(**narrow), (loader, LOADERS[1]))
        layers = "batch normalisation (features.1, features.4)"
        assert f"{layers} learns nothing from one" in str(error.value)
    run(
        tmp_path,
        CNNModel(**narrow),
        (Batches(images, labels, normalise_images, 43), LOADERS[1]),
        epochs=1,
    )
    run(tmp_path, CNNModel(**TINY), (batches, LOADERS[1]), epochs=1)  # its maps have many places
    run(tmp_path, Flat(), (batches, LOADERS[1]), epochs=1)


def test_loaders_and_epochs_that_cannot_be(tmp_path):
    model, criterion = CNNModel(**TINY), nn.CrossEntropyLoss()
    for call, message in [
        (lambda: run(tmp_path, epochs=0), "epochs is 0, expected at least 1"),
        (lambda: run(tmp_path, epochs=2.5), "epochs is 2.5"),
        (
            lambda: run(tmp_path, loaders=([], LOADERS[1])),
            "the number of batches of train_loader is 0",
        ),
        (
            lambda: run(tmp_path, loaders=(LOADERS[0], [])),
            "the number of batches of val_loader is 0",
        ),
        (
            lambda: train(model, [], criterion, None, 1),
            "the number of batches of train_loader is 0",
        ),
        (lambda: train(model, LOADERS[0], criterion, None, 0), "epoch is 0, expected at least 1"),
        (lambda: validate(model, [], criterion), "the number of batches of val_loader is 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()


def test_a_loss_that_explodes_leaves_the_network_as_it_was(tmp_path):
    model = CNNModel(**TINY)
    first, _ = run(tmp_path, model, epochs=1, learning_rate=0.01)
    torch.manual_seed(0)
    with pytest.raises(
        TrainingDiverged, match=r"no longer finite in epoch 1: lower learning_rate, which is 1e\+20"
    ) as error:
        run(tmp_path, model, epochs=3, learning_rate=1e20)
    assert error.value.history.epochs == ()
    assert all(value.isfinite().all() for value in model.state_dict().values())
    assert np.isfinite(predict_proba(model, DATA.test_images)).all()


def test_anything_by_position(tmp_path):
    "Arrays, lists and pandas' Series with a shuffled index are taken by position."
    import pandas as pd

    x, y = next(iter(LOADERS[0]))
    expected, _ = run(tmp_path, Flat(), ([(x, y)], LOADERS[1]))
    series = pd.Series(y.numpy(), index=np.random.default_rng(0).permutation(len(y)))
    for labels in (y.numpy(), y.tolist(), series):
        assert losses(run(tmp_path, Flat(), ([(x.numpy(), labels)], LOADERS[1]))[0]) == losses(
            expected
        )


def test_networks_of_other_images(tmp_path):
    "Two classes, colours, another size, and a network that is not ours."
    draw = np.random.default_rng(0)
    x, y = (
        torch.as_tensor(draw.normal(size=(40, 3, 20, 24)), dtype=torch.float32),
        torch.arange(40) % 2,
    )
    x[y == 1] += 1
    model = CNNModel(**TINY, classes=2, size=(20, 24), input_channels=3)
    history, _ = run(tmp_path, model, ([(x, y)], [(x, y)]), epochs=10, learning_rate=0.01)
    assert history.best.valid_accuracy == 1
    assert predict_proba(model, x).shape == (40, 2)


def test_faster_dtype_goes_by_the_clock(monkeypatch):
    class Slow(nn.Module):  # in one precision, by a clock of its own
        def __init__(self, slow):
            super().__init__()
            self.layer, self.slow, self.steps, self.clock = nn.Linear(784, 10), slow, [], 0

        def forward(self, x):
            y = self.layer(x.flatten(1))
            self.steps.append(y.dtype)
            self.clock += 50 if y.dtype == self.slow else 1
            return y

    for slow, faster, trials in ((torch.bfloat16, None, 3), (torch.float32, torch.bfloat16, 4)):
        network = Slow(slow)
        monkeypatch.setattr(training.time, "perf_counter", lambda: network.clock)
        assert training.faster_dtype(network, torch.zeros(64, 1, 28, 28)) == faster
        assert network.steps == [torch.float32] * 4 + [torch.bfloat16] * trials
    monkeypatch.undo()
    model = CNNModel().eval()
    averages = model.features[1].running_mean.clone()
    assert training.faster_dtype(model, torch.zeros(16, 1, 28, 28)) in (None, torch.bfloat16)
    assert torch.equal(model.features[1].running_mean, averages) and not model.training
