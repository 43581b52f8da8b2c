"""Results on the disk: a folder of files, one for each study, one line of JSON for each trial.

A plain module, without a notebook: its tests are in tests/test_store.py.

A folder of results may hold other things, too. Only regular files whose first line is a record of
ours are read, only those that are named after a study of the plan are mended, and a line counts
only if its values can be a record (`valid_record`). Everything else is left alone, with a warning
that names file and line.
"""

import base64
import bz2
import json
import os
import stat
import warnings
from contextlib import contextmanager, suppress
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from filelock import FileLock, Timeout

from .checks import check, is_number, is_whole
from .files import atomic_write
from .trials import LEARNERS, Failure, Result, data_name, digest_of, is_final, now

__all__ = [
    "valid_record", "append_record", "set_aside_torn", "check_study_file", "study_files",
    "read_records", "read_results", "lock_folder", "forget_states", "published_folder",
    "published_results", "publish_results", "Publication", "retrained_notes",
]  # fmt: skip

UNREADABLE = (  # What reading a line may raise
    ArithmeticError, AttributeError, ImportError, LookupError,
    RecursionError, TypeError, ValueError,
)  # fmt: skip
LONGEST = 1 << 24  # Bytes of a line that are read at most to find out whose a file is
FIRST = 100  # Lines that are read at most for that


# What can be a record


def is_share(
    value,  # Anything
) -> bool:  # Is it an accuracy, for instance?
    "Is this a number from 0 to 1?"
    return is_number(value) and 0 <= value <= 1


def is_text(
    value,  # Anything
) -> bool:  # Can it be shown on one line?
    "Is this a string of characters that can be printed?"
    return isinstance(value, str) and value.isprintable()


def is_machine(
    value,  # Anything
) -> bool:  # Can `describe_machine` have said it?
    "Is this a dictionary of words and numbers, with at least one thread if it tells them?"
    known = isinstance(value, dict) and is_whole(value.get("threads", 1))
    return known and all(x is None or is_text(x) or is_number(x) for x in value.values())


def is_table(
    value,  # Anything
) -> bool:  # Can it be a confusion matrix?
    "Is this a square of whole numbers, for two classes or more and one image or more?"
    is_square = len(value) > 1 and {len(row) for row in value} == {len(value)}
    return is_square and all(is_whole(x, 0) for row in value for x in row) and np.sum(value) > 0


def one_of(
    *choices,  # Any
) -> tuple:  # A rule
    "The rule that a value is among these."
    return (lambda value: value in choices), f"one of {', '.join(map(repr, choices))}"


def maybe(
    rule: tuple,  # As in the tables below
) -> tuple:  # The same for a field that may be missing
    "The rule that a value is None or good."
    return (lambda value: value is None or rule[0](value)), f"{rule[1]}, or nothing"


# Field -> (is a value good?, what is expected, in words)
TEXT = is_text, "printable text"
SHARE = is_share, "a number from 0 to 1"
COUNT = (lambda value: is_whole(value, 0)), "a whole number of at least 0"
POSITIVE = is_whole, "a whole number of at least 1"
DICTIONARY = (lambda value: isinstance(value, dict)), "a dictionary"
TRIAL = {
    "model": TEXT, "settings": DICTIONARY, "epochs": POSITIVE, "training": DICTIONARY,
    "batch_size": POSITIVE, "images": maybe(POSITIVE), "seed": COUNT, "data": TEXT,
    "valid_fraction": maybe(SHARE), "code": maybe(DICTIONARY), "source": maybe(TEXT),
}  # fmt: skip
RECORD = {
    "seconds": ((lambda value: is_number(value) and value >= 0), "a finite number of at least 0"),
    "machine": (is_machine, "a dictionary of words and numbers"),
    "finished": TEXT,
}
FAILURE = RECORD | {
    "kind": one_of("diverged", "error", "killed"),
    "error": ((lambda value: bool(value.encode())), "words"),
}
RESULT = RECORD | {
    "parameters": COUNT,
    "precision": one_of("float32", "bfloat16", "float16", "float64"),
    "valid": maybe(SHARE),
    "train": maybe(SHARE),
}
SCORES = dict.fromkeys(("accuracy", "precision", "recall", "f1"), SHARE) | {
    "loss": (is_number, "a finite number"),
    "confusion": (is_table, "a square table of whole numbers"),
}
NUMBER = SCORES["loss"]
HISTORY = {
    "train_loss": NUMBER, "train_accuracy": SHARE,
    "valid_loss": NUMBER, "valid_accuracy": SHARE, "seconds": RECORD["seconds"],
}  # fmt: skip


def check_fields(
    content,  # What should be a dictionary; it may have more fields, of a newer version
    rules: dict,  # One of the tables above
):
    "A `ValueError` that names the first field whose value cannot be."
    check(isinstance(content, dict), "what stands in the line", content, "a dictionary")
    for name, (is_good, expected) in rules.items():
        check(is_good(content.get(name)), name, content.get(name), expected)


def check_history(
    columns,  # Name of each column -> list with a value for each epoch
    trial: dict,  # What was trained
    least: int,  # How many epochs there must be
):
    "A `ValueError` if this is no history of that trial."
    check_fields(columns, {})
    if not columns and least == 0:
        return
    length = len(columns["train_loss"])
    check(least <= length <= trial["epochs"], "history", length, f"at least {least} epochs")
    is_watched = trial.get("valid_fraction") != 0
    for name, (is_good, expected) in HISTORY.items():
        check(len(columns[name]) == length, name, len(columns[name]), f"{length} epochs")
        bad = [value for value in columns[name] if not is_good(value)]
        check(not bad or "valid" in name and not is_watched, name, bad[:1], expected)


def check_against_table(
    record: dict,  # Of a result, with good scores
):
    "A `ValueError` if accuracy, mistakes or offsets are not those of the confusion matrix."
    table = np.array(record["scores"]["confusion"])
    accuracy, right = record["scores"]["accuracy"], table.trace() / table.sum()
    check(abs(accuracy - right) < 1e-6, "accuracy", accuracy, f"{right:.7g}, as in the table")
    for mistake in record["mistakes"]:
        image, label, prediction, probability = mistake[:4]
        is_good = all(is_whole(x, 0) for x in (image, label, prediction)) and is_share(probability)
        check(is_good and max(label, prediction) < len(table), "mistakes", mistake, "a mistake")
    if "offsets" in record:
        rows = np.arange(len(table))
        expected = [int(table[rows, (rows + offset) % len(table)].sum()) for offset in rows]
        found = unpacked(record["offsets"], table.sum())
        counts = np.bincount(found, minlength=len(table)).tolist()
        check(counts == expected, "offsets", counts, f"{expected}, as in the table")


def unpacked(
    text: str,  # What `pack_offsets` gave
    number: int,  # How many there should be; not many more are unpacked, whatever it holds
) -> np.ndarray:  # The offsets
    "What `unpack_offsets` gives, for text that somebody may have forged."
    packed = base64.b64decode(text, validate=True)
    try:
        content = bz2.BZ2Decompressor().decompress(packed, 2 * int(number) + 2)
    except OSError as error:
        raise ValueError(f"offsets cannot be unpacked: {error}") from None
    return np.frombuffer(content, "<u2")


def check_record(
    record: dict,  # What `to_dict` gave, perhaps through JSON, perhaps by a newer version
):
    "A `ValueError`, or what a missing or strange value raises, if this cannot be a record."
    check_fields(record, {})
    trial = record["trial"]
    check_fields(trial, TRIAL)
    digest = digest_of(trial)
    check(record["digest"] == digest, "digest", record["digest"], f"{digest}, that of the trial")
    if "error" in record:
        check_fields(record, FAILURE)
        return check_history(record.get("history", {}), trial, least=0)
    check_fields(record, RESULT)
    check_fields(record["scores"], SCORES)
    check_against_table(record)
    learner = LEARNERS.get(trial["model"])  # of a builder outside the package nothing is known
    least = getattr(learner, "least_epochs", 1) if learner else 0
    check_history(record["history"], trial, least)
    is_told = {"device", "threads"} <= record["machine"].keys()
    check(is_told, "machine", record["machine"], "at least device and threads")


def valid_record(
    record: dict,  # What `to_dict` gave, perhaps through JSON, perhaps by a newer version
) -> Result | Failure:  # What it describes
    "The result or failure of a line; a `ValueError` if its values cannot be one."
    try:
        check_record(record)
        return (Failure if "error" in record else Result).from_dict(record)
    except ValueError:
        raise
    except UNREADABLE as error:
        raise ValueError(f"{type(error).__name__}: {error}") from None


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
    "Move what a power cut left of a last line to `path`.torn; one that lacks only its end gets it."
    path = Path(path)
    head, newline, tail = path.read_bytes().rpartition(b"\n")
    if not tail:
        return
    try:
        json.loads(tail)
    except UNREADABLE:
        remark(
            f"{path}: the last line is torn; it is moved to {path.name}.torn, "
            "and its trial runs again"
        )
        append_bytes(f"{path}.torn", tail + b"\n")
        os.truncate(path, len(head) + len(newline))
    else:
        append_bytes(path, b"\n")


@contextmanager
def lock_folder(
    folder,  # Where results are written; made if missing
):
    "Be the only writer in a folder; a `BlockingIOError` if there is another that lives."
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise BlockingIOError(
            f"another run is writing into {folder}: wait for it, stop it, or name another folder"
        ) from None
    try:
        yield
    finally:
        lock.release()


def forget_states(
    folder,  # Of results
    digests,  # Of trials
):
    "Remove what a training would resume from, and what a worker left that was killed as it wrote."
    states = Path(folder) / "checkpoints"
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
            with suppress(*UNREADABLE):
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
        remark(f"{place}: {', '.join(foreign)} is left alone: not a file of our results")
    return [path for path in paths if path.name not in foreign]


def lines_of(
    path: Path,  # A file, or nothing
):  # Yields a sentence's beginning and the line
    "The lines of a file that hold anything."
    for number, line in enumerate(path.read_bytes().split(b"\n") if path.is_file() else [], 1):
        if line.strip():
            yield f"{path}, line {number}", line


def good_lines(
    path: Path,  # A file of results
):  # Yields digest, record, and the line as it stands there as a dictionary
    "The lines that count; a warning for each other one."
    for where, line in lines_of(path):
        try:
            content = json.loads(line)
            record = valid_record(content)
        except UNREADABLE as error:
            remark(
                f"{where}: not a complete result ({str(error)[:200]}); it is ignored, "
                "and its trial will run again"
            )
        else:
            yield content["digest"], record, content


def weight(
    record,  # `Result` or `Failure`
) -> tuple:  # The larger, the more it counts
    "Which of two records of a trial counts."
    return isinstance(record, Result), is_final(record)


def counting_lines(
    paths,  # Of files of results
) -> dict:  # Digest -> (record, path of its file, the line as a dictionary)
    "Of the lines of each trial the one that counts."
    chosen: dict = {}
    for path in paths:
        inside: dict = {}
        for digest, record, content in good_lines(path):  # in one file the later line counts
            if digest not in inside or weight(record) >= weight(inside[digest][0]):
                inside[digest] = record, path, content
        for digest, line in inside.items():  # of two files the later time
            known = chosen.get(digest, line)
            if (weight(line[0]), line[0].finished) >= (weight(known[0]), known[0].finished):
                chosen[digest] = line
    return chosen


def read_records(
    *places,  # Folders, or files in one; may be missing
) -> dict:  # Digest -> `Result` or `Failure`
    "What is known of each trial."
    paths = [path for place in places for path in study_files(place)]
    return {digest: record for digest, (record, _, _) in counting_lines(paths).items()}


def read_results(
    place,  # A folder, or one file in it; may be missing
) -> dict:  # Digest -> `Result`
    "All results, without the failures."
    records = read_records(place)
    return {digest: each for digest, each in records.items() if isinstance(each, Result)}


# Publishing


def published_folder() -> Path:  # In the package
    "Where published results are."
    return Path(str(files("fmnist"))) / "results"


def published_results() -> list:  # Of `Result`
    "The results that ship with the package, made on the full data."
    return list(read_results(published_folder()).values())


def kept_lines(
    path: Path,  # A published file, or nothing
) -> dict | None:  # Digest -> the line as a dictionary; None if the file cannot be written anew
    "All that a published file holds, also what only a newer version understands."
    kept = {}
    for where, line in lines_of(path):
        try:
            content = json.loads(line)
            kept[content["digest"]] = content
        except UNREADABLE:
            remark(f"{where}: not a result; mend it first, nothing is published into this file")
            return None
    return kept


def place_in_file(
    content: dict,  # A line
) -> tuple:  # What lines are sorted by
    "Lines are sorted by what was run, then by seed: a new seed is a new line and nothing else."
    trial = content.get("trial")
    trial = trial if isinstance(trial, dict) else {}
    model, seed = trial.get("model"), trial.get("seed")
    rank = [*LEARNERS, model].index(model)
    return rank, json.dumps(trial | {"seed": 0}, sort_keys=True), seed if is_number(seed) else 0


class Publication(NamedTuple):
    "What publishing did to a folder of published results."

    added: int  # Lines of trials that had none
    replaced: int  # Lines that took the place of an older one
    alike: int  # Of those: how many have the same confusion matrix, or diverged both times
    accuracy: int  # How many have another accuracy
    outcome: int  # How many diverged one of the two times
    largest: float  # The largest difference in accuracy, in points

    def __str__(self):
        if not self.replaced:
            return f"{self.added} lines added, none replaced"
        return (
            f"{self.added} lines added, {self.replaced} replaced: {self.alike} with the same "
            f"confusion matrix, {self.accuracy} with another accuracy (by up to "
            f"{self.largest:.2f} points), {self.outcome} that diverged one of the two times"
        )


def accuracy_in(
    line: dict,  # A line
) -> float | None:  # In percent; None if it is that of a run that diverged
    "The test accuracy of a line."
    return 100 * line["scores"]["accuracy"] if "scores" in line else None


def compare_lines(
    pairs: list,  # Of lines of the same trial: the older one, the newer one
    added: int,  # How many lines have no older one
) -> Publication:  # In numbers
    "What is different in newer lines."
    found = [(accuracy_in(older), accuracy_in(newer)) for older, newer in pairs]
    both = [(a, b) for a, b in found if a is not None and b is not None]
    outcomes = sum((a is None) != (b is None) for a, b in found)
    tables = [[line.get("scores", {}).get("confusion") for line in pair] for pair in pairs]
    alike = sum(older == newer for older, newer in tables)
    changed = [abs(a - b) for a, b in both if a != b]
    return Publication(
        added, len(pairs), alike, len(changed), outcomes, max(changed, default=0.0)
    )


def candidates(
    source,  # Folder of results
    data: str,  # Only results on these data
) -> dict:  # Digest -> (name of its file, the line as a dictionary)
    "What to publish: other failures may name a user's folders, and say nothing of the trial."
    lines = counting_lines(study_files(source)).items()
    return {
        digest: (path.name, content)
        for digest, (record, path, content) in lines
        if record.trial.data == data and is_final(record)
    }


def write_lines(
    path: Path,  # A published file
    lines: dict,  # Digest -> line
):
    "Write a published file, sorted."
    with atomic_write(path) as output:
        for content in sorted(lines.values(), key=place_in_file):
            output.write(json.dumps(content).encode() + b"\n")


def note_replacement(
    target: Path,  # A folder of published results
    what: Publication,  # What was replaced
    lines: list,  # The new lines
):
    "Add to `target`/retrained.json how many older lines were replaced, for the page to say."
    path = target / "retrained.json"
    notes = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    commits = sorted({str(line["machine"].get("commit")) for line in lines})
    numbers = {name: value for name, value in what._asdict().items() if name != "added"}
    notes.append(numbers | {"date": now()[:10], "commits": commits})
    with atomic_write(path) as output:
        output.write(json.dumps(notes, indent=1).encode() + b"\n")


def retrained_notes(
    place=None,  # A folder of published results; by default that of the package
) -> list:  # Of dictionaries: the fields of a `Publication`, date and commits
    "When published lines were replaced by newer ones, and what was different in those."
    path = Path(place or published_folder()) / "retrained.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []


def publish_results(
    source="runs",  # Folder of results
    target=None,  # Folder to write into; by default that of the package
    data: str | None = None,  # Only results on these data; by default the full data set
    replace: bool = False,  # Shall a line that finished later take the place of a published one?
) -> Publication:  # What was done
    "Add results and diverged trials to those of `target`; one sorted file for each study."
    target = Path(target or published_folder())
    files_there = sorted(target.glob("*.jsonl")) if target.is_dir() else []
    published: dict = {path.name: kept_lines(path) for path in files_there}
    home = {digest: name for name, lines in published.items() for digest in lines or ()}
    pairs, added, touched = [], 0, set()
    for digest, (name, line) in candidates(source, data or data_name("full")).items():
        name = home.get(digest, name)
        lines = published.setdefault(name, {})
        if lines is None:  # it was named in a warning
            continue
        older = lines.get(digest)
        is_newer = older is None or replace and line["finished"] > str(older.get("finished"))
        if not is_newer:
            continue
        lines[digest] = line
        touched.add(name)
        added += older is None
        if older is not None:
            pairs.append((older, line))
    for name in touched:
        write_lines(target / name, published[name])
    what = compare_lines(pairs, added)
    if pairs:
        note_replacement(target, what, [newer for _, newer in pairs])
    return what
