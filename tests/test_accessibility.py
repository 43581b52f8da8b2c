"No barrier for readers with disabilities that axe-core finds; npm fetches it from the network."

import shutil
import subprocess

import pytest
from browser import NOTEBOOKS, PHONE, SCREEN, report, site, visit  # noqa: F401 (three are fixtures)

pytestmark = pytest.mark.ci
AXE = "axe-core@4.14.1"


@pytest.fixture(scope="module")
def axe(tmp_path_factory):
    "The script that looks for barriers."
    if shutil.which("npm") is None:
        pytest.skip("npm was not found: accessibility is not checked")
    folder = tmp_path_factory.mktemp("axe")
    quiet = "--no-audit", "--no-fund", "--cache", folder / "cache"
    command = ["npm", "install", *quiet, "--prefix", folder, AXE]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text()


def barriers(page, axe, rules=None):
    "What axe-core finds by all of its rules, or by these, solutions unfolded, as sentences."
    page.evaluate("document.querySelectorAll('details').forEach(box => box.open = true)")
    # the page lets a reader without a mouse scroll what is too wide, a frame after it got its size
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    page.evaluate(axe)
    options = {"resultTypes": ["violations"]} | ({"runOnly": rules} if rules else {})
    run = "options => axe.run(document, options).then(result => result.violations)"
    return [
        f"{each['impact']}: {each['help']}: {len(each['nodes'])} times, "
        f"such as {each['nodes'][0]['html'][:120]}"
        for each in page.evaluate(run, options)
    ]


def barriers_in_both(page, axe):
    "Those of a page in light colours, and what is wrong with its dark ones."
    found = barriers(page, axe)
    colour = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(colour)
    page.emulate_media(color_scheme="dark")
    dark = f"light => {colour} != light && !document.getAnimations().length"
    page.wait_for_function(dark, arg=light)
    found += barriers(page, axe, ["color-contrast", "link-in-text-block"])
    page.context.close()
    return found


@pytest.mark.parametrize("name", [*NOTEBOOKS, "api", "try"])
def test_page(visit, site, axe, name):
    page, _ = visit(site, f"{name}.html", viewport=SCREEN)
    assert not barriers_in_both(page, axe)


def test_phone_with_menu_and_search(visit, site, axe):
    page, _ = visit(site, "index.html", viewport=PHONE)
    page.get_by_role("searchbox").fill("MLP")
    page.locator(".search-result").first.wait_for()
    assert not barriers(page, axe)
    page.keyboard.press("Escape")
    page.get_by_label("Toggle sidebar navigation").click()
    page.get_by_role("link", name="Metrics", exact=True).first.wait_for()
    assert not barriers(page, axe)


def test_try_once_used(visit, site, axe):
    page, _ = visit(site, "try.html", viewport=PHONE, color_scheme="dark")
    page.locator("#picks button").first.click()
    page.select_option("[name=hidden]", "16")
    page.click("#ten")
    page.wait_for_function("document.getElementById('luck').innerText", timeout=60_000)
    assert not barriers(page, axe)
    page.click("#learn")
    page.locator("#answers td.own").first.wait_for()
    assert not barriers(page, axe)


def test_report(visit, report, axe):
    page, _ = visit(report, "index.html", viewport=SCREEN)
    assert not barriers(page, axe)


def test_barriers_are_found(visit, axe, tmp_path):
    (tmp_path / "bad.html").write_text(
        "<!DOCTYPE html><html lang='en'><title>x</title><main><h1>x</h1><img src='data:,'>"
        "<style>p {color: #ccc} @media (prefers-color-scheme: dark) {"
        "body {background: black; color: white} b {background: #ccc}}</style>"
        "<p>pale</p><b>white on pale</b></main>"
    )
    page, _ = visit(tmp_path, "bad.html")
    alternative, dark, pale = sorted(barriers_in_both(page, axe))
    assert alternative.startswith("critical: Images must have alternative text")
    assert "color contrast" in pale and "<p>" in pale
    assert "color contrast" in dark and "<b>" in dark
