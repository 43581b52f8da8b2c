"What a study has found, in each of its forms."

import csv
import io
from dataclasses import replace

import pytest

from fmnist.store import append_record, published_folder, read_records
from fmnist.studies import STUDIES, Findings, chosen_by_validation, collect
from fmnist.trials import Failure


@pytest.fixture(scope="module")
def found():
    return STUDIES["dropout"].read(published_folder())


def test_every_form_has_every_arm(found):
    frame, rows = found.frame(), list(csv.DictReader(io.StringIO(found.csv())))
    runs = {name: len(records) for name, records in found.arms.items()}
    assert len(frame) == len(rows) == sum(runs.values()) >= 70 and set(frame["arm"]) == set(runs)
    assert {row["outcome"] for row in rows} == {"done"} and "commit" in rows[0]
    latex = found.latex()
    arms, compared = latex.split(r"\end{tabular}")[:2]
    assert arms.count(r"\\") == compared.count(r"\\") + 1 == 8 and r"\toprule" in arms
    for name, number in runs.items():
        assert f"\n  {name} " in found.table() and f"\n{name} & {number} & 0 & " in latex


def test_csv_is_written_to_a_file(found, tmp_path):
    found.csv(tmp_path / "found.csv")
    assert (tmp_path / "found.csv").read_text() == found.csv()


def test_the_figure_has_a_tick_for_each_seed(found):
    figure = found.plot()
    ticks = [line for line in figure.axes[0].lines if line.get_marker() == "|"]
    assert [len(line.get_xdata()) for line in ticks] == [10] * len(found.study.pairs)


def test_failures_are_rows_too():
    found = STUDIES["learning_rate"].read(published_folder())
    kinds = [getattr(record, "kind", "done") for runs in found.arms.values()
             for record in runs.values()]
    assert list(found.frame()["outcome"]) == kinds and "diverged" in kinds


def test_results_of_other_code_are_counted(found):
    assert "left out" not in found.table()
    assert "12 results of other code left out." in replace(found, other_code=12).table()


def test_folders_are_read_as_one(tmp_path):
    study, records = STUDIES["best_mlp"], read_records(published_folder())
    arms = collect(study, records, "full")
    assert study.read(tmp_path, published_folder()).arms == arms
    assert not any(study.read(tmp_path).arms.values())


def test_a_failure_in_one_folder_hides_no_result_in_another(tmp_path):
    study = STUDIES["best_mlp"]
    [done] = collect(study, read_records(published_folder()), "full", [0])["Table 1"].values()
    failure = Failure(done.trial, "error", "a full disk", 1.0, {}, "2999-01-01T00:00:00+00:00")
    append_record(tmp_path / "best_mlp.jsonl", failure)
    for folders in ((tmp_path, published_folder()), (published_folder(), tmp_path)):
        assert study.read(*folders).arms["Table 1"][0] == done


def test_a_small_p_is_not_called_nought():
    table = STUDIES["activation"].read(published_folder()).table()
    assert "corrected p < 0.001" in table and "p = 0.000" not in table


def test_validation_does_not_choose_where_nothing_was_held_out():
    fast = STUDIES["fast_cnn"].read(published_folder()).arms["fast"]
    two = {"one": fast, "another": fast}
    said = "Nothing was held out in some arms: validation does not choose."
    assert chosen_by_validation(two) == said
    assert "alidation" not in Findings(STUDIES["fast_cnn"], {"fast": fast}).table()
