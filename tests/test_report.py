"The report page in a browser: no error, every figure there, nothing wider than a phone."
import html
import http.server
import json
import re
import shutil
import subprocess
import threading
from functools import partial

import pytest

from fmnist.data import fashion_mnist_sample
from fmnist.experiments import published_folder, read_records, run_trials
from fmnist.report import Known, write_report
from fmnist.studies import report_trials

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium was found: the page is not tried in a browser")

# A page of our own, with the report in a frame as wide as a phone, asks it what it looks like, and writes the answer into itself.
PROBE = """<!DOCTYPE html><meta charset="utf-8"><iframe id="frame" style="width:390px;height:800px;border:0"></iframe><pre id="said"></pre><script>
const frame = document.getElementById("frame"), errors = [];
frame.onload = () => {
  const page = frame.contentDocument, width = frame.contentWindow.innerWidth, inBox = node => node.closest(".wide");
  const out = [...page.querySelectorAll("body *")].filter(node => !inBox(node) && node.getBoundingClientRect().right > width + 1).map(node => node.tagName + " " + node.textContent.slice(0, 40));
  const blank = [...page.images].filter(image => !image.complete || image.naturalWidth < 100).map(image => image.alt);
  const mute = [...page.images].filter(image => image.alt.length < 20).length;
  const nowhere = [...page.querySelectorAll("a[href^='#']")].filter(link => !page.getElementById(decodeURIComponent(link.hash.slice(1)))).map(link => link.hash);
  document.getElementById("said").textContent = JSON.stringify({width, scroll: page.documentElement.scrollWidth, figures: page.images.length, out, blank, mute, nowhere});
};
frame.src = "index.html";
</script>"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    "The page, from two networks that saw the sample, and the results that ship with the package; beside it the probe."
    folder = tmp_path_factory.mktemp("report")
    run_trials({"report": report_trials("smoke")}, folder / "runs", workers=1)
    own = read_records(folder / "runs")
    known = Known(own, read_records(published_folder()), "smoke")
    write_report([own[trial.digest] for trial in report_trials("smoke")], fashion_mnist_sample(), known, folder / "index.html")
    (folder / "probe.html").write_text(PROBE)
    return folder


@pytest.fixture
def address(folder):
    "A server on this machine, so that the probe may look into the frame."

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def browse(tmp_path, *words):
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command = [CHROMIUM, *flags, f"--user-data-dir={tmp_path / 'profile'}", "--hide-scrollbars", "--enable-logging=stderr", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_on_a_phone(folder, address, tmp_path):
    done = browse(tmp_path, "--virtual-time-budget=20000", "--window-size=600,900", "--dump-dom", f"{address}/probe.html")
    answer = re.search(r'<pre id="said">(\{.*?\})</pre>', done.stdout, flags=re.S)
    assert answer, done.stdout[-2000:] + done.stderr[-2000:]
    said = json.loads(html.unescape(answer[1]))
    assert said["figures"] == (folder / "index.html").read_text().count("<img ") >= 5
    assert said["width"] == 390 and said["scroll"] <= 390, said
    assert not any(said[fault] for fault in ("out", "blank", "mute", "nowhere")), said
    assert not re.findall(r".*CONSOLE.*", done.stderr), done.stderr


def test_the_probe_finds_faults(folder, address, tmp_path):
    page = (folder / "index.html").read_text()
    bad = '<p style="width:900px">wide</p><img alt="x" src="data:image/png;base64,AAAA"><a href="#gone">link</a><script>console.error("mind")</script></main>'
    (folder / "index.html").write_text(page.replace("</main>", bad))
    try:
        done = browse(tmp_path, "--virtual-time-budget=20000", "--window-size=600,900", "--dump-dom", f"{address}/probe.html")
    finally:
        (folder / "index.html").write_text(page)
    for fault in ('"out":["P wide"', '"blank":["x"]', '"mute":1', '"nowhere":["#gone"]'):
        assert fault in done.stdout, fault
    assert re.search(r"CONSOLE.*mind", done.stderr), done.stderr


def test_screenshot(folder, tmp_path):
    picture = tmp_path / "page.png"
    browse(tmp_path, f"--screenshot={picture}", "--window-size=1100,2000", (folder / "index.html").as_uri())
    assert picture.stat().st_size > 30_000  # an empty page has a few
