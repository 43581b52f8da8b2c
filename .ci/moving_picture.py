"""The moving picture of the page "Try it", for README.md and the first page: nbs/try.webp.

    python .ci/docs.py site FOLDER
    python .ci/moving_picture.py FOLDER      records it anew, from that site, in a minute

A shoe is drawn while two networks name it; then one learns; then ten, which differ in the seed alone.
"""

import functools
import http.server
import io
import shutil
import sys
import threading

from PIL import Image
from playwright.sync_api import sync_playwright

from package import ROOT, settings

TARGET = ROOT / settings["nbs_path"] / "try.webp"
LIMIT = 500_000  # bytes
SIZE = 700  # pixels, its width
SHOE = [(9, 56), (11, 42), (24, 46), (38, 40), (51, 54), (73, 60), (89, 64), (90, 74), (9, 74),
        (9, 56)]  # percent of the pad's width  # fmt: skip
MANY, END = "document.getElementById('luck').innerText", 3000  # when ten are done; ms at the end


class Quiet(http.server.SimpleHTTPRequestHandler):
    "A server that says nothing."

    def log_message(self, *_):
        pass


class Recorder:
    "Takes pictures of the upper part of the page."

    def __init__(self, page):
        self.page, self.frames, self.times = page, [], []
        box = page.locator(".try-page").bounding_box()
        self.clip = dict(x=box["x"] - 8, y=box["y"] - 8, width=box["width"] + 16, height=740)

    def take(self, milliseconds):
        "A frame, and how long it is to be seen."
        shot = Image.open(io.BytesIO(self.page.screenshot(clip=self.clip, full_page=True)))
        height = round(SIZE * shot.height / shot.width)
        self.frames.append(shot.convert("RGB").resize((SIZE, height), Image.Resampling.LANCZOS))
        self.times.append(milliseconds)

    def save(self, quality):
        "All frames in one file; three times round, then it stands still."
        first, *others = self.frames
        more = dict(save_all=True, append_images=others, duration=self.times, loop=3)
        first.save(TARGET, "WEBP", quality=quality, method=6, minimize_size=True, **more)
        return TARGET.stat().st_size


def answered(page):
    "Until the CNN has said what is on the pad."
    page.wait_for_timeout(150)
    page.wait_for_function("document.getElementById('answers').dataset.told")


def draw(page, recorder):
    "A shoe, a stroke at a time."
    box = page.locator("#pad").bounding_box()
    places = [(box["x"] + x * box["width"] / 100, box["y"] + y * box["width"] / 100) for x, y in SHOE]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=6)
        answered(page)
        recorder.take(220)
    page.mouse.up()
    page.wait_for_function("document.getElementById('heat').dataset.id")
    recorder.take(1200)


def record(page):
    "The whole story."
    page.locator("#picks button").nth(49).wait_for()
    recorder = Recorder(page)
    recorder.take(900)
    draw(page, recorder)
    page.click("#learn")
    page.wait_for_function("document.getElementById('progress').dataset.steps > 0")
    for _ in range(16):
        recorder.take(160)
        page.wait_for_timeout(100)
    page.click("#ten")
    while not page.evaluate(MANY) and len(recorder.frames) < 60:
        recorder.take(160)
        page.wait_for_timeout(400)
    page.wait_for_function(MANY)
    recorder.take(END)
    return recorder


def main(folder):
    "Record it, and find the quality that keeps it small."
    handler = functools.partial(Quiet, directory=folder)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = launched.new_page(viewport={"width": 1280, "height": 1200})
        page.goto(f"http://127.0.0.1:{server.server_port}/try.html")
        recorder = record(page)
    for quality in range(80, 10, -10):
        size = recorder.save(quality)
        if size < LIMIT:
            break
    print(f"{TARGET}: {len(recorder.frames)} frames, quality {quality}, {size:,} bytes")


if __name__ == "__main__":
    main(*sys.argv[1:])
