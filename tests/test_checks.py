"What fmnist.checks promises."

import numpy as np
import pytest

from fmnist.checks import (
    CheckpointError,
    check,
    check_choice,
    check_same_settings,
    ends_command,
    is_number,
    is_whole,
    plain,
)


def test_check_names_argument_value_and_remedy():
    check(True, "epochs", 0, "anything")
    with pytest.raises(ValueError, match="epochs is 0, expected at least 1"):
        check(False, "epochs", 0, "at least 1")
    with pytest.raises(ValueError, match="pooling is 'min', expected one of 'max', 'average'"):
        check_choice("pooling", "min", ("max", "average"))


@pytest.mark.parametrize("value, whole, number", [
    (3, True, True), (np.int64(3), True, True), (0, False, True), (True, False, False),
    (2.5, False, True), (float("nan"), False, False), (np.float32("inf"), False, False),
    ("3", False, False), (None, False, False),
])  # fmt: skip
def test_numbers(value, whole, number):
    assert (is_whole(value), is_number(value)) == (whole, number)


def test_plain_settings_are_what_json_gives_back():
    settings = plain(
        {"rate": np.float64(0.1), "layers": (np.int64(3), 4), "scaling": np.array([0.5, 1])}
    )
    assert settings == {"rate": 0.1, "layers": [3, 4], "scaling": [0.5, 1.0]}
    assert [type(value) for value in (settings["rate"], *settings["layers"])] == [float, int, int]


def test_a_checkpoint_of_other_settings_is_refused():
    check_same_settings("a.npz", {"seed": 1, "more": 2}, {"seed": 1}, "Name another.")
    with pytest.raises(
        CheckpointError, match="a.npz was made with other settings: seed is 1 there, 2 here. Name"
    ):
        check_same_settings("a.npz", {"seed": 1}, {"seed": 2}, "Name another.")


def test_what_its_user_can_mend_ends_a_command_in_a_sentence():
    with pytest.raises(SystemExit, match="fmnist_x: it is not there"):
        with ends_command("fmnist_x", FileNotFoundError):
            raise FileNotFoundError("it is not there")
    with pytest.raises(ValueError):
        with ends_command("fmnist_x", FileNotFoundError):
            raise ValueError
