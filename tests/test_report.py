"The report page: what it says of made-up results, what keeps it from being written, how it looks."
import os
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from browser import LOOK, PHONE, report, visit  # noqa: F401 (report and visit are fixtures)

from fmnist import report as page
from fmnist.claims import by_network, findings, judge, study_records
from fmnist.data import fashion_mnist_sample
from fmnist.original import READINGS
from fmnist.report import Known, Table, lacking, study_context, study_table, table_of
from fmnist.runner import run_trials
from fmnist.store import published_folder, read_records
from fmnist.studies import STUDIES
from fmnist.trials import Failure

DROPOUT = STUDIES["dropout"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    "Results of the networks of the report that saw the sample."
    runs = tmp_path_factory.mktemp("runs")
    trials = [trial for [trial] in STUDIES["report"].trials("smoke", [0]).values()]
    run_trials({"report": trials}, runs, workers=1)
    return runs


@pytest.fixture(scope="module")
def run(folder):
    own = read_records(folder)
    trials = STUDIES["report"].trials("smoke", [0])
    return {name: own[trial.digest] for name, [trial] in trials.items()}


@pytest.fixture(scope="module")
def published():
    return read_records(published_folder())


@pytest.fixture
def made_up(run):
    "Accuracies around 88 % for some arms of a study."
    def make(study, arms=None, seeds=10):
        rng, found = np.random.default_rng(0), {}
        for name, trials in study.trials("full", range(seeds)).items():
            for trial in trials if arms is None or name in arms else ():
                scores = replace(run["MLP"].scores, accuracy=rng.normal(0.88, 0.002))
                found[trial.digest] = replace(run["MLP"], trial=trial, scores=scores)
        return found

    return make


def rendered(context):
    "A study as HTML."
    module = page._templates().get_template("parts.html").module
    return " ".join(str(module.study(context)).split())


def failed(records, kind):
    return {digest: Failure(r.trial, kind, "the disk is full", 0, {}, "")
            for digest, r in records.items()}


def test_a_table_is_printed_in_two_forms():
    table = Table(["", "b"], [("", [["1 < 2", 3]]), ("short runs", [["c", 4]])])
    assert table.text().splitlines() == ["       b", "1 < 2  3", "short runs", "c      4"]
    module = page._templates().get_template("parts.html").module
    html = str(module.show(table))
    assert '<th scope="row">1 &lt; 2</th><td>3</td>' in html and "<td></td><th>b</th>" in html
    assert '<tr class="group"><th colspan="2">short runs</th></tr>' in html
    named = module.show(table_of(["", "b"], [["a", 3]]), text=True)
    assert '<td data-name="b">3</td>' in str(named)


def test_a_study_of_made_up_results(made_up):
    html = rendered(study_context(DROPOUT, Known(made_up(DROPOUT), {})))
    for part in ("<img alt=", "87.11", "no difference shown",
                 "70 results (70 of your own), seeds 0 to 9, 20 epochs"):
        assert part in html, part
    assert "Missing" not in html and "Short runs" not in html
    mixed = Known(made_up(DROPOUT, ["0.1"]), made_up(DROPOUT, ["0.2"]))
    said = "20 results (10 of your own and 10 shipped with fmnist)"
    assert said in rendered(study_context(DROPOUT, mixed))


def test_a_study_without_results(made_up):
    html = rendered(study_context(STUDIES["pooling"], Known({}, {})))
    assert "<img" not in html and "92.50" in html and "3 in all arms" in html
    html = rendered(study_context(STUDIES["kernel_sizes"], Known({}, {})))
    assert "fmnist_run kernel_sizes --budget full" in html
    gaps = study_records(DROPOUT, by_network(made_up(DROPOUT, ["0.1", "0.2"], 3)))
    first = list(lacking(DROPOUT, gaps)["arms"].items())[:3]
    assert first == [("0.01", 10), ("0.05", 10), ("0.1", 7)]
    assert lacking(DROPOUT, study_records(DROPOUT, by_network(made_up(DROPOUT)))) == {}


def test_failures_hide_no_result_and_are_counted(made_up):
    all_of_them, broken = made_up(DROPOUT), failed(made_up(DROPOUT, ["0.1"]), "error")
    with_broken = rendered(study_context(DROPOUT, Known(broken, all_of_them)))
    assert with_broken == rendered(study_context(DROPOUT, Known({}, all_of_them)))
    lost = failed(made_up(DROPOUT, ["0.1"], 4), "diverged")
    context = study_context(DROPOUT, Known(all_of_them | lost, {}))
    # the reference lacks some, so each comparison does
    assert rendered(context).count(", failed runs left out") == 6
    assert [c.diverged for c in context["rates"]] == [(0, 4)] * 6 and "Fisher" in rendered(context)


def test_short_runs_stand_apart(run, made_up, published):
    quick = {}
    for trials in DROPOUT.trials("quick", [0, 1]).values():
        quick |= {trial.digest: replace(run["MLP"], trial=trial) for trial in trials}
    html = rendered(study_context(DROPOUT, Known(quick, published, "quick")))
    assert "Short runs" in html and "not comparable" in html
    full = {trial.digest: trial for [trial] in STUDIES["report"].trials("full", [0]).values()}
    long_mlp = next(replace(run["MLP"], trial=trial) for trial in full.values()
                    if trial.model == "mlp")
    groups = page.scores_table({"MLP": long_mlp, "CNN": run["CNN"]}).groups
    assert [[row[0] for row in rows] for _, rows in groups] == [
        ["MLP, this run", "MLP, original report", "CNN, original report"], ["CNN, this run"]]
    assert not groups[0][0] and "not comparable" in groups[1][0]


def test_a_third_network_has_its_slot(run, published, monkeypatch):
    study, third = STUDIES["report"], "modern CNN"
    arms = study.arms | {third: study.arms["CNN"]}
    monkeypatch.setitem(STUDIES, "report", replace(study, arms=arms))
    three = run | {third: run["CNN"]}
    context = page._own_context(three, fashion_mnist_sample(), Known({}, published, "smoke"))
    names = [network["name"] for network in context["run"]]
    assert names == ["MLP", "CNN", third] == context["shorter"]
    assert context["scores"].groups[-1][1][-1][0] == "modern CNN, this run"
    assert context["provenance"].header == ["", "MLP", "CNN", third]


def test_pictures_need_something_to_show(made_up):
    assert page.plot_study(DROPOUT, {arm: {} for arm in DROPOUT.arms}) is None
    one_arm = study_records(DROPOUT, by_network(made_up(DROPOUT, ["0.1"])))
    assert page.plot_study(DROPOUT, one_arm) is None  # nothing to compare
    one_seed = study_records(DROPOUT, by_network(made_up(DROPOUT, ["0.5"], 1)))
    [axes] = page.plot_study(DROPOUT, one_arm | {"0.5": one_seed["0.5"]}).axes
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels[2::4] == ["0.1  (n = 10)", "0.5  (n = 1)"]
    assert len(axes.containers) == 1  # one seed has no interval


def test_made_up_arms_are_marked(published):
    study = STUDIES["filters"]
    [(_, rows)] = study_table(study, Known({}, published).arms(study)[1]).groups
    assert [row[0] for row in rows][-1] == "32-64-128-128-128 *"


def test_every_count_of_claims_comes_from_one_list(published):
    context = page.claims_context(Known({}, published))
    assert len(context["rows"]) == len(judge(by_network(published))) > context["findings"]
    assert sum(context["counts"].values()) == context["findings"]
    undecided = [j for j in findings(judge(by_network(published))) if j.verdict == "not decidable"]
    assert context["open"] == sum(not j.lacking for j in undecided)
    assert context["lacking"] >= context["unrun"] == sum(not j.runs for j in undecided)
    assert context["by_images"] >= context["these_images"]
    assert all(len(row) == 6 for row in context["choices"])
    assert all(len(row) == 4 for row in context["sensitivity"] + context["history"])


def test_what_was_planned_stands_beside_what_was_run(published):
    "With the date on which the number was fixed; nothing is decided on readings without results."
    rows = page.seeds_table(Known({}, published)).groups[0][1]
    assert ["activation", "gelu, relu", 31, "2026-11-28"] in [row[:4] for row in rows]
    assert ["dropout", "all", 10, "not written down", "10 to 31"] in rows
    nothing = page.reading_context(Known({}, {}))
    assert nothing["chosen"] is None and nothing["missing"]["everywhere"] == 3
    assert [row[0] for row in nothing["table"].groups[0][1]] == [*READINGS, "the original"]


def test_a_machine_of_which_little_is_known(run):
    "A line of results must name device and threads, no more."
    result = replace(run["MLP"], machine={"device": "cpu", "threads": 2})
    told = page.provenance([result], [])
    assert told["machines"] == ["cpu (?, threads: 2), float32"]
    assert told["versions"] == ["fmnist ?, NumPy ?, PyTorch ?, Python ?"]


def test_the_reading_is_chosen_by_validation(made_up):
    "Within 0.1 points the one closest to what is printed; nothing before all have three seeds."
    study = STUDIES["reading"]
    found = made_up(study, seeds=3)

    def with_validation(**percent):
        names = dict(zip(("literal_5", "literal_2", "alex_5", "alex_2"), READINGS, strict=True))
        settings = {names[key]: value for key, value in percent.items()}
        trials = study.trials("full", 3).items()
        digests = {t.digest: settings[name] for name, each in trials for t in each}
        return Known({key: replace(r, valid=digests[key] / 100) for key, r in found.items()}, {})

    def chosen(**percent):
        return page.reading_context(with_validation(**percent))["chosen"]

    literal_2, literal_5 = "literal, dropout 0.2", "literal, dropout 0.5"
    alex_5 = "as AlexNet, dropout 0.5"
    assert chosen(literal_5=92.0, literal_2=92.5, alex_5=92.3, alex_2=92.1) == literal_2
    assert chosen(literal_5=92.42, literal_2=92.5, alex_5=92.3, alex_2=92.1) == literal_5
    assert chosen(literal_5=92.0, literal_2=92.1, alex_5=92.3, alex_2=92.25) == alex_5
    few = Known({key: r for key, r in list(found.items())[1:]}, {})
    assert page.reading_context(few)["chosen"] is None


def test_the_page_without_published_results(run, tmp_path):
    "A fresh package would have none: nothing may fail, and nothing may be invented."
    known = Known({result.trial.digest: result for result in run.values()}, {}, "smoke")
    path = page.write_report(run, fashion_mnist_sample(), known, tmp_path / "index.html")
    text = path.read_text()
    for number in range(2, 10):
        assert f"<h3>Figure {number}: " in text
    assert "only the small sample" in text
    assert "modern CNN of this run had fewer epochs" in " ".join(text.split())
    words = re.sub(r'src="[^"]*"', "", text)
    assert not re.search(r">\s*None\s*<|\b(nan|inf)\b", words)


@pytest.mark.ci
def test_nothing_of_matplotlib_keeps_the_page_from_being_written(folder, tmp_path):
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\n")
    output = tmp_path / "page" / "index.html"
    words = ["--budget", "smoke", "--folder", str(folder), "--output", str(output)]
    command = f"""from fmnist import report
report.published_folder = lambda: "nowhere"  # fewer figures are drawn
report.fmnist_report({[*words, "--check"]})
report.fmnist_report({words})"""
    settings = {"MATPLOTLIBRC": str(tmp_path / "matplotlibrc"), "MPLBACKEND": "module://not_there"}
    called = [sys.executable, "-c", command]
    done = subprocess.run(called, env=os.environ | settings, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert output.stat().st_size > 100_000


def test_a_place_that_is_none_is_found_before_the_training(tmp_path):
    (tmp_path / "file").write_text("")
    for output, reason in ((tmp_path, "it is a folder"), (tmp_path / "file" / "index.html", "")):
        said = f"fmnist_report: --output .* cannot be written: {reason}"
        with pytest.raises(SystemExit, match=said):
            page.fmnist_report(["--check", "--output", str(output)])
    assert page.fmnist_report(["--check", "--output", str(tmp_path / "new" / "index.html")]) is None
    with pytest.raises(SystemExit, match="^fmnist_report: .*File name too long"):
        page.fmnist_report(["--folder", "a"*300, "--output", str(tmp_path / "new" / "index.html")])


@pytest.mark.ci
def test_on_a_phone(visit, report):  # noqa: F811
    opened, wrong = visit(report, "index.html", viewport=PHONE)
    assert opened.locator("img").count() == (report / "index.html").read_text().count("<img ") >= 5
    wrong += opened.evaluate(LOOK)
    assert not wrong, wrong


@pytest.mark.ci
def test_screenshot(visit, report):  # noqa: F811
    opened, _ = visit(report, "index.html", viewport={"width": 1100, "height": 2000})
    assert len(opened.screenshot()) > 30_000  # an empty page has a few
