"What fmnist_run and fmnist_results promise to who types them."

from dataclasses import replace
from types import SimpleNamespace

import pytest

from fmnist.store import read_records
from fmnist.studies import GROUPS, MLP_STUDIES, STUDIES, Study, fmnist_results, fmnist_run, mlp_arm
from fmnist.study_cli import dry_run, estimate, find_studies, power_line
from fmnist.trials import Result, Trial, data_name


@pytest.fixture
def folder(tmp_path):
    "Results of one short study, with a seed for each arm."
    fmnist_run(["initialization", "--budget", "smoke", "--seeds", "1", "--folder", str(tmp_path)])
    return tmp_path


def test_what_one_study_has_run_another_does_not_run_again(folder, capsys):
    names = ["initialization", "activation"]
    words = [*names, "--budget", "smoke", "--seeds", "1", "--folder", str(folder)]
    fmnist_run(words)
    lines = [len((folder / f"{name}.jsonl").read_text().splitlines()) for name in names]
    assert lines == [3, 3]  # gelu is the baseline, which was there
    assert "6 trials done, 0 failed" in capsys.readouterr().out


def test_results_of_two_machines_are_shown_together(folder, tmp_path, capsys):
    words = ["initialization", "--budget", "smoke"]
    fmnist_run([*words, "--seed", "1", "--folder", str(tmp_path / "other")])
    capsys.readouterr()
    fmnist_results([*words, "--folder", str(folder), "--also", str(tmp_path / "other")])
    assert "p = " in (said := capsys.readouterr().out) and ", 2 seeds: " in said
    with pytest.raises(SystemExit):
        fmnist_results([*words, "--also", str(tmp_path / "nowhere")])
    assert "--also: there is no folder" in capsys.readouterr().err


def test_some_arms(tmp_path, capsys):
    "Only those are run, and shown with the comparisons between them."
    names, arms = ["dropout", "initialization"], ["0.5", "0.1", "he"]
    words = [*names, "--budget", "smoke", "--folder", str(tmp_path), "--arms", *arms]
    fmnist_run(words)
    counts = [len((tmp_path / f"{name}.jsonl").read_text().splitlines()) for name in names]
    assert counts == [4, 2] and "6 trials done" in capsys.readouterr().out
    fmnist_results(words)
    said = capsys.readouterr().out
    assert "0.5 against 0.1" in said and "he against" not in said and "  0.3  " not in said


def test_a_study_of_ones_own_is_run_as_it_is_written(tmp_path, monkeypatch, capsys):
    "As `Study.run` does; the package's are tried with few epochs first."
    (tmp_path / "own_study.py").write_text(
        "from fmnist.studies import Study, arm\n"
        "each = arm('mlp', layers=[10], activations=['softmax'], epochs=7)\n"
        "arms = {'one': each, 'bad': each | {'settings': {}}}\n"
        "study = Study('own', 'How?', arms, data='sample')\n"
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="some trials failed"):
        fmnist_run(["own_study.py:study", "--seeds", "1"])
    fmnist_results(["own_study.py:study"])
    assert "bad, seed 0: error, " in capsys.readouterr().out
    [done] = [each for each in read_records(tmp_path / "runs").values() if isinstance(each, Result)]
    assert done.trial.epochs == 7


@pytest.mark.parametrize("words, said", [
    (["initialization"], "has no results of initialization at --budget quick"),
    (["initialization", "--budget", "smoke", "--seed", "99"], "with the seeds asked for (99)"),
    (["dropout", "--arms", "0.5", "--budget", "smoke", "--seed", "99"],
     "fmnist_run dropout --budget smoke --seed 99 --arms 0.5 --folder"),
    (["dropout", "--published"],
     "no published results of dropout at --budget quick: try --budget full"),
    (["hidden_layers", "--published", "--budget", "full", "--seed", "999"],
     "no published results of hidden_layers"),
])  # fmt: skip
def test_no_result_is_said_with_the_remedy(folder, words, said):
    with pytest.raises(SystemExit) as stopped:
        fmnist_results([*words, "--folder", str(folder)])
    assert said in str(stopped.value)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(SystemExit, match="there is no folder"):
        fmnist_results(["--folder", str(tmp_path / "nowhere")])


@pytest.mark.parametrize("words, said", [
    (["nonsense"], "a study is 'nonsense', expected one of dropout"),
    (["nowhere.py:study"], "the file of a study is 'nowhere.py'"),
    (["report", "--budget", "huge"], "invalid choice: 'huge'"),
    (["report", "--seeds", "0"], "not a whole number of at least 1"),
    (["report", "--workers", "-1"], "--workers"),
    (["dropout", "--arms", "0.6"], "--arms is '0.6', expected some of '0.01', '0.05'"),
    (["report", "--seed", "1", "--seeds", "2"], "give one of the two"),
    (["report", "--workers", "2", "--scheduler", "tcp://nowhere:1"], "are those that it has"),
])  # fmt: skip
def test_misspelt_words_are_refused_in_a_sentence(capsys, words, said):
    with pytest.raises(SystemExit):
        fmnist_run(words)
    assert said in capsys.readouterr().err


def test_a_dry_run_runs_nothing_and_knows_what_it_cannot_estimate(tmp_path, capsys):
    mistaken = Trial("mlp", {"layers": "three"}, 1, data=data_name("sample"))
    args = SimpleNamespace(folder=tmp_path, workers=1, studies=[])
    dry_run({"mistaken": [mistaken]}, args)
    said = capsys.readouterr().out
    assert "unknown\n1 of 1 trials are missing" in said
    assert "without the 1 whose short training failed" in said
    assert not list(tmp_path.glob("*.jsonl"))


def test_a_dry_run_does_not_wait_for_a_cluster_without_workers(monkeypatch, tmp_path):
    empty = SimpleNamespace(nthreads=dict, get_executor=lambda pure: None, close=lambda: None)
    monkeypatch.setattr("fmnist.study_cli._cluster", lambda address: empty)
    words = ["initialization", "--folder", str(tmp_path), "--scheduler", "tcp://here:1",
             "--dry-run"]
    said = "the cluster has no worker: start one, `dask worker tcp://here:1`"
    with pytest.raises(SystemExit, match=said):
        fmnist_run(words)


def test_more_seeds_show_smaller_differences():
    words = power_line(STUDIES["dropout"], 20).split(": ", 1)[1]
    points = [float(part.split(": ")[1].split()[0].rstrip("."))
              for part in words.rstrip(".").split("; ")]
    assert points == sorted(points, reverse=True) and points[0] < 5, words


def test_networks_without_results_borrow_the_spread_of_others_of_their_kind():
    for study in GROUPS["cnn"]:
        assert "nan" not in power_line(study, 3), study.name


def test_an_estimate_leaves_no_image_alone_in_a_batch():
    "Batch normalisation would refuse it, and the time would not be known."
    trial = STUDIES["mlp_options"].trials("full")["+ batch normalisation"][0]
    seconds, _ = estimate([replace(trial, batch_size=2**power) for power in range(5, 10)])
    assert all(0 < each < 1000 for each in seconds)


def test_names_of_studies_groups_and_files(tmp_path):
    assert find_studies("mlp") == MLP_STUDIES
    (tmp_path / "own_study_file.py").write_text(
        "from fmnist.studies import Study, mlp_arm\n"
        "study = Study('own', '?', {'a': mlp_arm()})\nnumber = 3\n"
    )
    [study] = find_studies(f"{tmp_path}/own_study_file.py:study")
    assert study == Study("own", "?", {"a": mlp_arm()})
    with pytest.raises(ValueError, match="own_study_file.py:number is 'int', expected a `Study`"):
        find_studies(f"{tmp_path}/own_study_file.py:number")
