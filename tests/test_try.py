"The page Try it, in a browser: its networks answer and learn as Python's do, nothing leaves it."

import base64
import io
import os

import numpy as np
import pytest
from browser import LOOK, PHONE, ROOT, SCREEN, site, visit  # noqa: F401 (fixtures are used)
from PIL import Image, ImageOps

from fmnist.data import fashion_mnist_sample, flatten_images, random_generator
from fmnist.layers import DroppedUnits
from fmnist.mlp import MLP

pytestmark = pytest.mark.ci  # `make quick` runs them where the page changed
SHOE = [(9, 56), (11, 42), (24, 46), (38, 40), (51, 54), (73, 60), (89, 64), (90, 74), (9, 74),
        (9, 56)]  # percent of the pad's width  # fmt: skip
ANSWERS = """async () => {
  const { readArrays } = await import("/try/arrays.js");
  const { images } = await readArrays("/try/data/images.bin");
  const worker = new Worker("/try/answers.js", { type: "module" });
  const ask = (i, want) => new Promise(done => {
    worker.onmessage = ({ data }) => done(data.error ?? [...data.answer]);
    worker.postMessage({ id: 1, pixels: images.data.slice(784 * i, 784 * (i + 1)), want });
  });
  const answers = { images: [...images.data], mlp: [], modern_cnn: [] };
  for (const want of ["mlp", "modern_cnn"])
    for (let i = 0; i < 50; i++) answers[want].push(await ask(i, want));
  return answers;
}"""
STEPS = """async ({ settings, numbers, scales }) => {
  const { MLP } = await import("/try/mlp.js");
  const bytes = text => Uint8Array.from(atob(text), each => each.charCodeAt(0));
  const floats = text => new Float32Array(bytes(text).buffer);
  const network = new MLP(settings);
  network.layers.forEach((layer, i) => {
    layer.W.set(floats(numbers["W" + i]));
    layer.b.set(floats(numbers["b" + i]));
  });
  const x = Float32Array.from(bytes(numbers.x), each => each / 255);
  const labels = bytes(numbers.labels);
  const kept = scales && floats(scales);
  let unit = 0;
  if (kept) network.keep = () => kept[unit++];
  const losses = [];
  for (let at = 0; at < labels.length; at += 32) {
    const batch = x.subarray(784 * at, 784 * (at + 32));
    losses.push(network.step(batch, labels.slice(at, at + 32)).loss);
  }
  const after = network.layers.flatMap(({ W, b }) => [W, b]).map(each =>
    btoa([...new Uint8Array(each.buffer)].map(byte => String.fromCharCode(byte)).join("")));
  return { losses, after };
}"""
BYTES = """() => performance.getEntries().filter(each => "encodedBodySize" in each)
  .reduce((sum, each) => sum + each.encodedBodySize, 0)"""


def accuracy(page):
    "Of the network that learns in the page, by now."
    return float(page.get_attribute("#progress", "data-accuracy") or 0)


def draw(page, points, then=lambda: None):
    "A line on the pad, with the mouse; points in percent of its width; what to do after each."
    pad = page.locator("#pad")
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()
    places = [(box["x"] + x*box["width"]/100, box["y"] + y*box["width"]/100) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=3)
        then()
    page.mouse.up()


def wait_for_answers(page):
    "Until both networks, and the heat map, are done with what is shown."
    page.wait_for_function(
        "document.getElementById('answers').dataset.told"
        " == document.getElementById('heat').dataset.id"
    )


def test_fifty_images_get_pythons_probabilities(visit, site):
    from fmnist.pretrained import load_model

    page, wrong = visit(site, "try.html", viewport=SCREEN)
    answers = page.evaluate(ANSWERS)
    images = np.array(answers["images"], np.uint8).reshape(-1, 28, 28)
    assert len(images) == 50 and not wrong, wrong
    for name in ("mlp", "modern_cnn"):
        np.testing.assert_allclose(answers[name], load_model(name).predict_proba(images), atol=1e-3)


@pytest.mark.parametrize("dropout", [0, 0.25])
def test_twenty_steps_as_in_python(visit, site, dropout):
    page, wrong = visit(site, "try.html")
    data = fashion_mnist_sample()
    images, labels = data.train_images[:640], data.train_labels[:640]
    x, small = flatten_images(images), dict(x=images, labels=labels.astype(np.uint8))
    for activation in ["relu"] if dropout else ["relu", "leaky_relu", "tanh", "sigmoid", "gelu"]:
        names = [activation, activation, "softmax"]
        mlp = MLP(784, [32, 16, 10], names, "he", dropout, 0.1, seed=3)
        settings = dict(sizes=[784, 32, 16, 10], activation=activation, rate=0.1)
        numbers = {name: as_text(value) for name, value in {**mlp.params, **small}.items()}
        scales = as_text(kept_units(dropout, 20, 32, (32, 16))) if dropout else None
        found = page.evaluate(STEPS, dict(settings=settings, numbers=numbers, scales=scales))
        mlp.start_epoch(0)
        batches = [slice(at, at + 32) for at in range(0, 640, 32)]
        losses = [float(mlp.step(x[rows], labels[rows])[0]) for rows in batches]
        np.testing.assert_allclose(found["losses"], losses, atol=1e-4)
        for value, text in zip(mlp.params.values(), found["after"], strict=True):
            np.testing.assert_allclose(as_array(text), value.ravel(), atol=1e-4)
        assert losses[-1] < losses[0] - 0.2 and not wrong, wrong


def as_text(array):
    "Its bytes, as a browser can take them fast."
    return base64.b64encode(array.tobytes()).decode()


def as_array(text):
    "What a browser sends back in that way: float32."
    return np.frombuffer(base64.b64decode(text), np.float32)


def kept_units(dropout, steps, m, widths):
    "What Python's dropout multiplies each unit with, in the order in which both ask."
    units = DroppedUnits(random_generator(3, "dropout", 0), dropout)
    parts = []
    for width in widths*steps:
        parts.append(np.full(m*width, units.scale, np.float32))
        parts[-1][units.take(m*width)] = 0
    return np.concatenate(parts)


PREPARED = """async text => {
  const { prepare } = await import("/try/picture.js");
  const { readPhoto } = await import("/try/drawing.js");
  const bytes = Uint8Array.from(atob(text), each => each.charCodeAt(0));
  const canvas = await readPhoto(new File([bytes], "a.png", { type: "image/png" }));
  const picture = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const { steps, remarks } = prepare(picture);
  const packed = values => btoa(Array.from(new Uint8Array(Float32Array.from(values).buffer),
    byte => String.fromCharCode(byte)).join(""));
  return { remarks, steps: steps.map(({ name, image: { values, height, width } }) =>
    ({ name, values: packed(values), shape: [height, width] })) };
}"""


def pictures():
    "Some to prepare: drawn ones, one that is cut off, large, with holes, and one of the set."
    from fmnist.drawings import DRAWINGS, draw

    first = [draw(name) for name in list(DRAWINGS)[:2]]
    small, large = first[0].crop((40, 60, 300, 400)), first[1].resize((900, 720))
    clear = first[0].convert("RGBA")
    clear.putalpha(ImageOps.invert(first[0].convert("L")).point(lambda value: 255*(value > 60)))
    of_the_set = Image.fromarray(255 - fashion_mnist_sample().test_images[0])
    return {**dict(zip(DRAWINGS, first, strict=False)), "cut off": small, "large": large,
            "clear": clear, "of the set": of_the_set}  # fmt: skip


def test_pictures_are_prepared_as_in_python(visit, site):
    from fmnist.use import as_grey, prepare

    page, wrong = visit(site, "try.html")
    for name, picture in pictures().items():
        file = io.BytesIO()
        picture.save(file, "PNG")
        found = page.evaluate(PREPARED, base64.b64encode(file.getvalue()).decode())
        steps, remarks = prepare(as_grey(picture))
        assert [step["name"].replace("×", "x") for step in found["steps"]] == [
            step.name for step in steps
        ], name
        for step, expected in zip(found["steps"], steps, strict=True):
            values = as_array(step["values"]).reshape(step["shape"])
            least = 1 if step["name"] == "28 × 28" else 0.01  # rounding may go either way
            assert abs(values - expected.image).max() <= least, (name, step["name"])
        assert len(found["remarks"]) == len(remarks), name
    assert not wrong, wrong


def test_drawn_shoe_is_a_shoe(visit, site):
    page, wrong = visit(site, "try.html", viewport=SCREEN)
    draw(page, SHOE)
    wait_for_answers(page)
    verdict = page.inner_text("#verdict")
    assert any(f"CNN: {shoe}" in verdict for shoe in ("Sneaker", "Sandal", "Ankle boot")), verdict
    page.get_by_text("with the worst square covered").wait_for()  # of the last stroke
    page.click("#clear")
    assert page.inner_text("#verdict") == "" and not wrong, wrong


def test_learning(visit, site):
    page, wrong = visit(site, "try.html", viewport=SCREEN)
    page.click("#learn")
    page.wait_for_function(
        "document.getElementById('progress').dataset.accuracy > 0.75", timeout=120_000
    )
    before = page.get_attribute("#progress", "data-steps")
    page.click("#again")
    page.wait_for_function(f"document.getElementById('progress').dataset.steps < {before}")
    page.click("#learn")
    assert page.inner_text("#learn") == "Learn"
    draw(page, SHOE)
    page.locator("#answers td.own").first.wait_for()
    page.select_option("[name=hidden]", "16")  # faster
    page.click("#ten")
    page.wait_for_function("document.getElementById('luck').innerText", timeout=180_000)
    assert page.locator("#ten-curves canvas").count() == 10 and not wrong, wrong
    ends = page.eval_on_selector_all("#ten-curves canvas", "all => all.map(one => one.ariaLabel)")
    reached = [float(end.rpartition(": ")[2].rstrip(" %")) for end in ends]
    assert f"From {min(reached):.1f} % to {max(reached):.1f} %" in page.inner_text("#luck")
    assert min(reached) > 60


def test_mirrored_sneakers_as_the_page_says():
    from fmnist.pretrained import load_model

    data = fashion_mnist_sample()
    sneakers = data.test_images[data.test_labels == 7][:5, :, ::-1]
    assert sorted(load_model("mlp").predict(sneakers)) == [5, 7, 7, 8, 8]
    assert set(load_model("modern_cnn").predict(sneakers)) == {7}


def test_too_high_a_rate_is_explained(visit, site):
    page, wrong = visit(site, "try.html", viewport=SCREEN)
    page.select_option("[name=activation]", "leaky_relu")
    page.select_option("[name=rate]", "3")
    page.click("#learn")
    page.get_by_text("too high").wait_for(timeout=15_000)
    page.click("#learn")
    assert not wrong, wrong


def test_light_before_the_first_tap_and_kept_for_later(visit, site):
    page, wrong = visit(site, "try.html", viewport=SCREEN)
    page.locator("#picks button").nth(49).wait_for()
    assert page.locator("#answers .first").count() == 2  # there is something to see
    assert page.evaluate(BYTES) < 1_000_000
    page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    page.locator("#picks button").first.click()
    wait_for_answers(page)
    page.wait_for_function("document.documentElement.dataset.kept")
    page.context.set_offline(True)
    page.reload()
    page.locator("#picks button").nth(1).click()
    wait_for_answers(page)
    assert "CNN: Trouser" in page.inner_text("#verdict") and not wrong, wrong


def test_by_keyboard(visit, site):
    page, wrong = visit(site, "try.html", viewport=SCREEN)
    page.locator("#picks button").nth(49).wait_for()
    page.focus("#pad")
    page.keyboard.press("Space")
    for key in ["ArrowRight"]*8 + ["ArrowDown"]*8:
        page.keyboard.press(key)
    wait_for_answers(page)
    page.focus("#picks button")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    wait_for_answers(page)
    pressed = page.get_attribute("#picks button[aria-pressed=true]", "aria-label")
    assert (pressed, page.locator("#picks [tabindex='0']").count()) == ("Trouser 2", 1)
    assert not wrong, wrong


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone(visit, site, scheme):
    calm = "reduce" if scheme == "dark" else "no-preference"
    options = dict(has_touch=True, color_scheme=scheme, reduced_motion=calm)
    page, wrong = visit(site, "try.html", viewport=PHONE, **options)
    page.locator("#picks button").nth(3).tap()
    wait_for_answers(page)
    page.locator("#learn").tap()
    page.wait_for_function("document.getElementById('progress').dataset.steps > 20")
    wrong += page.evaluate(LOOK)
    small = page.eval_on_selector_all(
        ".try-page :is(button, select, label.button)",
        "all => all.filter(one => one.getBoundingClientRect().height < 24).length",
    )
    assert small == 0 and not wrong, wrong


def test_a_photo_and_a_file_that_is_none(visit, site):
    from fmnist.drawings import DRAWINGS, draw

    page, wrong = visit(site, "try.html", viewport=SCREEN)
    page.set_input_files("#photo", dict(name="a.txt", mimeType="text/plain", buffer=b"no picture"))
    page.get_by_text("a.txt is no picture that this browser can read").wait_for()
    file = io.BytesIO()
    draw(list(DRAWINGS)[0]).save(file, "PNG")
    page.set_input_files("#photo", dict(name="a.png", mimeType="image/png", buffer=file.getvalue()))
    wait_for_answers(page)
    assert page.locator("#steps li").count() == 6 and not wrong, wrong


MOVING = ROOT / "nbs" / "try.webp"  # of README.md and the first page
MANY = "document.getElementById('luck').innerText"  # when ten networks are done


@pytest.mark.skipif("FMNIST_RECORD" not in os.environ, reason="FMNIST_RECORD is not set")
def test_recorded_anew(visit, site):
    "A shoe is drawn while two networks name it; one learns; then ten, apart in the seed alone."
    page, _ = visit(site, "try.html", viewport={"width": 1280, "height": 1200})
    page.locator("#picks button").nth(49).wait_for()
    box, frames, times = page.locator(".try-page").bounding_box(), [], []
    clip = dict(x=box["x"] - 8, y=box["y"] - 8, width=box["width"] + 16, height=740)

    def take(milliseconds):
        shot = Image.open(io.BytesIO(page.screenshot(clip=clip, full_page=True))).convert("RGB")
        size = 700, round(700*shot.height/shot.width)
        frames.append(shot.resize(size, Image.Resampling.LANCZOS))
        times.append(milliseconds)

    def answered():
        page.wait_for_timeout(150)
        page.wait_for_function("document.getElementById('answers').dataset.told")
        take(220)

    take(900)
    draw(page, SHOE, answered)
    page.wait_for_function("document.getElementById('heat').dataset.id")
    take(1200)
    page.click("#learn")
    page.wait_for_function("document.getElementById('progress').dataset.steps > 0")
    for _ in range(16):
        take(160)
        page.wait_for_timeout(100)
    page.click("#ten")
    while not page.evaluate(MANY) and len(frames) < 60:
        take(160)
        page.wait_for_timeout(400)
    page.wait_for_function(MANY)
    take(3000)
    more = dict(save_all=True, append_images=frames[1:], duration=times, loop=3, method=6)
    for quality in range(80, 10, -10):
        frames[0].save(MOVING, "WEBP", quality=quality, minimize_size=True, **more)
        if MOVING.stat().st_size < 500_000:
            break


def test_moving_picture():
    assert MOVING.stat().st_size < 500_000 and Image.open(MOVING).n_frames > 20
