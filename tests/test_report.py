"The report page in a browser: no error, every figure there, nothing wider than a phone."
import pytest
from browser import LOOK, PHONE, visit  # noqa: F401 (visit is a fixture)

from fmnist.data import fashion_mnist_sample
from fmnist.experiments import published_folder, read_records, run_trials
from fmnist.report import Known, write_report
from fmnist.studies import report_trials


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    "The page, from two networks that saw the sample, and the results that ship with the package."
    folder = tmp_path_factory.mktemp("report")
    run_trials({"report": report_trials("smoke")}, folder / "runs", workers=1)
    own = read_records(folder / "runs")
    known = Known(own, read_records(published_folder()), "smoke")
    write_report([own[trial.digest] for trial in report_trials("smoke")], fashion_mnist_sample(), known, folder / "index.html")
    return folder


def test_on_a_phone(visit, folder):
    page, wrong = visit(folder, "index.html", viewport=PHONE)
    assert page.locator("img").count() == (folder / "index.html").read_text().count("<img ") >= 5
    wrong += page.evaluate(LOOK)
    assert not wrong, wrong


def test_screenshot(visit, folder):
    page, _ = visit(folder, "index.html", viewport={"width": 1100, "height": 2000})
    assert len(page.screenshot()) > 30_000  # an empty page has a few
