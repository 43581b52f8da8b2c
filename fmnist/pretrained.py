"""Networks that come with the package: how they are made, kept and read.

    python -m fmnist.pretrained FOLDER [modern_cnn] [mlp]

trains them again, each by a published recipe, and writes into FOLDER what lies in fmnist/weights:
the weights, rounded to 16 bits, as `.npz`, and beside them a JSON text that says where they come
from and how good they are. A plain module, without a notebook: its tests are in tests/test_use.py.
Nothing is downloaded, nothing unpickled, and the MLP needs no PyTorch.
"""

import argparse
import hashlib
import json
import time
from importlib.resources import files
from pathlib import Path

import numpy as np

from . import modern_recipes, recipes
from .checks import CheckpointError, check, check_choice
from .data import CLASSES, ImageData, as_pixels, cnn_batches, fashion_mnist, flatten_images
from .files import atomic_write
from .machine import describe_machine
from .recipes import train_recipe

__all__ = ["NAMES", "LICENCE", "weights_folder", "Pretrained", "load_model", "about_model", "make"]

NAMES = ("modern_cnn", "mlp")
LICENCE = "Apache-2.0; trained on Fashion-MNIST, (c) 2017 Zalando SE, MIT"
RECIPE, SEED = "fast", 0  # of both


def weights_folder() -> Path:  # Holds NAME.npz and NAME.json for each of `NAMES`
    "Where the package keeps its trained networks."
    return Path(str(files("fmnist"))) / "weights"


class Pretrained:
    "A network that has been trained: images in, probabilities out."

    def __init__(
        self,
        name: str,  # Of the network
        network,  # `ModernMLP`, or a torch module
        answer=None,  # Makes probabilities of uint8 images (n, 28, 28); by default `answers`
        about: dict | None = None,  # Where it comes from
    ):
        self.name, self.network, self.about = name, network, about or {}
        self.classes, self._answer = CLASSES, answer or answers(network)

    def predict_proba(
        self,
        images,  # uint8 (n, 28, 28), 0 is background: an array, a tensor, a list
    ) -> np.ndarray:  # float (n, 10), each row sums to 1
        "How probable each class is, in the order of `classes`."
        images = np.ascontiguousarray(as_pixels(images))  # PyTorch knows no mirrored views
        expected = "(n, 28, 28); `fmnist.use.predict_picture` takes pictures of any size"
        check(images.shape[1:] == (28, 28), "the shape of images", images.shape, expected)
        return self._answer(images) if len(images) else np.zeros((0, len(self.classes)), np.float32)

    def predict(
        self,
        images,  # As for `predict_proba`
    ) -> np.ndarray:  # (n,) indices into `classes`
        "The most probable class of each image."
        return self.predict_proba(images).argmax(axis=1)

    def __repr__(self):
        accuracy = self.about.get("test_accuracy")
        score = "" if accuracy is None else f", {accuracy:.2f} % of the test images right"
        return f"<{self.name}{score}>"


def about_model(
    name: str,  # One of `NAMES`
    folder=None,  # Where its two files are, by default the package's
) -> dict:  # Digest, recipe, scores, machine, licence
    "Where a network comes from, and how good it is."
    check_choice("name", name, NAMES)
    path = Path(folder or weights_folder()) / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8"))


def load_model(
    name: str = "modern_cnn",  # "modern_cnn" (needs PyTorch), or "mlp" (NumPy is enough)
    folder=None,  # Where its two files are, by default the package's
) -> Pretrained:
    "A trained network that comes with the package; no network access."
    about = about_model(name, folder)
    path = Path(folder or weights_folder()) / f"{name}.npz"
    if hashlib.sha256(path.read_bytes()).hexdigest() != about["sha256"]:
        raise CheckpointError(f"{path} is not the file that {name}.json describes: its SHA-256 "
                              "is another one. Install the package again")
    from .export import load_network  # which reads what `Pretrained` holds, too

    network = load_network(path)
    return Pretrained(name, network, about=about)


def answers(
    network,  # `ModernMLP`, or a torch module
):  # Function from uint8 images (n, 28, 28) to probabilities (n, 10)
    "How a network answers."
    if hasattr(network, "params"):
        return lambda images: network.predict_proba(flatten_images(images))
    from .training import predict_proba

    return lambda images: predict_proba(network, images)


def train_mlp(
    data: ImageData,  # The full set
) -> tuple:  # The network, and what is known of its training
    "The MLP by its recipe."
    mlp, _ = train_recipe(RECIPE, data, SEED)
    return mlp, dict(settings=recipes.RECIPES[RECIPE]["network"], epochs=mlp.epoch,
                     batch_size=recipes.RECIPES[RECIPE]["batch_size"], precision="float32",
                     images=len(data.train_images) - len(data.train_images)//60)


def train_modern_cnn(
    data: ImageData,  # The full set
) -> tuple:  # The network, and what is known of its training
    "The modern CNN by its recipe, in bfloat16, on all training images."
    from .modern_cnn import modern_cnn
    from .training import fit

    chosen, precision = modern_recipes.RECIPES[RECIPE], "bfloat16"
    train, valid, _ = cnn_batches(data, chosen["batch_size"], chosen["valid_fraction"], SEED)
    model = modern_cnn(**chosen["settings"], seed=SEED)
    options = chosen["training"] | dict(dtype=precision)
    fit(model, train, valid, chosen["epochs"], path=None, seed=SEED, device="cpu", **options)
    return model, dict(settings=chosen["settings"], training=chosen["training"],
                       epochs=chosen["epochs"], batch_size=chosen["batch_size"],
                       precision=precision, images=len(train.labels))


TRAINERS = {"mlp": train_mlp, "modern_cnn": train_modern_cnn}


def make(
    name: str,  # One of `NAMES`
    folder,  # Where to write NAME.npz and NAME.json
    data: ImageData | None = None,  # By default, all of Fashion-MNIST
) -> dict:  # What the JSON text says
    "Train a network by its recipe, store it, read it back, measure it, and write that beside it."
    from .export import load_network, save_network

    check_choice("name", name, NAMES)
    data, path = data or fashion_mnist(), Path(folder) / f"{name}.npz"
    start = time.perf_counter()
    network, known = TRAINERS[name](data)
    save_network(network, path, bits=16)
    seconds = round(time.perf_counter() - start, 1)
    about = dict(name=name, file=path.name, sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
                 bytes=path.stat().st_size, recipe=RECIPE, seed=SEED)
    both = {"test_accuracy": load_network(path), "test_accuracy_before_rounding": network}
    for key, model in both.items():
        predicted = answers(model)(data.test_images).argmax(axis=1)
        about[key] = round(100*float((predicted == data.test_labels).mean()), 4)
    about |= known | dict(parameters=_count(network), data=data.name, digest=data.digest,
                          seconds=seconds, machine=describe_machine(), licence=LICENCE)
    with atomic_write(path.with_suffix(".json")) as file:
        file.write((json.dumps(about, indent=1) + "\n").encode())
    return about


def _count(network):
    "How many numbers a network has learned."
    if hasattr(network, "params"):
        return sum(int(value.size) for value in network.params.values())
    return sum(value.numel() for value in network.parameters() if value.requires_grad)


def main(
    argv=None,  # Arguments, by default those of the command line
):
    "Train the package's networks again."
    parser = argparse.ArgumentParser(prog="python -m fmnist.pretrained", description=main.__doc__)
    parser.add_argument("folder", help="where to write; it must exist")
    parser.add_argument("names", nargs="*", metavar="NAME",
                        help="modern_cnn or mlp (default: both)")  # fmt: skip
    options = parser.parse_args(argv)
    for name in options.names or NAMES:
        about = make(name, options.folder)
        print(f"{name}: {about['test_accuracy']:.2f} % ({about['seconds']:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
