"""How modules speak to people: checks of arguments, values by position, two errors of training.

A plain module, without a notebook: its tests are in tests/test_checks.py. It imports NumPy alone.
"""

import argparse
import hashlib
import math
import sys
from contextlib import contextmanager
from typing import Any

import numpy as np

__all__ = [
    "check",
    "check_choice",
    "is_whole",
    "is_number",
    "plain",
    "as_array",
    "data_digest",
    "whole_number",
    "TrainingDiverged",
    "CheckpointError",
    "check_same_settings",
    "ends_command",
]


def check(
    allowed: bool,  # Is `given` good?
    argument: str,  # Its name
    given,  # Its value
    expected: str,  # What is allowed, in words
):
    "Raise a `ValueError` that says what is wrong, unless `allowed`."
    if not allowed:
        raise ValueError(f"{argument} is {given!r}, expected {expected}")


def check_choice(
    argument: str,  # Its name
    given,  # Its value
    choices,  # The values that are allowed
):
    "Raise a `ValueError` that lists the `choices`, unless `given` is one of them."
    check(given in list(choices), argument, given, f"one of {', '.join(map(repr, choices))}")


def is_whole(
    value,  # Anything
    least: int = 1,  # The smallest that is allowed
) -> bool:  # Python's whole numbers and NumPy's, no truth values
    "Is this a whole number of at least `least`?"
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    return whole and bool(value >= least)


def is_number(
    value,  # Anything
) -> bool:  # Python's numbers and NumPy's, no truth values
    "Is this one finite number?"
    number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    return number and math.isfinite(value)


def plain(
    value,  # A setting: a number, a string, a list, a tuple or a dictionary of those, or an array
):  # The same as JSON would give it back: lists, and Python's own numbers
    "The value without NumPy's own numbers, one of which would turn float32 arrays into float64."
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value.tolist() if isinstance(value, (np.generic, np.ndarray)) else value


def as_array(
    values,  # A NumPy array, a list, a pandas Series, or a torch tensor on any device
) -> np.ndarray:  # The same values in the same order, whatever the index of a Series says
    "The values by their position."
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        if str(values.dtype) == "torch.bfloat16":  # which NumPy does not have
            values = values.float()
    return np.asarray(values)


def data_digest(
    loader,  # `Batches`, `ReplicaBatches`, a `DataLoader` of tensors, or a list of (images, labels)
) -> str | None:  # 16 hexadecimal digits; None where images and labels cannot be had all at once
    "What a loader holds: a digest of all its images and labels."
    arrays: Any
    if isinstance(loader, (list, tuple)):
        arrays = [array for batch in loader for array in batch]
    elif hasattr(loader, "parts"):
        arrays = [array for part in loader.parts for array in (part.images, part.labels)]
    elif hasattr(loader, "images") and hasattr(loader, "labels"):
        arrays = [loader.images, loader.labels]
    else:
        arrays = getattr(getattr(loader, "dataset", None), "tensors", None)
    if arrays is None:
        return None
    digest = hashlib.sha256()
    for array in arrays:
        array = np.ascontiguousarray(as_array(array))
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()[:16]


def whole_number(
    least: int = 0,  # The smallest that is allowed
    most: int = 2**31 - 1,  # The largest
):  # Function from a word of the command line to a number
    "Type of a command's argument that counts something, or that is a seed."

    def number(text):
        if not text.isdecimal() or len(text) < 20 and int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {least}")
        if len(text) >= 20 or int(text) > most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at most {most}")
        return int(text)

    return number


class TrainingDiverged(FloatingPointError):
    "The loss became NaN or infinite; `history` and the network are those of the epochs before."

    history: Any = None  # A `History`, or a list of one for each network


class CheckpointError(ValueError):
    "A checkpoint cannot be read, or comes from something else, other settings, or other data."


def check_same_settings(
    path,  # The checkpoint, for the message
    theirs: dict,  # What it says of the training that wrote it
    mine: dict,  # The same of the training that would go on from it
    remedy: str,  # What to do, a sentence
):
    "Raise a `CheckpointError` that names every setting which differs."
    different = [
        f"{name} is {theirs.get(name)!r} there, {value!r} here"
        for name, value in mine.items()
        if theirs.get(name) != value
    ]
    if different:
        raise CheckpointError(
            f"{path} was made with other settings: {'; '.join(different)}. {remedy}"
        )


@contextmanager
def ends_command(
    name: str,  # Of the command
    *errors: type,  # What its user can mend
):
    "One of these errors ends the command: its message, behind the name, is the last line."
    try:
        yield
    except errors as error:
        sys.exit(f"{name}: {error}")
