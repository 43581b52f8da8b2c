"What a folder of results survives: torn lines, forged lines, other programs' files, links, pipes."

import base64
import bz2
import json
import os
import subprocess
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest
from campaign import mutate

from fmnist.report import fmnist_report
from fmnist.runner import missing_trials, run_trials
from fmnist.store import (
    append_record,
    compare_lines,
    forget_states,
    lock_folder,
    publish_results,
    published_folder,
    read_records,
    read_results,
    retrained_notes,
    set_aside_torn,
    study_files,
    valid_record,
)
from fmnist.studies import fmnist_results, report_trials
from fmnist.trials import Failure, Result, Trial, attempt, data_name, pack_offsets

SETTINGS = dict(layers=[8, 10], activations=["relu", "softmax"], learning_rate=0.1)
TRIAL = Trial("mlp", SETTINGS, 2, images=600, data=data_name("sample"))
RESULT = attempt(TRIAL)
LINE = RESULT.to_dict()
ADDED = ("valid", "offsets", "train")  # Fields that lines of the first versions lack
FAILURE = Failure(TRIAL, "error", "FileNotFoundError: /home/somebody/data", 1.0, {}, "2026-01-01")
DIVERGED = replace(FAILURE, kind="diverged", error="the loss became nan")


def seeds(*numbers):
    return [replace(RESULT, trial=replace(TRIAL, seed=number)) for number in numbers]


def write(path, *records):
    for record in records:
        append_record(path, record)
    return path


def as_lines(*contents):
    return "".join(json.dumps(content) + "\n" for content in contents)


def changed(place, value):
    "The line with another value at a place such as ('scores', 'accuracy')."
    content = json.loads(json.dumps(LINE))
    part = content
    for name in place[:-1]:
        part = part[name]
    part[place[-1]] = value
    return content


# What can be a record


def test_records_are_valid():
    "Ours are, with all that is published; what comes back is the record itself."
    for record in (RESULT, FAILURE, DIVERGED, replace(DIVERGED, history=RESULT.history)):
        assert valid_record(json.loads(json.dumps(record.to_dict()))) == record
    guess = attempt(Trial("chance", {}, 1, data=TRIAL.data))
    assert not guess.history.epochs and valid_record(guess.to_dict()) == guess
    lines = [
        line
        for path in published_folder().glob("*.jsonl")
        for line in path.read_text().splitlines()
    ]
    assert (
        len([valid_record(json.loads(line)) for line in lines])
        == len(lines)
        == len(read_records(published_folder()))
    )


COLUMNS = LINE["history"]
IMPOSSIBLE = {
    ("digest",): [None, 7, "0123456789ab", ["a"]],
    # the last is another trial under the old digest
    ("trial", "seed"): ["a", -1, 1.5, True, None, 1],
    ("trial", "epochs"): [0, "2", None, 3],
    ("trial", "settings"): [None, [], {}],
    ("trial", "model"): [None, 3, "", "cnn"],
    ("trial", "images"): [0, -5, "600"],
    ("trial",): [None, [], "mlp", {}],
    ("scores", "accuracy"): [7, -0.1, None, "0.9", float("nan"), float("inf"), True, [0.9], 0.123],
    ("scores", "f1"): [1.01, None, "1"],
    ("scores", "loss"): [None, float("nan"), float("inf"), "2", 10**400],
    ("scores", "confusion"): [None, [], [[1]], [[1, 2], [3]], 5, [[0]*10]*10, [[0.5]*10]*10,
                              [["1"]*10]*10, [[-1]*10]*10],
    ("scores",): [None, [], {}],
    ("history",): [None, [], {}, {name: [] for name in COLUMNS}, COLUMNS | {"seconds": [1.0]}],
    ("history", "train_loss"): [None, 3, ["a", "b"], [float("nan"), 1.0], [1.0]*3],
    ("history", "valid_accuracy"): [[0.5, 2], [0.5, None]],
    ("history", "seconds"): [[1.0, -1.0]],
    ("mistakes",): [None, 5, [[1, 2]], [[0, 99, 1, 0.5]], [[0, 1, 2, 1.5]], [[0.5, 1, 2, 0.5]],
                    [None]],
    ("parameters",): [None, -1, "many", 1.5],
    ("precision",): [None, "float7", 32],
    ("seconds",): [None, -1, float("nan"), "3", float("inf")],
    ("machine",): [None, [], {}, {"device": "cpu"}, {"device": {}, "threads": 1},
                   {"device": "cpu", "threads": 0}, {"device": "\ud800", "threads": 1},
                   {"device": "a\nb", "threads": 1}],
    ("finished",): [None, 5, "\ud800"],
    ("valid",): [7, "1", float("nan")],
    ("train",): [-1, "1"],
    ("offsets",): [7, "?", "", base64.b64encode(b"no bz2").decode(),
                   pack_offsets([1, 2, 3], np.eye(4)[1:]),
                   base64.b64encode(bz2.compress(bytes(10**7))).decode()],
}  # fmt: skip


@pytest.mark.parametrize("place", IMPOSSIBLE, ids=".".join)
def test_values_that_cannot_be(place, tmp_path):
    "Such a line is named, and its trial runs again."
    for value in IMPOSSIBLE[place]:
        path = tmp_path / "study.jsonl"
        path.write_text(as_lines(changed(place, value), seeds(1)[0].to_dict()))
        with pytest.warns(UserWarning, match="study.jsonl, line 1: not a complete result"):
            known = read_records(tmp_path)
        assert list(known) == [replace(TRIAL, seed=1).digest], value
        with pytest.warns(UserWarning, match="line 1"):
            assert list(missing_trials({"study": [TRIAL, replace(TRIAL, seed=1)]}, tmp_path)) == [
                TRIAL.digest
            ]


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "tired"},
        {"error": 5},
        {"error": "\ud800"},
        {"seconds": None},
        {"machine": []},
        {"history": {"train_loss": [1]}},
    ],
    ids=str,
)
def test_failures_that_cannot_be(change):
    with pytest.raises(ValueError):
        valid_record(FAILURE.to_dict() | change)


@pytest.mark.parametrize("name", LINE)
def test_a_field_that_is_missing(name, tmp_path):
    "Only those that older lines lack may be."
    path = tmp_path / "study.jsonl"
    path.write_text(
        as_lines(seeds(1)[0].to_dict(), {key: value for key, value in LINE.items() if key != name})
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert len(read_records(tmp_path)) == (2 if name in ADDED else 1)
    assert len(caught) == (0 if name in ADDED else 1)


def test_without_validation():
    "A trial that sets no images aside has nothing to say of them."
    trial = replace(TRIAL, valid_fraction=0)
    columns = COLUMNS | {"valid_loss": [float("nan")] * 2, "valid_accuracy": [float("nan")] * 2}
    content = replace(RESULT, trial=trial).to_dict() | {"history": columns}
    assert valid_record(content).trial == trial


def test_what_a_run_gives_is_looked_at(tmp_path):
    "A record that could not be read again is not written; its trial has failed."
    from concurrent.futures import ThreadPoolExecutor

    impossible = replace(RESULT.scores, accuracy=7.0)
    answers = [
        lambda trial: None,
        lambda trial: replace(RESULT, trial=trial, scores=impossible),
        lambda trial: replace(RESULT, trial=replace(trial, seed=9)),
        lambda trial: replace(RESULT, trial=trial, parameters=np.int64(5)),
        lambda trial: replace(RESULT, trial=trial),
    ]

    def run(trial, folder):
        return answers[trial.seed](trial)

    run.__module__ = "elsewhere"
    trials = [replace(TRIAL, seed=seed) for seed in range(5)]
    with ThreadPoolExecutor(1) as pool:
        records = list(run_trials({"study": trials}, tmp_path, pool, run=run).values())
    assert [isinstance(record, Result) for record in records] == [False] * 4 + [True]
    words = ["expected a Result", "accuracy is 7.0", "as asked for", "not JSON serializable"]
    for record, said in zip(records, words, strict=False):
        assert said in record.error and record.error.endswith("3 times")
    assert read_records(tmp_path) == {record.trial.digest: record for record in records}


# Lines of a file


@pytest.mark.parametrize(
    "how", [lambda content: content[:-100], lambda content: content[:-100] + bytes(100)]
)
def test_torn_last_line(tmp_path, how):
    "Cut, or zeros at its end, as some file systems leave it: set aside, and its trial runs again."
    path = write(tmp_path / "study.jsonl", *seeds(0, 1))
    path.write_bytes(how(path.read_bytes()))
    with pytest.warns(UserWarning, match="line 2: not a complete result"):
        assert list(read_records(path)) == [TRIAL.digest]
    with pytest.warns(UserWarning, match="the last line is torn; it is moved to study.jsonl.torn"):
        set_aside_torn(path)
    assert path.read_bytes().endswith(b"}\n") and (tmp_path / "study.jsonl.torn").stat().st_size
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(read_records(path)) == [TRIAL.digest]
        set_aside_torn(path)


@pytest.mark.parametrize("content", [b"", b"\n", bytes(300), b'{"digest": "01234'])
def test_torn_only_line(tmp_path, content):
    "A power cut in a study's first line leaves a file that is still ours."
    (tmp_path / "study.jsonl").write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        records = run_trials({"study": [TRIAL]}, tmp_path, workers=1)
    assert isinstance(records[TRIAL.digest], Result) and read_results(tmp_path).keys() == {
        TRIAL.digest
    }


def test_line_without_end(tmp_path):
    path = write(tmp_path / "study.jsonl", RESULT)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    set_aside_torn(path)
    assert path.read_bytes() == whole and not (tmp_path / "study.jsonl.torn").exists()


def test_which_record_counts(tmp_path):
    "A result before a diverged loss, that before other failures; then the later line or time."
    path = write(tmp_path / "a.jsonl", FAILURE, RESULT, DIVERGED)
    assert list(read_results(path).values()) == [RESULT]
    write(tmp_path / "x" / "b.jsonl", FAILURE)
    write(tmp_path / "x" / "a.jsonl", replace(FAILURE, finished="2026-01-02"))
    assert read_records(tmp_path / "x")[TRIAL.digest].finished == "2026-01-02"
    write(
        tmp_path / "x" / "a.jsonl", replace(FAILURE, kind="killed", finished="2025-01-01")
    )  # by a slow clock
    assert read_records(tmp_path / "x" / "a.jsonl")[TRIAL.digest].kind == "killed"
    write(tmp_path / "x" / "a.jsonl", replace(DIVERGED, finished="2026-01-03"))
    write(tmp_path / "x" / "b.jsonl", replace(FAILURE, kind="killed", finished="2026-01-04"))
    assert read_records(tmp_path / "x")[TRIAL.digest].kind == "diverged"
    assert read_records(tmp_path / "nowhere") == {}


def newer(**more):
    "A line of a version that has more fields."
    from fmnist.trials import digest_of

    trial = TRIAL.to_dict() | more
    return {"colour": "green"} | LINE | {"digest": digest_of(trial), "trial": trial}


def test_newer_versions(tmp_path):
    "A trial with a field that we do not know keeps its own digest, and is not mistaken for ours."
    (tmp_path / "study.jsonl").write_text(
        as_lines(LINE, newer(mirrored=True), newer() | {"digest": "0123456789ab"})
    )
    with pytest.warns(UserWarning, match="line 3"):
        assert list(read_records(tmp_path)) == [TRIAL.digest, newer(mirrored=True)["digest"]]


# Files of a folder


def strangers(folder):
    "Everything that may be called study.jsonl and is not ours; name -> what it holds."
    (folder / "prices.jsonl").write_text('{"apples": 3}\n{"pears": 4')
    (folder / "torn.jsonl").write_bytes(b"no json at all")
    (folder / "list.jsonl").write_text("[1, 2]\n" + json.dumps(LINE))
    (folder / "folder.jsonl").mkdir()
    (folder.parent / "elsewhere.txt").write_text(json.dumps(LINE)[:-9])
    (folder / "link.jsonl").symlink_to(folder.parent / "elsewhere.txt")
    (folder / "dangling.jsonl").symlink_to(folder / "nothing")
    os.mkfifo(folder / "fifo.jsonl")
    return ["dangling", "fifo", "folder", "link", "list", "prices", "torn"]


@pytest.mark.skipif(sys.platform == "win32", reason="links and pipes need POSIX")
def test_other_programs_files(tmp_path):
    "They are named once, and neither read, nor mended, nor waited for."
    folder = tmp_path / "runs"
    write(folder / "study.jsonl", RESULT)
    names = strangers(folder)
    before = {
        path: path.read_bytes()
        for path in [*folder.iterdir(), tmp_path / "elsewhere.txt"]
        if path.is_file()
    }
    with pytest.warns(
        UserWarning, match=f"{', '.join(f'{name}.jsonl' for name in names)} is left alone"
    ):
        assert list(read_records(folder)) == [TRIAL.digest]
    with pytest.warns(UserWarning, match="left alone"):
        run_trials({"study": [TRIAL]}, folder)
    with pytest.warns(UserWarning, match="left alone"):
        publish_results(folder, tmp_path / "target", TRIAL.data)
    assert [path.name for path in (tmp_path / "target").iterdir()] == ["study.jsonl"]
    assert all(path.read_bytes() == content for path, content in before.items())
    for name in names:
        with pytest.raises(ValueError, match="expected a file of results: rename it, or the study"):
            run_trials({name: [replace(TRIAL, seed=1)]}, folder)
    assert (
        not list(folder.glob("*.torn"))
        and (tmp_path / "elsewhere.txt").read_text() == json.dumps(LINE)[:-9]
    )


def test_only_the_plan_is_mended(tmp_path):
    "The torn line of another study is its own run's affair."
    torn = write(tmp_path / "other.jsonl", RESULT).read_bytes()[:-20]
    (tmp_path / "other.jsonl").write_bytes(torn)
    with pytest.warns(UserWarning, match="other.jsonl, line 1"):
        run_trials({"study": [TRIAL]}, tmp_path, workers=1)
    assert (tmp_path / "other.jsonl").read_bytes() == torn and study_files(tmp_path)[
        0
    ].name == "other.jsonl"


@pytest.mark.parametrize("name", ["", "a/b", "..", "a\0b", "a\nb", "x" * 201, 5])
def test_names_that_are_no_files(name, tmp_path):
    with pytest.raises(ValueError, match="expected what can be a file's name"):
        run_trials({name: [TRIAL]}, tmp_path)


def test_states_are_forgotten(tmp_path):
    "With all their suffixes, and the hidden file of a worker that was killed as it wrote."
    states = tmp_path / "checkpoints"
    states.mkdir()
    for name in ("abc", "abc.pth", "abc.last.pth", ".abc.pth.12-34.tmp", "abd.pth"):
        (states / name).touch()
    forget_states(tmp_path, {"abc"})
    assert [path.name for path in states.iterdir()] == ["abd.pth"]
    forget_states(tmp_path / "nowhere", {"abc"})


def test_lock_is_freed_by_death(tmp_path):
    "Whoever holds a folder and is killed holds it no more."
    code = "import sys, time; from fmnist.store import lock_folder\n"
    code += "with lock_folder(sys.argv[1]): print(1, flush=True); time.sleep(99)"
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"1\n"
    with pytest.raises(BlockingIOError, match="another run is writing into"), lock_folder(tmp_path):
        pass
    holder.kill()
    holder.wait()
    holder.stdout.close()
    with lock_folder(tmp_path), pytest.raises(BlockingIOError), lock_folder(tmp_path):
        pass


# Publishing


def test_publish(tmp_path):
    "Sorted by what was run; what is there stays, whoever wrote it; so do newer versions' fields."
    source, target = tmp_path / "runs", tmp_path / "published"
    source.mkdir()
    lines = [as_lines({"colour": "green"} | record.to_dict()) for record in seeds(2, 10, 1)]
    (source / "study.jsonl").write_text("".join(lines))
    publish_results(source, target, TRIAL.data)
    assert (target / "study.jsonl").read_text() == lines[2] + lines[0] + lines[1]

    (source / "other.jsonl").write_text("".join(lines[:2]))  # nothing that is not published already
    other = replace(TRIAL, batch_size=32)
    write(
        source / "failed.jsonl",
        replace(FAILURE, trial=replace(TRIAL, seed=3)),
        replace(DIVERGED, trial=other),
    )
    (source / "study.jsonl").write_text(lines[2].replace("green", "blue"))
    publish_results(source, target, TRIAL.data)
    assert sorted(path.name for path in target.iterdir()) == ["failed.jsonl", "study.jsonl"]
    assert [record.kind for record in read_records(target / "failed.jsonl").values()] == [
        "diverged"
    ]
    assert (target / "study.jsonl").read_text() == lines[2] + lines[0] + lines[1]
    write(source / "failed.jsonl", replace(RESULT, trial=other))  # a later success changes nothing
    publish_results(source, target, TRIAL.data)
    assert [record.kind for record in read_records(target / "failed.jsonl").values()] == [
        "diverged"
    ]

    elsewhere = as_lines(
        replace(RESULT, trial=replace(TRIAL, seed=4, data=data_name("full"))).to_dict()
    )
    tomorrow = as_lines(
        {"digest": "0123456789ab", "trial": {"model": "one of tomorrow", "seed": "x"}},
        {"digest": "b", "trial": 3},
    )
    with open(target / "study.jsonl", "a") as file:
        file.write(tomorrow + elsewhere)
    publish_results(source, target, TRIAL.data)
    expected = [*(elsewhere + lines[2] + lines[0] + lines[1]).splitlines(), *tomorrow.splitlines()]
    assert sorted((target / "study.jsonl").read_text().splitlines()) == sorted(expected)


def test_what_counts_is_published(tmp_path):
    "Of several lines of a trial the one that `read_records` gives, whatever stands first."
    source, target = tmp_path / "runs", tmp_path / "published"
    write(source / "merged.jsonl", replace(DIVERGED, trial=TRIAL), RESULT)
    publish_results(source, target, TRIAL.data)
    assert read_records(target) == read_records(source) == {TRIAL.digest: RESULT}


def test_newer_lines_replace_older_ones_if_asked(tmp_path):
    "In the file where the older one stands; it is counted, and noted, what is different."
    source, again, target = (tmp_path / name for name in ("runs", "again", "published"))
    diverged = replace(DIVERGED, trial=replace(TRIAL, seed=3))
    write(source / "study.jsonl", *seeds(0, 1, 2), diverged)
    assert publish_results(source, target, TRIAL.data, replace=True).added == 4
    assert not retrained_notes(target)

    def later(record, **changes):
        return replace(record, finished="2999-01-01T00:00:00+00:00", **changes)

    first, second, third = seeds(0, 1, 2)
    table = np.array(second.scores.confusion)
    right = next(i for i in range(10) if table[i, i])  # one image that the new run gets wrong
    table[right, right] -= 1
    table[right, (right + 1) % 10] += 1
    changes = dict(accuracy=float(table.trace() / table.sum()),
                   confusion=tuple(map(tuple, table.tolist())))
    worse = replace(second.scores, **changes)
    other = later(second, scores=worse, offsets=None, mistakes=())
    mended = later(third, trial=diverged.trial)
    write(again / "other.jsonl", later(first), other, mended, replace(third, seconds=9.0))
    before = (target / "study.jsonl").read_bytes()
    assert publish_results(again, target, TRIAL.data).replaced == 0
    assert (target / "study.jsonl").read_bytes() == before and not (target / "other.jsonl").exists()

    what = publish_results(again, target, TRIAL.data, replace=True)
    step = 100 / table.sum()
    assert what[:5] == (0, 3, 1, 1, 1) and what.largest == pytest.approx(step, rel=1e-3)
    assert "3 replaced: 1 with the same confusion matrix, 1 with another accuracy" in str(what)
    kept = read_records(target / "study.jsonl")
    assert kept[first.trial.digest].finished.startswith("2999")
    assert kept[third.trial.digest] == third  # not newer, so it stays
    assert isinstance(kept[diverged.trial.digest], Result)
    [note] = retrained_notes(target)
    assert (note["replaced"], note["alike"], note["outcome"]) == (3, 1, 1)
    assert publish_results(again, target, TRIAL.data, replace=True) == (0, 0, 0, 0, 0, 0.0)
    assert len(retrained_notes(target)) == 1


def git(*words):
    "What git says in this repository."
    top = published_folder().parent.parent
    return subprocess.run(["git", "-C", top, *words], capture_output=True, check=True).stdout


def lines_at(commit):
    "Digest -> line of all results that were published at a commit."
    found = {}
    for name in git("ls-tree", "--name-only", commit, "fmnist/results/").decode().split():
        if name.endswith(".jsonl"):
            text = git("show", f"{commit}:{name}").decode()
            found |= {line["digest"]: line for line in map(json.loads, text.splitlines())}
    return found


def test_notes_of_replacements_say_what_git_has():
    "Each commit that adds a note is compared with the one before it."
    notes = "fmnist/results/retrained.json"
    try:
        commits = git("log", "--format=%H", "--", notes).decode().split()
        shallow = git("rev-parse", "--is-shallow-repository").strip() == b"true"
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("there is no git, or no history")
    if shallow or not commits:
        pytest.skip("the history is not here, or nothing was replaced")
    for commit in commits:
        old = git("log", "-1", "--format=%H", f"{commit}^", "--", notes).decode().strip()
        known = json.loads(git("show", f"{old}:{notes}")) if old else []
        added = json.loads(git("show", f"{commit}:{notes}"))[len(known) :]
        before, after = lines_at(f"{commit}^"), lines_at(commit)
        changed = [key for key in before if after.get(key, before[key]) != before[key]]
        what = compare_lines([(before[key], after[key]) for key in changed], 0)
        for name in ("replaced", "alike", "accuracy", "outcome"):
            assert sum(note[name] for note in added) == getattr(what, name), (commit, name)


def test_publish_into_what_is_broken(tmp_path):
    "A published file with a line that is none is named and left as it is."
    source, target = tmp_path / "runs", tmp_path / "published"
    write(source / "study.jsonl", *seeds(1))
    target.mkdir()
    (target / "study.jsonl").write_text("{torn")
    with pytest.warns(UserWarning, match="study.jsonl, line 1: not a result; mend it first"):
        publish_results(source, target, TRIAL.data)
    assert (target / "study.jsonl").read_text() == "{torn"


def test_published_lines_keep_their_bytes(tmp_path):
    publish_results(published_folder(), tmp_path)
    for path in published_folder().glob("*.jsonl"):
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


# Commands


@pytest.fixture
def spoiled(tmp_path):
    "All published lines in a folder, every second damaged but those a report needs; and strangers."
    draw, folder = np.random.default_rng(1), tmp_path / "runs"
    folder.mkdir()
    wanted = {trial.digest for trial in report_trials("full", 0)}
    for path in published_folder().glob("*.jsonl"):
        lines = path.read_bytes().splitlines()
        for place, line in enumerate(lines):
            if place % 2 and json.loads(line)["digest"] not in wanted:
                lines[place] = mutate(line, draw).replace(b"\n", b" ")
        (folder / path.name).write_bytes(b"\n".join(lines))
    strangers(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield folder


@pytest.mark.skipif(sys.platform == "win32", reason="links and pipes need POSIX")
def test_commands_read_a_spoiled_folder(spoiled, tmp_path, capsys):
    "They show what counts, whatever lies beside it."
    fmnist_results(["initialization", "--budget", "full", "--folder", str(spoiled)])
    assert "initialization:" in capsys.readouterr().out
    publish_results(spoiled, tmp_path / "published")
    everything = len(read_records(published_folder()))
    assert everything / 3 < len(read_records(tmp_path / "published")) < everything


@pytest.mark.ci
@pytest.mark.skipif(sys.platform == "win32", reason="links and pipes need POSIX")
def test_a_report_of_a_spoiled_folder(spoiled, tmp_path):
    fmnist_report(
        ["--budget", "full", "--folder", str(spoiled), "--output", str(tmp_path / "page")]
    )
    assert (tmp_path / "page").stat().st_size > 100_000
