"""Results on the disk: a folder of files, one for each study, one line of JSON for each finished trial.

A plain module, without a notebook: its tests are in tests/test_store.py.

A folder of results may hold other things, too. Only regular files whose first line is a record of ours are read, only
those that are named after a study of the plan are mended, and a line counts only if its values can be a record
(`valid_record`). Everything else is left alone, with a warning that names file and line.
"""

import base64
import bz2
import hashlib
import json
import os
import stat
import warnings
from contextlib import contextmanager, suppress
from importlib.resources import files
from itertools import islice
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from .checks import check, check_choice, is_number, is_whole
from .data import atomic_write
from .trials import LEARNERS, Failure, Result, data_name, is_final

__all__ = ["valid_record", "append_record", "set_aside_torn", "check_study_file", "study_files", "read_records",
           "read_results", "lock_folder", "forget_states", "published_folder", "published_results", "publish_results"]

PRECISIONS = ("float32", "bfloat16", "float16", "float64")  # What a model can compute in
COLUMNS = ("train_loss", "train_accuracy", "valid_loss", "valid_accuracy", "seconds")  # Of a history
WITH_EPOCHS = ("mlp", "modern_mlp", "cnn", "hybrid")  # Models that always have a history; others may have none
SHARES = ("train_accuracy", "valid_accuracy")  # Those of them that are from 0 to 1
CONTENT_ERRORS = (ArithmeticError, AttributeError, ImportError, LookupError, RecursionError, TypeError, ValueError)
LONGEST = 1 << 24  # Bytes of a line that are read at most to find out whose a file is
FIRST = 100  # Lines that are read at most for that


# What can be a record


def is_share(
    value,  # Anything
) -> bool:  # Is it an accuracy?
    "Is this a number from 0 to 1?"
    return is_number(value) and 0 <= value <= 1


def is_text(
    value,  # Anything
) -> bool:  # Can it be printed, in UTF-8?
    "Is this a string without half characters?"
    return isinstance(value, str) and value.isprintable() or value == ""


def digest_of(
    trial: dict,  # As it stands in a line, perhaps with fields that this version does not know
) -> str:  # 12 hexadecimal digits
    "What `Trial.digest` says of the trial; where its data are found is no part of it."
    content = {name: value for name, value in trial.items() if name != "source"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def check_trial(
    digest,  # What the line calls it
    trial,  # The dictionary that the line holds
):
    "A `ValueError` if this is no trial, or not the one of that digest."
    check(isinstance(trial, dict), "trial", trial, "a dictionary")
    for name in ("model", "data"):
        check(is_text(trial[name]), name, trial[name], "a name")
    check(is_text(trial.get("source", "")), "source", trial.get("source"), "a place, or nothing")
    check(is_whole(trial["seed"], 0), "seed", trial["seed"], "a whole number of at least 0")
    for name in ("epochs", "batch_size"):
        check(is_whole(trial[name]), name, trial[name], "a whole number of at least 1")
    images = trial.get("images")
    check(images is None or is_whole(images), "images", images, "a whole number of at least 1, or nothing")
    for name in ("settings", "training", "code"):
        check(isinstance(trial.get(name, {}), dict), name, trial.get(name), "a dictionary")
    fraction = trial.get("valid_fraction", 0.2)
    check(is_share(fraction) and fraction < 1, "valid_fraction", fraction, "a number from 0 to less than 1")
    check(digest == digest_of(trial), "digest", digest, f"{digest_of(trial)}, which is that of the trial")


def check_history(
    columns,  # Name of each column -> list with a value for each epoch
    trial: dict,  # What was trained
    least: int,  # How many epochs there must be
):
    "A `ValueError` if this is no history."
    check(isinstance(columns, dict), "history", columns, "a dictionary of columns")
    if not columns and least == 0:
        return
    lengths = {len(columns[name]) for name in COLUMNS}
    check(len(lengths) == 1, "history", sorted(lengths), "columns of equal length")
    check(least <= min(lengths) <= trial["epochs"], "history", min(lengths), f"{least} to {trial['epochs']} epochs")
    watched = COLUMNS if trial.get("valid_fraction") != 0 else ("train_loss", "train_accuracy", "seconds")
    for name in watched:
        good = is_share if name in SHARES else is_number
        bad = [value for value in columns[name] if not good(value)]
        check(not bad, name, bad[:1], "finite numbers, accuracies from 0 to 1")
    check(min(columns["seconds"], default=0) >= 0, "seconds", min(columns["seconds"], default=0), "at least 0")


def check_scores(
    scores,  # The dictionary that the line holds
):
    "A `ValueError` if these are no scores."
    check(isinstance(scores, dict), "scores", scores, "a dictionary")
    for name in ("accuracy", "precision", "recall", "f1"):
        check(is_share(scores[name]), name, scores[name], "a number from 0 to 1")
    check(is_number(scores["loss"]), "loss", scores["loss"], "a finite number")
    confusion = scores["confusion"]
    classes = len(confusion)
    check(classes > 1 and {len(row) for row in confusion} == {classes}, "confusion", confusion, "a square table")
    bad = [count for row in confusion for count in row if not is_whole(count, 0)]
    check(not bad, "confusion", bad[:1], "whole numbers of at least 0")
    images = sum(map(sum, confusion))
    check(images > 0, "confusion", images, "some images")
    right = sum(confusion[i][i] for i in range(classes))/images
    check(abs(scores["accuracy"] - right) < 1e-6, "accuracy", scores["accuracy"], f"{right:.7g}, as in the table")


def check_predictions(
    text,  # What `pack_labels` gave
    confusion: list,  # Counts of the same predictions
):
    "A `ValueError` if these are not the predictions that the table counts; no more is unpacked than there can be."
    columns = np.sum(confusion, axis=0)
    packed = base64.b64decode(text, validate=True)
    try:
        labels = bz2.BZ2Decompressor().decompress(packed, 2*int(columns.sum()) + 2)
    except OSError as error:
        raise ValueError(f"predictions cannot be unpacked: {error}") from None
    counts = np.bincount(np.frombuffer(labels, "<u2"), minlength=len(columns))
    check(counts.tolist() == columns.tolist(), "predictions", counts.tolist(), f"{columns.tolist()}, as in the table")


def check_mistake(
    mistake,  # [image, label, prediction, probability], perhaps with more
    classes: int,  # How many there are
):
    "A `ValueError` if this is no mistake."
    image, label, prediction, probability = mistake[:4]
    good = is_whole(image, 0) and is_whole(label, 0) and is_whole(prediction, 0) and max(label, prediction) < classes
    check(good and is_share(probability), "mistakes", mistake, "[image, label, prediction, probability]")


def check_machine(
    machine,  # What `describe_machine` gave
    needed: tuple,  # Names that must be there
):
    "A `ValueError` if this describes no machine."
    check(isinstance(machine, dict), "machine", machine, "a dictionary")
    bad = [value for value in machine.values() if not (value is None or is_text(value) or is_number(value))]
    check(not bad, "machine", bad[:1], "words and numbers")
    missing = [name for name in needed if name not in machine]
    check(not missing, "machine", sorted(machine), f"also {', '.join(missing)}")
    check(is_whole(machine.get("threads", 1)), "threads", machine.get("threads"), "a whole number of at least 1")


def check_result(
    record: dict,  # With a good trial
):
    "A `ValueError` if the values cannot be a `Result`."
    trial = record["trial"]
    check_machine(record["machine"], ("device", "threads"))
    check_choice("precision", record["precision"], PRECISIONS)
    check(is_whole(record["parameters"], 0), "parameters", record["parameters"], "a whole number of at least 0")
    check_history(record["history"], trial, least=int(trial["model"] in WITH_EPOCHS))
    check_scores(record["scores"])
    for mistake in record["mistakes"]:
        check_mistake(mistake, len(record["scores"]["confusion"]))
    check(is_share(record.get("valid", 0)), "valid", record.get("valid"), "a number from 0 to 1, or nothing")
    if "predictions" in record:
        check_predictions(record["predictions"], record["scores"]["confusion"])


def check_failure(
    record: dict,  # With a good trial
):
    "A `ValueError` if the values cannot be a `Failure`."
    check_machine(record["machine"], ())
    check_choice("kind", record["kind"], ("diverged", "error", "killed"))
    check(isinstance(record["error"], str), "error", record["error"], "words")
    record["error"].encode()  # half characters raise a ValueError, too
    check_history(record.get("history", {}), record["trial"], least=0)


def valid_record(
    record: dict,  # What `to_dict` gave, perhaps through JSON, perhaps by a newer version with more fields
) -> Result | Failure:  # What it describes
    "The result or failure of a line; a `ValueError`, or what a missing field raises, if its values cannot be one."
    check(isinstance(record, dict), "a record", record, "a dictionary")
    check_trial(record["digest"], record["trial"])
    check(is_text(record["finished"]), "finished", record["finished"], "a time in words")
    check(is_number(record["seconds"]) and record["seconds"] >= 0, "seconds", record["seconds"], "at least 0")
    if "error" in record:
        check_failure(record)
        return Failure.from_dict(record)
    check_result(record)
    return Result.from_dict(record)


# Writing


def append_bytes(
    path,  # A file, made if missing
    content: bytes,  # What is added
):
    "Add bytes to a file, on the disk before this returns."
    with open(path, "ab") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def append_record(
    path,  # The file, made if missing
    record,  # `Result` or `Failure`
):
    "Add one line to a file of results, on the disk before this returns."
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    append_bytes(path, json.dumps(record.to_dict()).encode() + b"\n")


def set_aside_torn(
    path,  # A file that `append_record` wrote
):
    "Move what a power cut left of a last line to `path`.torn, with a warning; one that lacks only its end gets it."
    path = Path(path)
    head, newline, tail = path.read_bytes().rpartition(b"\n")
    if not tail:
        return
    try:
        json.loads(tail)
    except CONTENT_ERRORS:
        remark(f"{path}: the last line is torn; it is moved to {path.name}.torn, and its trial runs again")
        append_bytes(f"{path}.torn", tail + b"\n")
        os.truncate(path, len(head) + len(newline))
    else:
        append_bytes(path, b"\n")


@contextmanager
def lock_folder(
    folder,  # Where results are written; made if missing
):
    "Be the only writer in a folder; a `BlockingIOError` if there is another. The system frees what a dead one held."
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder/".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        message = f"another run is writing into {folder}: wait for it, stop it, or name another folder"
        raise BlockingIOError(message) from None
    try:
        yield
    finally:
        lock.release()


def forget_states(
    folder,  # Of results
    digests,  # Of trials
):
    "Remove what a training would resume from, with the hidden file of a worker that was killed as it wrote."
    states = Path(folder)/"checkpoints"
    for path in states.iterdir() if states.is_dir() else []:
        if path.name.lstrip(".").partition(".")[0] in digests:
            path.unlink(missing_ok=True)


# Reading


def remark(
    sentence: str,  # With the file that is meant
):
    "A warning that is shown once for each file and line."
    warnings.warn(sentence, stacklevel=2)


def is_line(
    line: bytes,  # A line of a file
) -> bool:  # Does it hold anything?
    "Are there more than blanks, or the zeros that some file systems leave after a power cut?"
    return bool(line.strip(b"\0 \t\r\n"))


def is_ours(
    path: Path,  # An existing file
) -> bool:  # May it be read and mended?
    "Is this a regular file whose first line of JSON is a record, or that holds nothing?"
    if not stat.S_ISREG(path.lstat().st_mode):
        return False
    is_empty = True
    with open(path, "rb") as file:
        for line in islice(filter(is_line, iter(lambda: file.readline(LONGEST), b"")), FIRST):
            is_empty = False
            if line.startswith(b'{"digest": "'):  # perhaps torn
                return True
            with suppress(*CONTENT_ERRORS):
                record = json.loads(line)
                return isinstance(record, dict) and {"digest", "trial"} <= record.keys()
    return is_empty


def check_study_file(
    path,  # Where results of a study shall be written
):
    "A `ValueError` if there is something else."
    path = Path(path)
    if path.is_symlink() or path.exists():
        expected = "a file of results: rename it, or the study"
        check(is_ours(path), "what stands where a study's results belong", str(path), expected)


def study_files(
    place,  # A folder, or one file in it; may be missing
) -> list:  # Of paths, in the order of the alphabet
    "The files of results; others of that kind are named in a warning."
    place = Path(place)
    if not place.is_dir():
        return [place] if place.is_file() else []
    paths = sorted(place.glob("*.jsonl"))
    foreign = [path.name for path in paths if not is_ours(path)]
    if foreign:
        remark(f"{place}: {', '.join(foreign)} is left alone: not a file of results of this program")
    return [path for path in paths if path.name not in foreign]


def good_lines(
    path: Path,  # A file of results, or nothing
):  # Yields digest, record, and the line as it stands there as a dictionary
    "The lines that count; a warning for each other one."
    for number, line in enumerate(path.read_bytes().split(b"\n") if path.is_file() else [], 1):
        if not line.strip():
            continue
        try:
            content = json.loads(line)
            record = valid_record(content)
        except CONTENT_ERRORS as error:
            remark(f"{path}, line {number}: not a complete result ({type(error).__name__}: {str(error)[:200]}); "
                   "it is ignored and its trial will run again")
        else:
            yield content["digest"], record, content


def weight(
    record,  # `Result` or `Failure`
) -> tuple:  # The larger, the more it counts
    "Which of two records of a trial counts."
    return isinstance(record, Result), is_final(record)


def read_records(
    place,  # A folder, or one file in it; may be missing
) -> dict:  # Digest -> `Result` or `Failure`
    "What is known of each trial."
    records: dict = {}
    for path in study_files(place):
        inside: dict = {}
        for digest, record, _ in good_lines(path):  # in one file the later line counts
            if digest not in inside or weight(record) >= weight(inside[digest]):
                inside[digest] = record
        for digest, record in inside.items():  # of two files the later time
            known = records.get(digest)
            if not known or (weight(record), record.finished) >= (weight(known), known.finished):
                records[digest] = record
    return records


def read_results(
    place,  # A folder, or one file in it; may be missing
) -> dict:  # Digest -> `Result`
    "All results, without the failures."
    return {digest: record for digest, record in read_records(place).items() if isinstance(record, Result)}


# Publishing


def published_folder() -> Path:  # In the package
    "Where published results are."
    return Path(str(files("fmnist")))/"results"


def published_results() -> list:  # Of `Result`
    "The results that ship with the package, made on the full data."
    return list(read_results(published_folder()).values())


def kept_lines(
    path: Path,  # A published file, or nothing
) -> dict | None:  # Digest -> the line as a dictionary; None if the file is not one that can be written anew
    "All that a published file holds, also what only a newer version understands."
    kept = {}
    for number, line in enumerate(path.read_bytes().split(b"\n") if path.is_file() else [], 1):
        if not line.strip():
            continue
        try:
            content = json.loads(line)
            kept[content["digest"]] = content
        except CONTENT_ERRORS:
            remark(f"{path}, line {number}: not a result; mend it first, nothing is published into this file")
            return None
    return kept


def publishable(
    path: Path,  # A file of results
    data: str,  # The name of a data set
):  # Yields digest and the line as a dictionary
    "What may be published; other failures may name a user's folders, and say nothing of the trial."
    for digest, record, content in good_lines(path):
        if record.trial.data == data and is_final(record):
            yield digest, content


def place_in_file(
    content: dict,  # A line
) -> tuple:  # What lines are sorted by
    "Lines are sorted by what was run, then by seed, so that a new seed is a new line and nothing else."
    trial = content.get("trial")
    trial = trial if isinstance(trial, dict) else {}
    model, seed = trial.get("model"), trial.get("seed")
    rank = [*LEARNERS, model].index(model)
    return rank, json.dumps(trial | {"seed": 0}, sort_keys=True), seed if is_number(seed) else 0


def publish_file(
    path: Path,  # A file of results
    target: Path,  # The folder to write into
    data: str,  # Only results on these data
):
    "Add what one file has to that of the same name in `target`, less what its other files have."
    lines = kept_lines(target/path.name)
    if lines is None:
        return
    others: set = set()
    for file in target.glob("*.jsonl"):
        if file.name != path.name:
            others |= (kept_lines(file) or {}).keys()
    for digest, content in publishable(path, data):
        if digest not in others:
            lines.setdefault(digest, content)
    if lines:
        with atomic_write(target/path.name) as output:
            for content in sorted(lines.values(), key=place_in_file):
                output.write(json.dumps(content).encode() + b"\n")


def publish_results(
    source="runs",  # Folder of results
    target=None,  # Folder to write into; by default that of the package
    data: str | None = None,  # Only results on these data; by default the full data set
):
    "Add results and diverged trials to those of `target`, which stay as they are; one sorted file for each study."
    for path in study_files(source):
        publish_file(path, Path(target or published_folder()), data or data_name("full"))
