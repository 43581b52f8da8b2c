"The hybrid: its gradients by hand are those of autograd, however it is called."

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fmnist.checks import TrainingDiverged
from fmnist.cnn import CNNModel
from fmnist.data import cnn_batches, fashion_mnist_sample
from fmnist.hybrid import Head, hybrid_model
from fmnist.mlp import MLP
from fmnist.recipes import ModernMLP
from fmnist.training import fit, validate

DATA = fashion_mnist_sample()
LOADERS = cnn_batches(DATA)
X, Y = next(iter(cnn_batches(DATA, batch_size=32)[0]))


def double_parts():
    backbone = nn.Sequential(CNNModel(channels=(4, 8, 8, 8, 8)).features, nn.Flatten()).double()
    mlp = MLP(72, [16, 10], ["gelu", "softmax"], initialization="he", library="torch",
              dtype="float64")
    return backbone, Head(mlp)


def by_torch(head, a):
    "What the head says, written in PyTorch's functions."
    W0, b0, W1, b1 = head.parameters()
    return (F.gelu(a @ W0 + b0, approximate="tanh") @ W1 + b1).log_softmax(1)


def odd_loss(log_p, y):
    "A loss whose gradient does not sum to 0 over the classes."
    return (log_p**2 @ torch.arange(10.0).double()).sum()


@pytest.mark.parametrize("criterion", [F.cross_entropy, odd_loss])
@pytest.mark.parametrize("training", [True, False])
def test_gradients(criterion, training):
    backbone, head = double_parts()
    backbone.train(training)
    head.train(training)
    # not the biases before batch normalisation, whose gradient is 0 but for rounding
    kernels = [layer.weight for layer in backbone.modules()
               if isinstance(layer, (nn.Conv2d, nn.BatchNorm2d))]
    asked = [*kernels, *head.parameters()]
    ours = torch.autograd.grad(criterion(head(backbone(X.double())), Y), asked)
    expected = torch.autograd.grad(criterion(by_torch(head, backbone(X.double())), Y), asked)
    for a, b in zip(ours, expected, strict=True):
        assert ((a - b).norm() / b.norm()).item() < 1e-10


def test_two_forward_passes_before_one_backward_pass():
    backbone, head = double_parts()
    backbone.eval()

    def loss(part):
        return F.cross_entropy(head(backbone(X[part].double())), Y[part])

    parts = slice(0, 20), slice(20, 32)
    together = torch.autograd.grad(sum(map(loss, parts)), backbone.parameters())
    apart = [torch.autograd.grad(loss(part), backbone.parameters()) for part in parts]
    for both, first, second in zip(together, *apart, strict=True):
        assert torch.allclose(both, first + second, atol=1e-12)


def test_dropout_follows_the_mode_and_the_random_state():
    head = Head(MLP(72, [1000, 10], ["relu", "softmax"], initialization="he", dropout=0.25,
                    library="torch"))
    a = torch.randn(32, 72, generator=torch.Generator().manual_seed(0))
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        first, second = head(a), head(a)
        head.mlp.logits(a, cache := [])
        # what enters the last layer: not ReLU's zeros, and not dropped
        kept = (cache[2] > 0).float().mean().item()
        torch.manual_seed(0)
        assert torch.equal(head(a), first) and not torch.equal(first, second)
        assert torch.equal(head.eval()(a), head(a))
        head.mlp.logits(a, cache := [])
        assert abs(kept / (cache[2] > 0).float().mean().item() - 0.75) < 0.02


@pytest.mark.parametrize("make, message", [
    (lambda: Head(ModernMLP(72, [10], ["softmax"], library="torch")),
     "the class of mlp is 'ModernMLP', expected MLP"),
    (lambda: Head(MLP(72, [10], ["softmax"])),
     "of mlp is .'numpy', 0., expected torch and a single seed"),
    (lambda: Head(MLP(72, [10], ["softmax"], library="torch", seed=[0, 1])),
     "expected torch and a single seed"),
    (lambda: Head(MLP(100, [10], ["softmax"], library="torch"))(torch.zeros(32, 72)),
     "the shape of x is .32, 72."),
])
def test_a_head_that_does_not_fit(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_other_classes_and_sizes():
    model = hybrid_model(channels=(4, 8, 8, 8, 8), hidden=(16,), classes=3, size=20, dropout=0.3)
    model.eval()
    assert (model.classifier[1].p, model.classifier[2].dropout) == (0.3, 0.3)
    assert model(torch.zeros(5, 1, 20, 20)).shape == (5, 3)


def run(path, **options):
    model = hybrid_model(channels=(8, 8, 16, 16, 16), hidden=(32,))
    given = dict(epochs=2, dtype="bfloat16", device="cpu", path=path / "best.pth") | options
    return fit(model, *LOADERS[:2], **given), model


def test_fit_trains_it_like_any_network(tmp_path):
    before = torch.random.get_rng_state()
    (history, model), (again, twin) = run(tmp_path), run(tmp_path)
    other, _ = run(tmp_path, seed=1)
    assert torch.equal(torch.random.get_rng_state(), before)
    losses = [[epoch.valid_loss for epoch in each.epochs] for each in (history, again, other)]
    assert losses[0] == losses[1] != losses[2]
    assert all(map(torch.equal, model.state_dict().values(), twin.state_dict().values()))
    found = validate(model, LOADERS[1], nn.CrossEntropyLoss(), "bfloat16")[0]
    assert abs(found - history.best.valid_loss) < 1e-6
    with pytest.raises(TrainingDiverged, match=r"lower learning_rate, which is 1e\+20"):
        run(tmp_path, learning_rate=1e20)


def test_it_resumes_and_averages(tmp_path):
    options = dict(optimizer="muon", learning_rate=0.05, average=0.9, dtype="float32")
    whole, model = run(tmp_path / "whole", epochs=3, **options)
    run(tmp_path, epochs=1, **options)
    resumed, other = run(tmp_path, epochs=3, resume=True, **options)
    assert [e.valid_loss for e in whole.epochs] == [e.valid_loss for e in resumed.epochs]
    assert all(map(torch.equal, model.state_dict().values(), other.state_dict().values()))
