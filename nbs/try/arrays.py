"""What the page "Try it" needs of Python: the trained networks, test images, the sample.

A file is a line of JSON, padded with spaces, that says where behind it each array lies, then the
arrays; the page's arrays.js reads it. Weights stay in the 16 bits in which the package keeps them.
"""

import gzip
import json
from pathlib import Path

import numpy as np

from fmnist.data import CLASSES, fashion_mnist_sample
from fmnist.pretrained import load_model

EACH = 5  # test images of each class that a visitor may pick


def packed(
    arrays: dict,  # Name -> array of uint8, float16 or float32
    about: dict,  # Whatever else the page should know
) -> bytes:
    "One file: what there is, then the arrays, each from a multiple of 4 bytes on."
    places, content = [], b""
    for name, array in arrays.items():
        places.append(dict(name=name, type=array.dtype.str[1:], shape=array.shape, at=len(content)))
        content += array.tobytes() + bytes(-array.nbytes % 4)
    header = json.dumps({**about, "arrays": places}, separators=(",", ":"))
    return header.ljust(len(header) // 4 * 4 + 3).encode() + b"\n" + content


def chosen(labels):
    "The first image of each class, then the second of each, and so on."
    return np.stack([np.flatnonzero(labels == k)[:EACH] for k in range(len(CLASSES))]).T.ravel()


def mlp_arrays(network):
    "The MLP's weights, and how it scales its inputs."
    params = {name: value.astype(np.float16) for name, value in network.params.items()}
    return params, dict(scaling=network.config["input_scaling"], layers=network.layers,
                        activations=network.activations)


def norm_arrays(norm):
    "A normalisation as it works after training: a gain and a shift for each map."
    mean, variance, weight, bias = (
        value.detach().double().numpy()
        for value in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    )
    gain = weight / np.sqrt(variance + norm.eps)
    return gain.astype(np.float32), (bias - mean * gain).astype(np.float32)


def cnn_arrays(model, settings):
    "The modern CNN's weights, in the order in which the page's loops read them."

    def kernels(weight):  # (out, in, 3, 3) -> (3, 3, in, out)
        return weight.detach().numpy().transpose(2, 3, 1, 0).astype(np.float16)

    arrays = {}
    if settings["whitening"]:
        arrays["stem"] = kernels(model.stem.weight)
    for number, block in enumerate(model.blocks, 1):
        arrays[f"convolution{number}"] = kernels(block.convolution.weight)
        arrays[f"gain{number}"], arrays[f"shift{number}"] = norm_arrays(block.norm)
    head = model.head.weight.detach().numpy().T.astype(np.float16)
    return arrays | {"head": head}, dict(settings=settings, scale=model.scale)


def write_data(
    folder,  # Where to; it must exist
):
    "All files that the page loads on demand."
    mlp, cnn = (load_model(name) for name in ("mlp", "modern_cnn"))
    data = fashion_mnist_sample()
    rows = chosen(data.test_labels)
    images = data.test_images[rows]
    expected = {net.name: net.predict_proba(images).astype(np.float32) for net in (mlp, cnn)}
    labels = data.test_labels[rows].astype(np.uint8)
    sample = dict(
        train=data.train_images, train_labels=data.train_labels.astype(np.uint8),
        test=data.test_images, test_labels=data.test_labels.astype(np.uint8),
    )  # fmt: skip
    files = {
        "images": packed(dict(images=images, labels=labels, **expected),
                         dict(classes=CLASSES)),
        "mlp": packed(*mlp_arrays(mlp.network)),
        "modern_cnn": packed(*cnn_arrays(cnn.network, cnn.about["settings"])),
        "sample": gzip.compress(packed(sample, dict(classes=CLASSES)), mtime=0),
    }  # fmt: skip
    for name, content in files.items():
        (Path(folder) / f"{name}.bin").write_bytes(content)
