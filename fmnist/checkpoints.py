"""What is written beside a network in training, and what is believed of it when it is read again.

A checkpoint is data, never code, and it may be anything: cut off by a full disk, of another
program, forged. So it is compared with what this training would write, name by name, and what
cannot be is a `CheckpointError`; the file stays as it is.

A plain module, without a notebook: its tests are in tests/test_checkpoints.py.
"""

import io
import json
from itertools import zip_longest
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from .checks import CheckpointError, check, check_same_settings, is_number
from .files import atomic_write

__all__ = [
    "FORMAT",
    "REMEDY",
    "checkpoint_path",
    "save_file",
    "load_file",
    "read_checkpoint",
    "check_weights",
    "check_history",
    "check_optimizer",
]

FORMAT = "fmnist.training.fit, version 2"
REMEDY = (
    "Name another `path`, or start anew with resume=False, which replaces it after the first epoch"
)


def checkpoint_path(
    path,  # As for `fmnist.training.fit`, such as best_model.pth
) -> Path:  # Such as best_model.checkpoint.pth
    "Where `fit` keeps what it resumes from."
    path = Path(path)
    return path.with_suffix(".checkpoint" + path.suffix)


def save_file(
    path,  # The file
    content,  # What `torch.save` can write
):
    "Write for `torch.load`, all of it or nothing."
    import torch

    memory = io.BytesIO()  # first, as PyTorch reports a full disk as an internal error
    torch.save(content, memory)
    try:
        with atomic_write(path) as file:
            file.write(memory.getbuffer())
    except OSError as error:
        reason = f"{error.strerror}; a file that was there before is untouched"
        raise OSError(error.errno, reason, str(path)) from error


def load_file(
    path,  # What `save_file` wrote
):  # The content, on the CPU
    "What a file of `torch.save` holds, if it is whole and data alone."
    import torch

    try:
        with ZipFile(path) as archive:  # PyTorch itself does not look at the checksums
            if archive.testzip():
                raise BadZipFile
        return torch.load(path, weights_only=True, map_location="cpu")
    except OSError:
        raise
    except Exception as error:  # damaged files raise errors of a dozen types
        reason = f"{path} is no checkpoint, or damaged ({type(error).__name__}). {REMEDY}"
        raise CheckpointError(reason) from error


def read_checkpoint(
    path,  # What `fit` wrote beside its best weights
    settings: dict,  # Name -> value: what decides the training that would go on from it
) -> dict:  # The content; its parts are still to be checked
    "A checkpoint made with these settings; else a `CheckpointError` that names the differences."
    content = load_file(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not a checkpoint of {FORMAT}. {REMEDY}")
    theirs = _as_settings(content.get("settings"))
    if theirs is None:
        raise CheckpointError(f"{path} does not say how it was made. {REMEDY}")
    there, here = {}, {}
    for name, value in settings.items():
        there[name], here[name] = _first_difference(theirs.get(name), value)
    check_same_settings(path, there, here, REMEDY)
    return content


def _as_settings(value):
    "Names and numbers as JSON knows them; None if it is anything else, such as a tensor."
    try:
        settings = json.loads(json.dumps(value))
    except (TypeError, ValueError, RecursionError):
        return None
    return settings if isinstance(settings, dict) else None


def _first_difference(there, here):
    "Two values; of long texts that differ, such as two networks, their first lines that do."
    if there == here or not (isinstance(there, str) and isinstance(here, str)):
        return there, here
    lines = [[line.strip() for line in text.split("\n")] for text in (there, here)]
    different = (pair for pair in zip_longest(*lines) if pair[0] != pair[1])
    return next(different, (there, here))  # their indentation alone, perhaps


def check_weights(
    what: str,  # What to call them
    theirs,  # What a checkpoint holds
    mine: dict,  # The `state_dict` of the network that would take them
):
    "Refuse weights that do not fit the network, or are no numbers."
    names = list(theirs) if isinstance(theirs, dict) else None
    check(names == list(mine), f"the names of {what}", names, f"{list(mine)}")
    for name, value in mine.items():
        other = theirs[name]
        form = getattr(other, "dtype", None), tuple(getattr(other, "shape", ()))
        expected = value.dtype, tuple(value.shape)
        check(form == expected, f"{name} of {what}", form, f"{expected}")
        check(bool(other.isfinite().all()), f"{name} of {what}", "not finite", "finite numbers")


def check_history(
    history,  # `History` of a checkpoint
    epochs: int,  # How many are asked for
    validated: bool,  # Were there validation images?
):
    "Refuse a history that no training could have."
    numbers = [epoch.epoch for epoch in history.epochs]
    known = bool(numbers) and numbers == list(range(1, len(numbers) + 1))
    check(known, "its epochs", numbers, "1, 2, 3, ...")
    expected = f"no more than the {epochs} asked for"
    check(len(numbers) <= epochs, "the number of its epochs", len(numbers), expected)
    for epoch in history.epochs:
        losses, shares = [epoch.train_loss, epoch.seconds], [epoch.train_accuracy]
        if validated:
            losses.append(epoch.valid_loss)
            shares.append(epoch.valid_accuracy)
        possible = all(map(is_number, losses + shares)) and all(0 <= share <= 1 for share in shares)
        expected = "finite numbers, accuracies from 0 to 1"
        check(possible, f"epoch {epoch.epoch}", losses + shares, expected)


def check_optimizer(
    state,  # Number of a parameter -> name -> value, as `state_dict()["state"]` has it
    optimizer,  # That would take it
):
    "Refuse the state of an optimizer that has other parameters, or is no numbers."
    params = [p for group in optimizer.param_groups for p in group["params"]]
    numbers = list(state) if isinstance(state, dict) else None
    known = numbers is not None and set(numbers) <= set(range(len(params)))
    check(known, "the optimizer's parameters", numbers, f"0 to {len(params) - 1}")
    for number, values in state.items():
        for name, value in values.items():
            shape = getattr(value, "shape", None)
            if shape is None:
                continue
            fits = value.ndim == 0 or shape == params[number].shape
            possible, what = fits and bool(value.isfinite().all()), f"{name} of parameter {number}"
            check(possible, what, tuple(shape), "finite numbers of its shape")
