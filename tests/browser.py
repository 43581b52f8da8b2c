"Pages in Debian's Chromium, driven by Playwright, for the tests of the site and of the report."

import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest
from filelock import FileLock

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = [
    re.sub(r"^\d+\w?_", "", path.stem) for path in sorted((ROOT / "nbs").glob("*.ipynb"))
]  # their pages, 03d_mlp_recipes.ipynb as recipes
SCREEN, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}

# What a page shows that it should not: parts wider than the screen, pictures that are blank or
# without a text, links to nowhere on the page.
LOOK = """() => {
  const all = selector => [...document.querySelectorAll(selector)];
  const scrolls = ".wide, .sd-table, .cell-output, .math.display, pre, nav";
  const right = node => node.getBoundingClientRect().right;
  const wide = node => right(node) > innerWidth + 1 && !node.closest(scrolls);
  const target = link => document.getElementById(decodeURIComponent(link.hash.slice(1)));
  const found = [];
  for (const node of all("main *").filter(wide))
    found.push("wide: " + node.tagName + " " + node.textContent.slice(0, 40));
  for (const image of all("img")) {
    if (!image.complete || image.naturalWidth < 100) found.push("blank: " + image.alt);
    if (image.alt.length < 20) found.push("without a text: " + image.alt);
  }
  for (const link of all("a[href^='#']"))
    if (!target(link)) found.push("leads nowhere: " + link.hash);
  const width = document.documentElement.scrollWidth;
  if (width > innerWidth) found.push("scrolls sideways: " + width);
  return found;
}"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def visit():
    "visit(folder, name, **context) opens a page; (the page, a growing list of what went wrong)."
    playwright = pytest.importorskip(
        "playwright.sync_api",
        reason="Playwright is not installed: pages are not tried in a browser",
    )
    chromium = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    if chromium is None:
        pytest.skip("no Chromium was found: pages are not tried in a browser")
    servers = {}

    def open_page(folder, name, **context):
        if folder not in servers:
            servers[folder] = http.server.ThreadingHTTPServer(
                ("127.0.0.1", 0), partial(Quiet, directory=folder)
            )
            threading.Thread(target=servers[folder].serve_forever, daemon=True).start()
        home = f"http://127.0.0.1:{servers[folder].server_port}/"
        page, wrong = browser.new_context(**context).new_page(), []
        page.on(
            "console",
            lambda said: (
                said.type in ("error", "warning") and wrong.append(f"console: {said.text}")
            ),
        )
        page.on("pageerror", lambda error: wrong.append(f"script: {error}"))
        page.on(
            "request",
            lambda asked: (
                asked.url.startswith((home, "data:"))
                or wrong.append(f"asks another host: {asked.url}")
            ),
        )
        page.on(
            "response",
            lambda answer: answer.status >= 400 and wrong.append(f"{answer.status}: {answer.url}"),
        )
        page.goto(home + name, wait_until="load")
        return page, wrong

    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        yield open_page
        browser.close()
    for server in servers.values():
        server.shutdown()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    "The site: that of `make docs`, unless a source is newer; else built once for this run."
    pytest.importorskip("smalldocs", reason="smalldocs needs Python 3.11")
    sources = [
        path
        for folder in ("nbs", "nbs/try", "fmnist", ".ci")
        for path in (ROOT / folder).iterdir()
        if path.suffix
    ]
    built = ROOT / "_docs" / "index.html"
    if built.exists() and built.stat().st_mtime > max(
        path.stat().st_mtime for path in [*sources, ROOT / "settings.ini"]
    ):
        return built.parent
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # which all workers of this run share
    folder = folder / "site"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            command = [sys.executable, ".ci/docs.py", "site", folder]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    "The folder of a report of networks that saw the sample, and the published results."
    from fmnist.data import fashion_mnist_sample
    from fmnist.runner import run_trials
    from fmnist.store import published_folder, read_records
    from fmnist.report import Known, write_report
    from fmnist.studies import STUDIES

    folder = tmp_path_factory.mktemp("report")
    trials = {name: trial for name, [trial] in STUDIES["report"].trials("smoke", 1).items()}
    run_trials({"report": list(trials.values())}, folder / "runs", workers=1)
    own = read_records(folder / "runs")
    known = Known(own, read_records(published_folder()), "smoke")
    run = {name: own[trial.digest] for name, trial in trials.items()}
    write_report(run, fashion_mnist_sample(), known, folder / "index.html")
    return folder
