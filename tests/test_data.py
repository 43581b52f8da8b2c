"Any pictures become a checked `ImageData`; splits, batches and augmentation take them in any form."

import gzip
import hashlib
import os
import signal
import struct
import tracemalloc
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from fmnist import files
from fmnist.checks import as_array
from fmnist.data import (
    CLASSES,
    FASHION_MNIST_DIGEST,
    Batches,
    ImageData,
    as_labels,
    as_pixels,
    augmentation,
    cnn_batches,
    fashion_mnist_sample,
    find_duplicates,
    flatten_images,
    mlp_batches,
    normalise_images,
    plot_class_balance,
    plot_class_means,
    plot_pixel_histogram,
    plot_samples,
    show_images,
    train_valid_split,
)
from fmnist.files import FILES, save_idx_file

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (60, 6, 9), dtype=np.uint8)
LABELS = np.arange(60) % 3
SHUFFLED = RNG.permutation(60)


def forms(labels):
    "The same labels in every form in which people have them."
    table = pd.DataFrame({"label": np.r_[labels, labels]})
    return [
        labels,
        labels.tolist(),
        tuple(labels.tolist()),
        torch.as_tensor(labels),
        labels.astype(np.int8),
        labels.astype(float),
        pd.Series(labels, index=SHUFFLED[: len(labels)]),
        table["label"][len(labels) :],
    ]


def image_forms(images):
    return [
        images,
        images.tolist(),
        list(images),
        torch.as_tensor(images),
        images.astype(float),
        images.astype(np.int64),
    ]


def made(**changes):
    return ImageData(IMAGES[:40], LABELS[:40], IMAGES[40:], LABELS[40:], **changes)


# --- ImageData ---


def test_labels_and_images_are_taken_by_position():
    expected = made()
    for images in image_forms(IMAGES):
        for labels in forms(LABELS):
            train, test = (
                (labels[:40], labels[40:])
                if not isinstance(labels, pd.Series)
                else (labels.iloc[:40], labels.iloc[40:])
            )
            data = ImageData.from_arrays(images[:40], train, images[40:], test)
            assert all(map(np.array_equal, data, expected)) and data.digest == expected.digest
            assert data.train_labels.dtype == np.uint8 and data.train_images.dtype == np.uint8


def test_digest_is_that_of_the_published_results():
    "As fmnist.trials computed it before ImageData: the SHA-256 of four SHA-256s of IDX files."
    sample = fashion_mnist_sample()
    digests = []
    for part in sample:
        header = bytes([0, 0, 8, part.ndim]) + b"".join(
            size.to_bytes(4, "big") for size in part.shape
        )
        digests.append(hashlib.sha256(header + part.tobytes()).hexdigest())
    assert sample.digest == hashlib.sha256(" ".join(digests).encode()).hexdigest()[:8] == "5a0d8996"
    assert FASHION_MNIST_DIGEST == "4003b607"


def test_digest_knows_every_part():
    data = made()
    other = [
        data.replace(train_labels=data.train_labels[::-1]),
        data.replace(test_images=255 - data.test_images),
        data.replace(train_images=data.train_images[:-1], train_labels=data.train_labels[:-1]),
    ]
    assert len({each.digest for each in (data, *other)}) == 4
    assert data.replace(name="another", classes=("a", "b", "c")).digest == data.digest


def test_it_is_fixed_and_unpacks():
    data = made(name="noise")
    with pytest.raises(AttributeError):
        data.name = "another"
    train_images, train_labels, test_images, test_labels = data
    assert data.shape == (6, 9) and data.classes == ("0", "1", "2") and len(test_images) == 20


@pytest.mark.parametrize(
    "labels, classes, names, indices",
    [
        ([1, 2, 3], None, ("1", "2", "3"), [0, 1, 2]),  # EMNIST's letters count from 1
        ([1, 2, 3], ("a", "b", "c"), ("a", "b", "c"), [0, 1, 2]),
        ([1, 2, 2], ("a", "b", "c"), ("a", "b", "c"), [1, 2, 2]),  # from 0, though 0 does not occur
        ([3, 7, 3], None, ("3", "7"), [0, 1, 0]),
        (["dog", "cat", "dog"], None, ("cat", "dog"), [1, 0, 1]),
        (["dog", "cat", "dog"], ("dog", "cat"), ("dog", "cat"), [0, 1, 0]),
        (
            pd.Series(["dog", "cat", "dog"], dtype="category", index=[2, 1, 0]),
            None,
            ("cat", "dog"),
            [1, 0, 1],
        ),
        ([True, False, True], None, ("0", "1"), [1, 0, 1]),
    ],
)
def test_labels_get_names(labels, classes, names, indices):
    data = ImageData(IMAGES[:3], labels, IMAGES[:3], labels, classes)
    assert data.classes == names and data.train_labels.tolist() == indices
    again = data.replace(name="again")  # does not count anew
    assert again.train_labels.tolist() == indices and again.classes == names


def test_three_hundred_classes():
    labels = np.arange(300)
    data = ImageData(
        np.zeros((300, 2, 2), np.uint8), labels, np.zeros((300, 2, 2), np.uint8), labels
    )
    assert data.train_labels.tolist() == labels.tolist() and len(data.digest) == 8


@pytest.mark.parametrize(
    "changes, problem",
    [
        (
            dict(train_labels=[0] * 39 + [3]),
            "label 3 at index 39, expected whole numbers from 0 to 2",
        ),
        (dict(test_labels=[0] * 19 + [-1]), "test_labels: label -1 at index 19"),
        (dict(test_labels=[0.5] * 20), "test_labels: label 0.5 at index 0"),
        (dict(test_labels=[np.nan] * 20), "test_labels: label nan at index 0"),
        (dict(test_labels=["cow"] * 20), "the label is .*, expected one of 0, 1, 2"),
        (dict(test_labels=[[0]] * 20), "the shape of test_labels is"),
        (dict(train_images=IMAGES[:39]), "39 images and 40 labels"),
        (dict(train_images=IMAGES[0]), "the shape of train_images is"),
        (dict(test_images=IMAGES[40:, :5]), "the size of test images is .5, 9., expected .6, 9."),
        (
            dict(train_images=IMAGES[:40] / 255),
            "train_images are from .* multiply by 255 and round",
        ),
        (dict(train_images=IMAGES[:40].astype(int) - 1), "train_images are from -1 to"),
        (dict(train_images=np.full((40, 6, 9), np.nan)), "train_images are from nan"),
        (
            dict(train_images=np.full((40, 6, 9), "a")),
            "the type of train_images is '<U1', expected 'uint8'|expected uint8",
        ),
        (dict(classes=("a",)), "classes is"),
        (dict(classes=("a", "b", "b")), "expected different names"),
    ],
)
def test_what_does_not_fit_is_named(changes, problem):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=problem):
            made().replace(**changes)


# --- from files ---


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    monkeypatch.setattr(files, "KAGGLE_FOLDER", tmp_path / "kaggle")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("FMNIST_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def store(folder, prefix="", test="t10k", dot="-", suffix=".gz", first=0):
    "Write the made-up data as four IDX files; labels count from `first`."
    for part, rows in (("train", slice(0, 40)), (test, slice(40, 60))):
        save_idx_file(folder / f"{prefix}{part}-images{dot}idx3-ubyte{suffix}", IMAGES[rows])
        save_idx_file(
            folder / f"{prefix}{part}-labels{dot}idx1-ubyte{suffix}",
            (LABELS[rows] + first).astype(np.uint8),
        )


@pytest.mark.parametrize(
    "test, dot, suffix", [("t10k", "-", ".gz"), ("test", "-", ""), ("t10k", ".", "")]
)
def test_from_idx_in_a_folder(nowhere, test, dot, suffix):
    store(nowhere / "mine", test=test, dot=dot, suffix=suffix)
    data = ImageData.from_idx("mine", classes=["a", "b", "c"])
    assert all(map(np.array_equal, data, made())) and (data.name, data.classes) == (
        "mine",
        ("a", "b", "c"),
    )


@pytest.mark.parametrize(
    "folder",
    [
        "fmnist/kmnist",
        "data/KMNIST/raw",
        "kaggle/KMNIST",
        "kaggle/datasets/somebody/kmnist",
        "own/kmnist",
    ],
)
def test_from_idx_by_name(nowhere, monkeypatch, folder):
    monkeypatch.setenv("FMNIST_DATA", "own")
    store(nowhere / folder)
    data = ImageData.from_idx("kmnist")
    assert all(map(np.array_equal, data, made())) and data.name == "kmnist"


def test_letters_count_from_one_and_share_a_folder(nowhere):
    store(nowhere / "data" / "EMNIST" / "raw", "emnist-letters-", "test", first=1)
    store(nowhere / "data" / "EMNIST" / "raw", "emnist-digits-", "test")
    letters = ImageData.from_idx("emnist-letters")
    assert letters.classes == ("1", "2", "3") and np.array_equal(letters.train_labels, LABELS[:40])
    assert ImageData.from_idx(nowhere / "data/EMNIST", name="emnist-digits").classes == (
        "0",
        "1",
        "2",
    )
    with pytest.raises(
        ValueError, match="one of emnist-digits, emnist-letters: .* has several data sets"
    ):
        ImageData.from_idx("data/EMNIST/raw")
    with pytest.raises(FileNotFoundError, match="no data set of that name"):
        ImageData.from_idx("emnist-balanced")  # not one of those that are there


@pytest.mark.parametrize(
    "name, shape, dtype, problem",
    [
        ("train-labels-idx1", (200_000_000,), np.uint8, "expected .40,., one for each image"),
        ("t10k-labels-idx1", (20, 10_000_000), np.uint8, "expected .20,., one for each image"),
        ("train-images-idx3", (40, 2000, 2000), np.float32, "expected uint8 images of shape"),
        ("train-images-idx3", (160_000_000,), np.uint8, "expected uint8 images of shape"),
    ],
)
def test_a_bomb_is_refused_by_its_header(nowhere, name, shape, dtype, problem):
    "A small file that promises 160 MB and more."
    store(nowhere / "mine")
    with gzip.open(nowhere / "mine" / f"{name}-ubyte.gz", "wb", compresslevel=1) as file:
        code = {np.uint8: 8, np.float32: 13}[dtype]
        file.write(struct.pack(f">HBB{len(shape)}I", 0, code, len(shape), *shape))
        file.write(bytes(1 << 20))
    tracemalloc.start()
    with pytest.raises(files.IDXError, match=problem):
        ImageData.from_idx("mine")
    assert tracemalloc.get_traced_memory()[1] < 2e6
    tracemalloc.stop()


def test_what_is_not_there_is_not_replaced(nowhere):
    for name in ("kmnist", "no/such/folder"):
        with pytest.raises(FileNotFoundError):
            ImageData.from_idx(name)
    (nowhere / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="there are no four IDX files"):
        ImageData.from_idx("empty")


def test_fashion_mnist_is_not_given_for_another(nowhere, monkeypatch):
    "Somebody's folder kmnist holds Fashion-MNIST (here: the sample in its place)."
    import fmnist.data

    sample = fashion_mnist_sample()
    monkeypatch.setattr(fmnist.data, "FASHION_MNIST_DIGEST", sample.digest)
    for folder in ("fmnist/kmnist", "FashionMNIST"):
        for name, part in zip(FILES, sample, strict=True):
            save_idx_file(nowhere / folder / name, part)
    with pytest.raises(ValueError, match="holds Fashion-MNIST, but 'kmnist' was asked for"):
        ImageData.from_idx("kmnist")
    assert ImageData.from_idx("FashionMNIST").classes == CLASSES


def write_table(path, rows, header=True, label="label"):
    table = pd.DataFrame(IMAGES[rows].reshape(-1, 54), columns=[f"pixel{k}" for k in range(1, 55)])
    table.insert(0, label, LABELS[rows])
    table.to_csv(path, index=False, header=header)


@pytest.mark.parametrize("header, label", [(True, "label"), (True, "Label"), (False, "label")])
def test_from_csv(tmp_path, header, label):
    write_table(tmp_path / "train.csv", slice(0, 40), header, label)
    write_table(tmp_path / "test.csv", slice(40, 60), header, label)
    data = ImageData.from_csv(tmp_path / "train.csv", tmp_path / "test.csv", shape=(6, 9))
    assert all(map(np.array_equal, data, made())) and data.name == "train"
    with pytest.raises(
        ValueError, match="the number of pixels in .* is 54, expected 7 x 7; give shape"
    ):
        ImageData.from_csv(tmp_path / "train.csv", tmp_path / "test.csv")


@pytest.mark.parametrize("options", [{}, dict(fmt="%d", delimiter=", ")], ids=str)
def test_from_a_table_that_numpy_wrote(tmp_path, options):
    rows = np.c_[LABELS, IMAGES.reshape(len(IMAGES), -1)]
    np.savetxt(tmp_path / "all.csv", rows, **dict(delimiter=",") | options)
    data = ImageData.from_csv(tmp_path / "all.csv", tmp_path / "all.csv", shape=IMAGES.shape[1:])
    assert np.array_equal(data.train_images, IMAGES) and np.array_equal(data.train_labels, LABELS)


@pytest.mark.parametrize(
    "text, problem",
    [
        ("label,a,b,c,d\n0,1,2,3,x\n", "is 'not a number'"),
        ("label,a,b,c,d\n0,1,2,3,\n1,1,2,3,4\n", "train_images are from nan"),
        ("label,a,b,c,d\n0,1,2,3,256\n1,1,2,3,4\n", "train_images are from 1 to 256"),
        ("name,a,b,c,d\n0,1,2,3,4\n", "without a column `label`"),
        ("pixel1,pixel2,pixel3,pixel4\n0,1,2,3\n", "without a column `label`"),
        ("0,x,2,3,4\n1,2,3,4,5\n", "is 'not a number'"),
    ],
)
def test_tables_that_are_none(tmp_path, text, problem):
    (tmp_path / "train.csv").write_text(text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ValueError, match=problem):
            ImageData.from_csv(tmp_path / "train.csv", tmp_path / "train.csv")


def write_pictures(folder, count, size=(9, 6), kinds=("cat", "dog"), mode="L", suffix="png"):
    for kind in kinds:
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            grey = 200 if kind == "cat" else 10
            Image.new(mode, size, grey if mode == "L" else (grey,) * 3).save(
                folder / kind / f"{number}.{suffix}"
            )


@pytest.mark.parametrize("mode, suffix", [("L", "png"), ("RGB", "jpg"), ("RGB", "bmp")])
def test_from_folder(tmp_path, mode, suffix):
    write_pictures(tmp_path / "pets", 10, mode=mode, suffix=suffix)
    (tmp_path / "pets" / "cat" / "notes.txt").write_text("not a picture, and not taken for one")
    data = ImageData.from_folder(tmp_path / "pets")
    assert (data.name, data.classes, data.shape) == ("pets", ("cat", "dog"), (6, 9))
    assert (len(data.train_images), np.bincount(data.test_labels).tolist()) == (16, [2, 2])
    assert set(data.train_images[data.train_labels == 0].ravel().tolist()) == {200}


def test_from_folder_with_its_own_test_part_and_sizes(tmp_path):
    write_pictures(tmp_path / "train", 4)
    write_pictures(tmp_path / "test", 3, size=(20, 30), kinds=("dog",))
    with pytest.raises(ValueError, match="the size of test images"):
        ImageData.from_folder(tmp_path)
    data = ImageData.from_folder(tmp_path, size=(5, 7))
    assert data.shape == (5, 7) and data.test_labels.tolist() == [1, 1, 1]
    write_pictures(tmp_path / "train" / "..", 1, size=(8, 8), kinds=("train/cat",), suffix="gif")
    with pytest.raises(ValueError, match=r"give size=\(height, width\) to scale them"):
        ImageData.from_folder(tmp_path)


def test_pipes_are_not_waited_for(tmp_path):
    signal.alarm(30)
    write_pictures(tmp_path, 10)
    os.mkfifo(tmp_path / "cat" / "pipe.png")
    assert len(ImageData.from_folder(tmp_path).train_images) == 16
    with pytest.raises(ValueError, match="the table is .*, expected a file"):
        ImageData.from_csv(tmp_path / "cat" / "pipe.png", tmp_path / "cat" / "pipe.png")
    signal.alarm(0)


def test_folders_that_are_none(tmp_path):
    with pytest.raises(ValueError, match="expected a folder that exists"):
        ImageData.from_folder(tmp_path / "typo")
    with pytest.raises(ValueError, match="the number of pictures below"):
        ImageData.from_folder(tmp_path)
    write_pictures(tmp_path, 2)
    (tmp_path / "cat" / "0.png").write_bytes(b"not a picture")
    with pytest.raises(ValueError, match="0.png: no picture that Pillow can read"):
        ImageData.from_folder(tmp_path)


# --- helpers ---


def test_as_array_takes_tensors_wherever_and_whatever():
    assert as_array(torch.tensor([0.5], dtype=torch.bfloat16)).tolist() == [0.5]
    assert as_array(torch.tensor([1.0], requires_grad=True)).tolist() == [1]
    assert as_array(pd.Series([3, 4], index=[1, 0])).tolist() == [3, 4]
    for labels in forms(LABELS):
        assert as_labels(labels).tolist() == LABELS.tolist()
    for images in image_forms(IMAGES):
        assert np.array_equal(as_pixels(images), IMAGES)


# --- split, batches, augmentation ---


def test_split_by_position():
    expected = train_valid_split(LABELS, seed=4)
    for labels in forms(LABELS):
        assert all(map(np.array_equal, train_valid_split(labels, seed=4), expected))


@pytest.mark.parametrize("shuffle", [False, True])
def test_batches_by_position(shuffle):
    "Each image keeps its label, in whatever form they come; the first pixels are their numbers."
    numbers = np.arange(60, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 2), np.uint8)
    for images in (numbers, torch.as_tensor(numbers), numbers.tolist()):
        for labels in forms(LABELS):
            for x, y in Batches(images, labels, lambda images: images, 7, shuffle):
                assert (
                    type(x) is type(y) and [LABELS[k] for k in as_array(x)[:, 0, 0]] == y.tolist()
                )


@pytest.mark.parametrize(
    "labels, problem",
    [
        ([0] * 59 + [-100], "label -100 at index 59"),
        ([0.5] * 60, "label 0.5"),
        ([np.nan] * 60, "label nan"),
        ([0] * 59, "60 images but 59 labels"),
        (["a"] * 60, "the type of labels"),
        (np.zeros((60, 2)), "the shape of labels"),
    ],
)
def test_batches_refuse_what_is_no_label(labels, problem):
    for images in (IMAGES, torch.as_tensor(IMAGES)):
        with pytest.raises(ValueError, match=problem):
            Batches(images, labels, None)


@pytest.mark.parametrize("size", [0, -1, 2.5, True, "64"])
def test_batch_size(size):
    with pytest.raises(ValueError, match="batch_size is .*, expected a whole number of at least 1"):
        Batches(IMAGES, LABELS, None, batch_size=size)
    assert len(Batches(IMAGES, LABELS, None, batch_size=np.int64(7))) == 9


def test_an_epoch_is_the_same_whenever_it_is_asked_for():
    batches = Batches(IMAGES, LABELS, flatten_images, 7, True, 3, augmentation(shift=2))
    first = [np.concatenate([x for x, _ in batches]) for _ in range(2)]
    again = [np.concatenate([x for x, _ in batches.epoch(number)]) for number in range(2)]
    assert np.array_equal(first, again) and not np.array_equal(*first)


def test_batches_of_data_of_any_size():
    for batches, shape in (
        (mlp_batches(made(), 8), (8, 54)),
        (cnn_batches(made(), 8), (8, 1, 6, 9)),
    ):
        x, y = next(iter(batches[0]))
        assert tuple(x.shape) == shape and len(y) == 8 and str(y.dtype).endswith("int64")
        assert [sum(len(y) for _, y in part) for part in batches] == [31, 9, 20]
    assert flatten_images(torch.as_tensor(IMAGES)).shape == (60, 54)
    assert flatten_images(np.zeros((0, 28, 28), np.uint8)).shape == (0, 784)
    assert np.array_equal(
        normalise_images(IMAGES).numpy(), normalise_images(torch.as_tensor(IMAGES)).numpy()
    )


def variants_by_slicing(image, shift):
    "Every variant that mirroring and shifts of one image allow."
    height, width = image.shape
    padded = [np.pad(side, shift) for side in (image, image[:, ::-1])]
    return {
        each[down : down + height, right : right + width].tobytes()
        for each in padded
        for down in range(2 * shift + 1)
        for right in range(2 * shift + 1)
    }


@pytest.mark.parametrize(
    "images", [IMAGES, fashion_mnist_sample().train_images[:60]], ids=["6 x 9", "28 x 28"]
)
def test_augmentation(images):
    draw = np.random.default_rng(0)
    assert np.array_equal(augmentation()(images, draw), images)
    changed = augmentation(flip=True, shift=1)(images, draw)
    assert all(
        new.tobytes() in variants_by_slicing(old, 1)
        for new, old in zip(changed, images, strict=True)
    )
    assert (changed != images).any((1, 2)).mean() > 0.5
    erased = augmentation(erase=4)(np.full_like(images, 255), draw)
    assert ((erased == 0).sum((1, 2)) == 16).all()


@pytest.mark.parametrize(
    "settings", [dict(flip=True, shift=2, erase=3), dict(shift=1), dict(erase=5), dict(flip=True)]
)
def test_arrays_and_tensors_get_the_same_variants(settings):
    change = augmentation(**settings)
    array, tensor = (
        change(images, np.random.default_rng(5)) for images in (IMAGES, torch.as_tensor(IMAGES))
    )
    assert (
        array.dtype == np.uint8
        and tensor.dtype == torch.uint8
        and np.array_equal(array, tensor.numpy())
    )


def test_the_draws_are_those_of_the_published_results():
    "A fingerprint of variants that fmnist.cnn made before augmentation moved here."
    images = torch.as_tensor(fashion_mnist_sample().train_images[:64])
    variants = augmentation(flip=True, shift=2, erase=8)(images, np.random.default_rng(0))
    assert hashlib.sha256(variants.numpy().tobytes()).hexdigest()[:16] == "397337c0acadcc49"


@pytest.mark.parametrize(
    "settings, problem",
    [
        (dict(shift=-1), "shift is -1, expected a whole number of at least 0"),
        (dict(erase=1.5), "erase is 1.5"),
        (dict(shift=6), "shift or erase is 6, expected less than the 6 pixels of an image"),
    ],
)
def test_augmentation_that_cannot_be(settings, problem):
    with pytest.raises(ValueError, match=problem):
        augmentation(**settings)(IMAGES, np.random.default_rng(0))


# --- pictures ---


def test_plots_take_any_form_and_bear_the_names():
    names = ["cat", "dog", "cow"]
    for labels in forms(LABELS):
        for images in (IMAGES, torch.as_tensor(IMAGES), IMAGES.tolist()):
            for plot in (plot_samples, plot_class_means):
                assert [
                    ax.get_title() for ax in plot(images, labels, classes=names).axes[:3]
                ] == names
        plt.close("all")
        assert [text.get_text() for text in plot_class_balance(labels).get_yticklabels()] == [
            "0",
            "1",
            "2",
        ]
    assert len(show_images(list(torch.as_tensor(IMAGES[:12]))).axes) == 20
    plot_pixel_histogram(torch.as_tensor(IMAGES))
    with pytest.raises(
        ValueError, match="the number of images of class cat is 1, expected at least 3"
    ):
        plot_samples(IMAGES[:3], LABELS[:3], classes=names)


def test_duplicates():
    for images in (
        IMAGES[[0, 1, 0]],
        torch.as_tensor(IMAGES[[0, 1, 0]]),
        IMAGES[[0, 1, 0]].tolist(),
    ):
        assert find_duplicates(images) == [(0, 2)]
        assert find_duplicates(images, images[1:]) == [(1, 0), (0, 1), (2, 1)]
