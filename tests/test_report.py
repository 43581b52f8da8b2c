"The report page in a browser: no error, every figure there, nothing wider than a phone."
from browser import LOOK, PHONE, report, visit  # noqa: F401 (report and visit are fixtures)


def test_on_a_phone(visit, report):
    page, wrong = visit(report, "index.html", viewport=PHONE)
    assert page.locator("img").count() == (report / "index.html").read_text().count("<img ") >= 5
    wrong += page.evaluate(LOOK)
    assert not wrong, wrong


def test_screenshot(visit, report):
    page, _ = visit(report, "index.html", viewport={"width": 1100, "height": 2000})
    assert len(page.screenshot()) > 30_000  # an empty page has a few
