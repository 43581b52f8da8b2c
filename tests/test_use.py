"Networks that come with the package, and one's own pictures: what is kept, what is refused."

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from fmnist import drawings, modern_recipes, pretrained, use
from fmnist.checks import CheckpointError, plain
from fmnist.data import CLASSES, FASHION_MNIST_DIGEST, fashion_mnist_sample
from fmnist.mlp import MLP
from fmnist.pretrained import load_model
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


def alone(code):
    "What Python does with this in a process of its own."
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


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
    done = alone(code)
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


# One's own pictures


def seen(source):
    "The 28 x 28 pixels that a network would get."
    picture = source if isinstance(source, Image.Image) else use.from_array(source)
    return use.prepare(use.as_grey(picture))[0][-1].image


def apart(image, other):
    "Mean difference of the pixels, of 255."
    return abs(image.astype(float) - other).mean()


@pytest.fixture(scope="module")
def boot(sample):
    "A test image as a picture on white, and as the network should get it."
    grey = 255 - np.pad(sample.test_images[0], 12)
    picture = Image.fromarray(grey).resize((416, 416), Image.Resampling.NEAREST)
    return picture.convert("RGB"), sample.test_images[0]


def test_five_hundred_pictures(sample):
    "Larger, somewhere, on white or grey: within 6 points of the accuracy on the originals."
    generator = np.random.default_rng(0)
    images = np.stack([seen(drawings.rendered(image, generator)) for image in sample.test_images])
    for name in pretrained.NAMES:
        model = pretrained.load_model(name)
        right, before = ((model.predict(each) == sample.test_labels).mean()
                         for each in (images, sample.test_images))
        assert right > before - 0.06 and right > 0.82


def test_the_object_is_found_wherever_it_is(boot):
    picture, original = boot
    assert apart(seen(picture), original) < 10
    moved = Image.new("RGB", (900, 700), "white")
    moved.paste(picture, (440, 250))
    assert apart(seen(moved), original) < 10 < apart(np.roll(original, 2, axis=1), original)
    speck = moved.copy()
    speck.paste((0, 0, 0), (20, 20, 26, 26))
    assert np.array_equal(seen(speck), seen(moved))


def test_light_on_dark_transparent_and_coloured(boot):
    picture, original = boot
    grey = picture.convert("L")
    negative = ImageOps.invert(grey)
    assert apart(seen(negative), original) < 10
    clear = Image.new("RGBA", picture.size, (10, 10, 10, 0))
    clear.putalpha(negative)
    assert apart(seen(clear), original) < 10
    light = Image.new("RGBA", picture.size, (250, 250, 250, 0))
    light.putalpha(negative.point(lambda value: 255 if value > 40 else 0))
    assert (seen(light) > 200).mean() > 0.2
    palette = picture.convert("P")
    palette.info["transparency"] = 255
    assert apart(seen(palette), original) < 10
    for mode in ("1", "CMYK", "YCbCr", "HSV", "I", "F", "I;16", "LA", "PA", "RGBX", "RGBa"):
        base = {"RGBa": picture.convert("RGBA"), "I;16": grey, "F": grey}.get(mode, picture)
        assert apart(seen(base.convert(mode)), original) < (40 if mode == "1" else 10), mode


def test_arrays_and_tensors(boot):
    import torch

    picture, _ = boot
    grey, rgb = np.asarray(picture.convert("L")), np.asarray(picture)
    same = [grey, rgb, grey/255, grey.astype(np.uint16)*257, torch.as_tensor(rgb.copy()),
            torch.as_tensor(rgb.copy()).permute(2, 0, 1), grey[:, :, None],
            np.dstack([rgb, 0*grey + 255])]
    first = seen(grey)
    for other in same:
        assert apart(seen(other), first) < 1
    for wrong in (np.zeros(5), np.zeros((3, 4, 5, 6)), np.zeros((0, 5)), np.array([["a"]]),
                  np.full((30, 30), np.nan), np.zeros((9, 9, 7))):
        with pytest.raises(use.PictureError):
            seen(wrong)


def test_an_image_of_the_set_stays_what_it_is(sample):
    for image in sample.test_images[:5]:
        assert np.array_equal(seen(image), image) and np.array_equal(seen(255 - image), image)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes by name")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(use.PictureError, match="is no file"):
        use.predict_picture(tmp_path / "pipe.png", "mlp")


@pytest.fixture
def files(tmp_path, boot):
    "A folder with pictures of every kind; their names."
    picture, _ = boot
    for suffix in ("png", "jpg", "bmp", "gif", "tif", "webp", "ppm"):
        picture.save(tmp_path / f"good.{suffix}")
    picture.convert("CMYK").save(tmp_path / "cmyk.jpg")
    Image.fromarray(np.uint16(np.asarray(picture.convert("L")))*257).save(tmp_path / "deep.png")
    frames = [picture.convert("P"), Image.new("P", picture.size)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    turned, exif = picture.rotate(-90, expand=True), Image.Exif()
    exif[274] = 8  # the camera lay on its side
    turned.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    return tmp_path


def test_files_of_every_kind(files, boot):
    for path in sorted(files.glob("*.*")):
        picture, remarks = use.open_picture(path)
        assert apart(seen(picture), boot[1]) < 12, path.name
        assert bool(remarks) == (path.name == "moving.gif")


def bad_files(folder, picture):
    "Name -> what should be said of it."
    content = (folder / "good.jpg").read_bytes()
    (folder / "half.jpg").write_bytes(content[: len(content)//2])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.jpg").write_text("no picture")
    (folder / "vector.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    Image.new("RGB", (1, 1), "red").save(folder / "dot.png")
    Image.new("RGB", (300, 200), "red").save(folder / "even.png")
    Image.new("RGBA", (300, 200), (9, 9, 9, 0)).save(folder / "clear.png")
    (folder / "folder").mkdir()
    return {"half.jpg": "truncated", "empty.png": "none of", "text.jpg": "save it as JPEG or PNG",
            "vector.eps": "none of", "dot.png": "stands out", "even.png": "stands out",
            "clear.png": "transparent everywhere", "folder": "is a folder",
            "nowhere.png": "No such file", "nul\0.png": "null"}


def test_bad_files_are_one_sentence(files, boot, capsys):
    for name, said in bad_files(files, boot[0]).items():
        with pytest.raises(use.PictureError, match=said):
            use.predict_picture(str(files / name), "mlp")
        with pytest.raises(SystemExit) as stopped:
            use.fmnist_predict([str(files / name), "--model", "mlp"])
        lines = capsys.readouterr().err.splitlines()
        assert stopped.value.code == 1
        assert len(lines) == 1 and lines[0].count(str(files / name)) == 1


LIMITED = """
import resource, sys
from fmnist import use
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try: print(use.predict_picture(sys.argv[1], "mlp").label)
except use.PictureError as error: print(error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("name, size, options", [
    ("huge.png", (10_000, 10_000), {}), ("bomb.png", (30_000, 30_000), {}),
    ("large.jpg", (10_000, 10_000), {}), ("progressive.jpg", (8_000, 8_000), {"progressive": True}),
    ("large.png", (5_000, 4_900), {}), ("large_clear.png", (5_000, 4_900), {"mode": "RGBA"}),
    ("large_deep.png", (5_000, 4_900), {"mode": "I;16"})])  # fmt: skip
def test_large_pictures_do_not_fill_the_memory(name, size, options, tmp_path):
    "100 and 900 megapixels: refused unread, or read at an eighth of their size."
    mode = options.pop("mode", "1" if name == "bomb.png" else "L")
    picture = Image.new(mode, size, {"1": 1, "L": 255, "RGBA": (255,)*4, "I;16": 65535}[mode])
    picture.paste(0, (size[0]//4, size[1]//3, size[0]//2, size[1]*2//3))
    picture.save(tmp_path / name, **options)
    del picture
    done = subprocess.run([sys.executable, "-c", LIMITED, str(tmp_path / name)], cwd=ROOT,
                          capture_output=True, text=True)  # fmt: skip
    said, memory = done.stdout.splitlines()
    assert not done.stderr and int(memory) < 700_000, done.stderr
    if name.startswith("large"):
        assert said in CLASSES
    else:
        assert "25,000,000" in said


def test_what_a_prediction_says():
    picture = drawings.draw("sneaker to the right")
    found = use.predict_picture(picture, "mlp")
    assert sum(found.probabilities.values()) == pytest.approx(1, abs=1e-5)
    assert list(found.probabilities) == list(CLASSES) and found.label == found.top()[0][0]
    assert [step.name for step in found.steps] == [
        "picture", "grey", "ink", "trimmed", "scaled", "sharpened", "28 x 28"]  # fmt: skip
    assert found.image.dtype == np.uint8 and found.image.shape == (28, 28)
    assert len(found.similar) == 3 and found.similar[0].distance <= found.similar[1].distance
    mirrored = use.predict_picture(ImageOps.mirror(picture), "mlp")
    assert mirrored.label == "Sneaker" != found.label and found.mirrored["Sneaker"] > 0.9
    assert "nearly all shoes of the set point left" in found.remarks[-1]
    assert str(found) in repr(found) and found._repr_png_().startswith(b"\x89PNG")
    assert 5_000 < len(found._repr_png_()) < 50_000


def test_a_network_of_ones_own():
    class Constant:
        def predict_proba(self, images):
            assert images.shape == (1, 28, 28) and images.dtype == np.uint8
            return np.eye(10)[[8]]

    found = use.predict_picture(drawings.draw("jeans"), Constant())
    assert (found.label, found.model) == ("Bag", "Constant")
    network = MLP(784, [10], ["softmax"])  # not the package's: as somebody has just trained it
    found = use.predict_picture(drawings.draw("jeans"), network)
    assert found.model == "MLP" and sum(found.probabilities.values()) == pytest.approx(1)
    modern = load_model("modern_cnn").network
    assert use.predict_picture(drawings.draw("jeans"), modern).label == "Trouser"


def test_it_says_what_misleads(boot):
    cut = boot[0].crop((150, 0, 416, 416))
    remarks = use.predict_picture(cut, "mlp").remarks
    assert any("touches the left border" in remark for remark in remarks)
    tiny = boot[0].resize((40, 40))
    assert any("pixels long" in remark for remark in use.predict_picture(tiny, "mlp").remarks)
    noise = np.full((300, 300), 255, np.uint8)
    dots = np.random.default_rng(0).integers(0, 256, (28, 28)).astype(np.uint8)
    noise[40:264, 40:264] = dots.repeat(8, axis=0).repeat(8, axis=1)
    remarks = use.predict_picture(noise, "mlp").remarks
    assert any("no picture of the set" in remark for remark in remarks)


def test_most_drawings_are_recognised():
    "Nine of ten; the blue shirt is a coat to the CNN. Each is the same whenever it is drawn."
    found = {name: use.predict_picture(drawings.draw(name)).label for name in drawings.DRAWINGS}
    wrong = [name for name, label in found.items() if drawings.DRAWINGS[name]["label"] != label]
    assert len(wrong) <= 2 and {each["label"] for each in drawings.DRAWINGS.values()} == {*CLASSES}
    assert drawings.draw("jeans").tobytes() == drawings.draw("jeans").tobytes()
    with pytest.raises(ValueError, match="name is 'hat'"):
        drawings.draw("hat")


def test_the_command(tmp_path, capsys):
    path = tmp_path / "bag.png"
    drawings.draw("brown bag").save(path)
    use.fmnist_predict([str(path), "--model", "mlp", "--save", str(tmp_path / "out")])
    assert capsys.readouterr().out.startswith(f"{path}: Bag ")
    assert Image.open(tmp_path / "out" / "bag-mlp.png").width == 700
    use.fmnist_predict([str(path), str(path), "--model", "mlp", "--save", str(tmp_path / "twice")])
    saved = {each.name for each in (tmp_path / "twice").iterdir()}
    assert saved == {"bag-mlp.png", "bag-mlp-2.png"}
    capsys.readouterr()
    use.fmnist_predict([str(path), "--json", "--model", "mlp"])
    said = json.loads(capsys.readouterr().out)
    assert said["label"] == "Bag"
    assert sum(said["probabilities"].values()) == pytest.approx(1, abs=1e-4)
    with pytest.raises(SystemExit):
        paths = [str(path), str(tmp_path / "none.png")]
        use.fmnist_predict([*paths, "--model", "mlp", "--save", str(path)])
    both = capsys.readouterr()
    assert both.out.count("bag.png: Bag") == 1
    assert "cannot be written" in both.err and "none.png" in both.err


def test_help_needs_no_torch():
    code = (
        "import sys; from fmnist import commands\n"
        "try: commands.fmnist_predict(['--help'])\n"
        "except SystemExit: print(*{'torch', 'matplotlib'} & {*sys.modules})"
    )
    done = alone(code)
    assert done.stdout.startswith("usage: fmnist_predict"), done.stdout
    assert done.stdout.endswith("\n\n"), done.stdout


def test_pieces_hang_together_over_corners():
    grey = np.full((64, 64), 255.0)
    grey[5:45, 5:45] = 0
    tail = range(45, 55)
    grey[tail, tail] = 0
    assert use.find_object(grey, 255.0).sum() == 1610
    grey[45, 45] = 255  # what is left of the tail is a speck
    assert use.find_object(grey, 255.0).sum() == 1600


def test_averages_keep_the_mean():
    image = np.random.default_rng(0).uniform(0, 255, (37, 53))
    for shape in ((28, 20), (5, 5), (60, 80)):
        assert use.area_average(image, shape).mean() == pytest.approx(image.mean())
    assert np.allclose(use.area_average(image, image.shape), image)
    assert use.shrink(np.full((1000, 700), 7, np.uint8)).tolist() == [[7.0]*350]*500


def test_names_of_the_next_pages_are_found_when_asked_for():
    code = (
        "import sys; from fmnist import use; assert 'sklearn' not in sys.modules\n"
        "from fmnist.use import MLPEstimator, load_network, to_onnx\n"
        "print(MLPEstimator.__module__, to_onnx.__module__, load_network.__module__)\n"
        "try: use.to_paper\n"
        "except AttributeError as error: print(error)"
    )
    done = alone(code)
    modules, refused = done.stdout.splitlines()
    assert modules == "fmnist.estimators fmnist.export fmnist.export"
    assert refused == "module 'fmnist.use' has no attribute 'to_paper'"
