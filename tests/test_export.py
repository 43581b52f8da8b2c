"ONNX files agree with their networks, saved networks come back, and files of others do no harm."
import io
import json
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

from fmnist.checks import CheckpointError
from fmnist.cnn import CNNModel
from fmnist.data import fashion_mnist_sample, flatten_images, normalise_images
from fmnist.export import (architecture, check_onnx, dequantise, load_network, plot_onnx, quantise,
                           run_onnx, save_network, to_onnx)
from fmnist.hybrid import hybrid_model
from fmnist.mlp import MLP
from fmnist.modern_cnn import modern_cnn
from fmnist.recipes import ModernMLP
from fmnist.training import predict_proba

IMAGES = fashion_mnist_sample().test_images
SMALL = dict(channels=(4, 8), kernel_sizes=(3, 5), strides=(1, 1), paddings=(1, 2),
             pool_after=(1, 2), hidden=(16,))
VIEWS = dict(flip=True, shift=1)
PRACTICE = dict(input_scaling=(0.286, 0.353), average=0.9)


def mlp(activation):
    return MLP(784, [16, 10], [activation, "softmax"], "he")


def practised(**options):
    "A `ModernMLP` that has learned from two batches, so that its memory is not as at first."
    net = ModernMLP(784, [12, 12, 10], ["tanh", "gelu", "softmax"], "he", **PRACTICE | options)
    batches = [(flatten_images(IMAGES[:50]), fashion_mnist_sample().test_labels[:50])]*2
    net.train(batches, batches, 1, verbose=False)
    return net


def seen(model):
    "The network, after one batch in training mode: whitening and normalisation know the pictures."
    with torch.no_grad():
        model.train()(normalise_images(IMAGES[:100]))
    return model.eval()


WRITTEN = "relu", "leaky_relu", "tanh", "sigmoid", "gelu", "gelu_exact"  # as ONNX
NETWORKS = {name: (lambda name=name: mlp(name), None) for name in WRITTEN} | {
    "torch MLP": (lambda: MLP(784, [16, 10], ["relu", "softmax"], "he", library="torch"), None),
    "float64": (lambda: MLP(784, [16, 10], ["relu", "softmax"], "he", dtype="float64"), None),
    "batch": (lambda: practised(normalization="batch", flip_test=True, residual=True), None),
    "layer": (lambda: practised(normalization="layer"), None),
    "CNN": (lambda: seen(CNNModel(**SMALL)), None),
    "average": (lambda: seen(CNNModel(**SMALL, pooling="average", pool=(3, 2, 1))), VIEWS),
    "global": (lambda: seen(CNNModel(**SMALL, pooling="global avg", classes=7)), None),
    "no dense": (lambda: seen(CNNModel(**SMALL | dict(hidden=(), dropout=0.0))), dict(shift=2)),
    "hybrid": (lambda: seen(hybrid_model(**SMALL)), None),
    "modern": (lambda: seen(modern_cnn((8, 8, 12), (1, 3), residual=(2,))), VIEWS),
    "mean": (lambda: seen(modern_cnn((8, 8), (1,), whitening=0, final="mean", gain=True,
                                     pool_first=False, classes=4)), dict(flip=True)),
}


def answers(model, views=None):
    if isinstance(model, MLP):
        return model.predict_proba(flatten_images(IMAGES))
    return predict_proba(model, IMAGES, test_views=views)


@pytest.fixture(params=NETWORKS)
def network(request):
    make, views = NETWORKS[request.param]
    return make(), views


def test_onnx_agrees(network, tmp_path):
    model, views = network
    size = to_onnx(model, tmp_path / "net.onnx", test_views=views)
    assert size == (tmp_path / "net.onnx").stat().st_size
    same, most = check_onnx(model, tmp_path / "net.onnx", IMAGES, views)
    assert same == 1 and most < 1e-5
    p = answers(model, views)
    assert p.std(axis=0).max() > 1e-4  # it does answer to its input
    assert abs(run_onnx(tmp_path / "net.onnx", IMAGES[:1]) - p[:1]).max() < 1e-5
    assert run_onnx(tmp_path / "net.onnx", IMAGES[:0]).shape == (0, p.shape[1])


def test_saved_network_comes_back(network, tmp_path):
    model, views = network
    save_network(model, tmp_path / "net.npz")
    back = load_network(tmp_path / "net.npz")
    assert type(back) is type(model)
    assert abs(answers(back, views) - answers(model, views)).max() < 1e-6
    assert architecture(back) == architecture(model)


def test_small_weights(network, tmp_path):
    "With 16 bits nearly the same answers, with 8 similar ones; the ONNX says what the .npz says."
    model, _ = network
    before = answers(model)
    for bits, most in ((16, 0.01), (8, 0.15)):
        save_network(model, tmp_path / "net.npz", bits=bits)
        back = load_network(tmp_path / "net.npz")
        assert abs(answers(back) - before).max() < most
        to_onnx(model, tmp_path / "net.onnx", bits=bits)
        assert abs(run_onnx(tmp_path / "net.onnx", IMAGES) - answers(back)).max() < 1e-4


def test_sizes(tmp_path):
    sizes = {}
    for bits in (32, 16, 8):
        save_network(MLP(784, [128, 10], ["relu", "softmax"], "he"), tmp_path / "a.npz", bits=bits)
        net = MLP(784, [128, 10], ["relu", "softmax"], "he")
        onnx = to_onnx(net, tmp_path / "a.onnx", bits=bits)
        sizes[bits] = (tmp_path / "a.npz").stat().st_size, onnx
    for npz in (0, 1):
        assert 0.49 < sizes[16][npz] / sizes[32][npz] < 0.52
        assert 0.24 < sizes[8][npz] / sizes[32][npz] < 0.28


def test_files_are_the_same_every_time(tmp_path):
    for name in ("a", "b"):
        to_onnx(seen(modern_cnn((8, 8), (1,))), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_onnx_leaves_the_network_alone(tmp_path):
    model = seen(CNNModel(**SMALL)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    to_onnx(model, tmp_path / "net.onnx", test_views=VIEWS)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    "layer", [nn.GELU(), nn.GELU("tanh"), nn.LeakyReLU(0.2), nn.AdaptiveAvgPool2d((1, 1))], ids=str
)
def test_more_layers_of_torch(layer, tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), layer, nn.Flatten(), nn.LazyLinear(10)).eval()
    model(torch.zeros(1, 1, 28, 28))
    to_onnx(model, tmp_path / "net.onnx")
    assert check_onnx(model, tmp_path / "net.onnx", IMAGES)[1] < 1e-5


def test_other_image_shapes(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (6, 12, 20), np.uint8)
    wide = MLP(240, [5, 3], ["relu", "softmax"], "he")
    with pytest.raises(ValueError, match="image_shape is"):
        to_onnx(wide, tmp_path / "net.onnx")
    to_onnx(wide, tmp_path / "net.onnx", image_shape=(12, 20))
    assert check_onnx(wide, tmp_path / "net.onnx", images)[1] < 1e-5
    cnn = CNNModel(**SMALL, size=(12, 20)).eval()
    to_onnx(cnn, tmp_path / "net.onnx", test_views=VIEWS)
    assert check_onnx(cnn, tmp_path / "net.onnx", images, VIEWS)[1] < 1e-5


def test_what_cannot_be_written(tmp_path):
    class Swish(nn.ReLU):
        pass

    with pytest.raises(ValueError, match="a layer is 'test_export.Swish', expected one of"):
        to_onnx(nn.Sequential(Swish(), nn.Flatten(), nn.Linear(784, 3)), tmp_path / "net.onnx")
    for layer, lacks in (
        (nn.AvgPool2d(2, divisor_override=1), "one without divisor_override"),
        (nn.BatchNorm2d(1, affine=False), "one with weights"),
        (nn.BatchNorm2d(1, track_running_stats=False), "running statistics"),
    ):
        with pytest.raises(ValueError, match=lacks):
            to_onnx(nn.Sequential(layer, nn.Flatten(), nn.LazyLinear(3)), tmp_path / "net.onnx")
    with pytest.raises(ValueError, match="one network a file"):
        to_onnx(MLP(784, [10], ["softmax"], seed=[0, 1]), tmp_path / "net.onnx")
    with pytest.raises(ValueError, match="test_views is"):
        to_onnx(mlp("relu"), tmp_path / "net.onnx", test_views=VIEWS)
    with pytest.raises(ValueError, match="bits is 4"):
        to_onnx(mlp("relu"), tmp_path / "net.onnx", bits=4)
    assert not list(tmp_path.iterdir())


def test_onnx_is_asked_for(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"pip install 'fmnist\[onnx\]'"):
        to_onnx(mlp("relu"), tmp_path / "net.onnx")


def test_plot(tmp_path):
    to_onnx(seen(modern_cnn((8, 8), (1,))), tmp_path / "net.onnx")
    texts = [each.get_text() for each in plot_onnx(tmp_path / "net.onnx").texts]
    assert "Conv\n16 x 1 x 3 x 3" in texts and "Softmax" in texts


def test_an_mlp_needs_no_torch(tmp_path):
    save_network(mlp("relu"), tmp_path / "net.npz")
    program = ("import sys; sys.modules['torch'] = None;"
               "from fmnist.export import load_network, to_onnx;"
               f"net = load_network({str(tmp_path / 'net.npz')!r});"
               f"to_onnx(net, {str(tmp_path / 'net.onnx')!r}); print(net.layers)")
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.stdout.strip() == "[16, 10]", run.stderr


def test_quantise():
    w = np.random.default_rng(0).standard_normal((6, 5, 3)).astype(np.float32)
    for axis in range(3):
        codes, scales = quantise(w, axis)
        others = tuple(each for each in range(3) if each != axis)
        assert codes.dtype == np.int8 and scales.shape == (w.shape[axis],)
        assert (abs(codes).max(axis=others) == 127).all()
        error = abs(dequantise(codes, scales, axis) - w)
        assert (error <= np.expand_dims(scales, others)*0.5001).all()


def test_mlp_files_of_training_are_read(tmp_path):
    for net in (mlp("relu"), practised()):
        net.save(tmp_path / "net.npz")
        back = load_network(tmp_path / "net.npz")
        assert type(back) is type(net) and np.array_equal(answers(back), answers(net))


def test_a_changed_network_is_not_saved_as_another(tmp_path):
    model = CNNModel(**SMALL)
    model.features[1] = nn.Identity()
    with pytest.raises(ValueError, match="it was changed later"):
        save_network(model, tmp_path / "net.npz")
    model = CNNModel(**SMALL)
    model.classifier.append(nn.Linear(10, 3))
    with pytest.raises(ValueError):
        save_network(model, tmp_path / "net.npz")
    with pytest.raises(ValueError, match="or say what builds it"):
        save_network(nn.Linear(3, 2), tmp_path / "net.npz")
    assert not list(tmp_path.iterdir())


def test_own_networks_need_their_builder(tmp_path):
    model, settings = nn.Linear(3, 2), dict(in_features=3, out_features=2)
    with pytest.raises(ValueError, match="it was changed later"):
        save_network(model, tmp_path / "net.npz", nn.Linear, settings | dict(out_features=3))
    save_network(model, tmp_path / "net.npz", nn.Linear, settings)
    with pytest.raises(CheckpointError, match=r"torch.nn.modules.linear:Linear.*no part of fmnist"):
        load_network(tmp_path / "net.npz")
    assert torch.equal(load_network(tmp_path / "net.npz", nn.Linear).weight, model.weight)


# Files of others

def members(path):
    with zipfile.ZipFile(path) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def npy(value):
    buffer = io.BytesIO()
    np.save(buffer, value, allow_pickle=True)
    return buffer.getvalue()


def rewrite(path, **changed):
    "The file with other members."
    kept = members(path) | {f"{name}.npy": content for name, content in changed.items()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in kept.items():
            archive.writestr(name, content)


@pytest.fixture(params=["MLP", "CNN", "hybrid", "modern"])
def saved(request, tmp_path):
    model = mlp("relu") if request.param == "MLP" else NETWORKS[request.param][0]()
    save_network(model, tmp_path / "net.npz")
    return tmp_path / "net.npz"


@pytest.mark.parametrize("change", [
    dict(builder="os:system"), dict(builder=None), dict(builder=["fmnist.mlp:MLP"]),
    dict(settings=None), dict(settings=[]), dict(settings={}), dict(kind="MLP"), dict(kind=3),
    dict(settings={"evil": 1}),
    dict(settings={"channels": [10**6]*5, "input_size": 10**6, "layers": [10**9],
                   "activations": ["softmax"]}),
    dict(settings={"channels": ["x"]}), dict(settings={"layers": 5, "input_size": "a"}),
    dict(settings={"seed": 0, "text": "x"*20_000}),
], ids=range(13))
def test_foreign_text(saved, change):
    about = json.loads(str(np.load(io.BytesIO(members(saved)["about.npy"]))))
    if isinstance(change.get("settings"), dict) and change["settings"]:
        change = dict(settings=about["settings"] | change["settings"])
    rewrite(saved, about=npy(np.array(json.dumps(about | change))))
    began = time.process_time()
    with pytest.raises(CheckpointError, match="net.npz"):
        load_network(saved)
    assert time.process_time() - began < 20


def test_no_code_from_data(saved, tmp_path, monkeypatch):
    "A module that lies beside the file is not imported, whatever the file says."
    (tmp_path / "evil.py").write_text("open('ran', 'w').close()\ndef build(): pass\n")
    monkeypatch.chdir(tmp_path)
    about = json.loads(str(np.load(io.BytesIO(members(saved)["about.npy"]))))
    rewrite(saved, about=npy(np.array(json.dumps(about | dict(builder="evil:build", settings={})))))
    with pytest.raises(CheckpointError, match="is not run because a file says so"):
        load_network(saved)
    assert not (tmp_path / "ran").exists()


def test_foreign_arrays(saved):
    name = next(each for each in members(saved) if each != "about.npy").removesuffix(".npy")
    good = np.load(io.BytesIO(members(saved)[f"{name}.npy"]))
    huge, scale = good.astype(np.float64), good.astype(np.float32)
    huge.flat[0] = 1e300
    for changed in ({name: npy(np.full(good.shape, np.nan))}, {name: npy(good[..., None])},
                    {name: npy(np.full(good.shape, {}, object))}, {name: npy(huge)},
                    {name: b"no array"},
                    {"evil": npy(scale)}, {f"{name}.scale": npy(np.ones(1))}):
        before = members(saved)
        rewrite(saved, **changed)
        with pytest.raises(CheckpointError, match="net.npz"):
            load_network(saved)
        rewrite(saved, **{each.removesuffix(".npy"): content for each, content in before.items()})


@pytest.mark.parametrize("content", [b"", b"weights", b"PK\x03\x04", npy(np.ones(3))], ids=range(4))
def test_foreign_files(tmp_path, content):
    (tmp_path / "net.npz").write_bytes(content)
    with pytest.raises(CheckpointError, match="net.npz is not a file that `save` has written"):
        load_network(tmp_path / "net.npz")
    with pytest.raises(FileNotFoundError):
        load_network(tmp_path / "nowhere.npz")
