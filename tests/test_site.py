"The site in a browser: each page on screen and phone, search, dark mode, the first in one screen."

import importlib
import pkgutil
from pathlib import Path

import pytest
from browser import LOOK, NOTEBOOKS, PHONE, SCREEN, site, visit  # noqa: F401 (two are fixtures)

import fmnist

# What a page of a notebook lacks, beside what LOOK finds on any page.
LACKS = r"""name => {
  const all = selector => [...document.querySelectorAll(selector)];
  const box = node => node.getBoundingClientRect(), lack = [];
  const prose = all("main :is(p, li, td)").map(node => node.innerText).join(" ");
  if (/\\[()[\]]|\$\$|\\(frac|sum|begin)/.test(prose)) lack.push("TeX that is not set");
  const folded = node => node.closest("details:not([open])");
  if (all("math").some(node => !box(node).height && !folded(node)))
    lack.push("an equation without height");
  const links = all(".elsewhere a").filter(link => box(link).height);
  const places = links.map(link => new URL(link.href).host).join();
  if (name != "api" && places != "github.com,colab.research.google.com,kaggle.com")
    lack.push("links to GitHub, Colab and Kaggle: " + places);
  const opener = document.querySelector("h1 + *, .description");
  if (!opener.innerText.length || !all("main p").length) lack.push("an opener");
  const ends = all("main h2").slice(-2).map(node => node.innerText.trim()).join();
  if (!["index", "api", "glossary"].includes(name) && ends != "Summary,Exercises")
    lack.push("Summary and Exercises at the end: " + ends);
  if (all("#exercises details[open]").length) lack.push("a solution that is not folded");
  return lack;
}"""
CUT = """() => {
  const folded = [...document.querySelectorAll("details:not([open])")];
  folded.forEach(each => each.open = true);
  const boxes = [...document.querySelectorAll("main pre.sourceCode")];
  const cut = boxes.filter(box => box.scrollWidth > box.clientWidth);
  folded.forEach(each => each.open = false);
  return cut.map(box => "code that is wider than its box: " + box.textContent.slice(0, 80));
}"""
POSITIONS = """() => {
  const parts = [...document.querySelectorAll("main p, main pre")];
  const find = text => parts.find(node => node.innerText.includes(text));
  const one = selector => document.querySelector(selector);
  const nodes = [one("h1"), one("main img"), find("%"), find("make test")];
  return nodes.map(node => node.getBoundingClientRect().bottom);
}"""
RESULTS = """() => {
  const box = document.querySelector(".smalldocs-search-results").getBoundingClientRect();
  return [box.right, document.documentElement.scrollWidth];
}"""
BRIGHTNESS = """() => {
  const style = getComputedStyle(document.body);
  const sum = name => eval(style[name].match(/\\d+/g).slice(0, 3).join("+"));
  return [sum("backgroundColor"), sum("color")];
}"""
BAD = """<!DOCTYPE html><main><h1>Bad</h1><p class="description">x</p>
<p style="width: 900px">wide</p>
<img alt="x" src="data:image/png;base64,AAAA"><a href="#gone">link</a><p>\\(x\\)</p>
<div id="exercises"><details open>Solved</details></div>
<script>console.error("mind"); fetch("http://localhost:1/")</script>
<script src="gone.js"></script></main>"""


@pytest.mark.parametrize("name", [*NOTEBOOKS, "api"])
def test_page(visit, site, name):
    page, wrong = visit(site, f"{name}.html", viewport=SCREEN)
    wrong += page.evaluate(LOOK) + page.evaluate(LACKS, name) + page.evaluate(CUT)
    page.set_viewport_size(PHONE)
    wrong += page.evaluate(LOOK) + page.evaluate(LACKS, name)
    assert not wrong, wrong


def test_order(visit, site):
    page, _ = visit(site, "index.html", viewport=SCREEN)
    names = [
        Path(link).stem
        for link in page.eval_on_selector_all(
            "#quarto-sidebar a[href]", "links => links.map(link => link.pathname)"
        )
    ]
    assert sorted(names) == sorted([*NOTEBOOKS, "api", "try"])
    order = ["index", "data", "metrics", "mlp", "cnn", "hybrid", "trials", "report", "api"]
    assert [name for name in names if name in order] == order


def test_api_lists_all(visit, site):
    page, _ = visit(site, "api.html", viewport=SCREEN)
    listed = page.eval_on_selector_all(
        "main td:first-child code", "names => names.map(name => name.innerText)"
    )
    modules = [
        importlib.import_module(f"fmnist.{module.name}")
        for module in pkgutil.iter_modules(fmnist.__path__)
        if module.name[0] != "_"
    ]
    found = [(name, getattr(module, name)) for module in modules for name in module.__all__]
    public = [name for name, thing in found if getattr(thing, "__name__", "") == name]  # no alias
    assert len(public) > 100 and sorted(name for name in listed if "." not in name) == sorted(
        public
    )


def test_first_page_in_one_screen(visit, site):
    page, _ = visit(site, "index.html", viewport=SCREEN)
    seen = page.evaluate(POSITIONS)
    assert seen == sorted(seen) and seen[-1] <= SCREEN["height"], seen


@pytest.mark.parametrize("size", [SCREEN, PHONE], ids=["screen", "phone"])
def test_search(visit, site, size):
    page, wrong = visit(site, "data.html", viewport=size)
    page.get_by_role("searchbox").fill("MLP")
    page.locator(".search-result").first.wait_for()
    page.wait_for_timeout(300)  # the box widens
    right, scroll = page.evaluate(RESULTS)
    assert max(right, scroll) <= size["width"]
    found = page.eval_on_selector_all(
        ".search-result", "results => results.map(result => [result.pathname, result.innerText])"
    )
    assert found[0][0] == "/mlp.html" and all("mlp" in text.lower() for _, text in found), found
    page.keyboard.press("Enter")
    page.wait_for_url("**/mlp.html*")
    assert page.title().startswith("The MLP from scratch") and not wrong, wrong


def test_dark(visit, site):
    def brightness(page):
        return page.evaluate(BRIGHTNESS)

    page, _ = visit(site, "mlp.html", viewport=SCREEN, color_scheme="light")
    paper, ink = brightness(page)
    assert paper > 700 > 200 > ink
    page.get_by_title("Toggle dark mode").click()
    page.wait_for_function("document.documentElement.classList.contains('quarto-dark')")
    page.reload()
    dark_paper, dark_ink = brightness(page)
    assert dark_paper < 100 and dark_ink > 600
    preferred, _ = visit(site, "mlp.html", viewport=SCREEN, color_scheme="dark")
    assert brightness(preferred) == [dark_paper, dark_ink]


def test_what_overflows_is_reached_by_keyboard(visit, site):
    page, _ = visit(site, "mlp.html", viewport=PHONE)
    page.wait_for_function("document.querySelector('main [tabindex]')")
    stops = page.eval_on_selector_all(
        "main [tabindex='0']", "nodes => nodes.map(node => node.scrollWidth > node.clientWidth)"
    )
    assert stops and all(stops)


def test_faults_are_found(visit, site, tmp_path):
    (tmp_path / "bad.html").write_text(BAD)
    page, wrong = visit(tmp_path, "bad.html", viewport=PHONE)
    wrong = "\n".join(wrong + page.evaluate(LOOK) + page.evaluate(LACKS, "bad"))
    for fault in (
        "wide: P wide",
        "blank: x",
        "without a text: x",
        "leads nowhere: #gone",
        "scrolls sideways",
        "console: mind",
        "another host: http://localhost:1/",
        "404: ",
        "TeX that is not set",
        "links to GitHub, Colab and Kaggle",
        "not folded",
        "Summary and Exercises at the end",
    ):
        assert fault in wrong, fault
