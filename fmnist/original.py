"""The original report (Multi-Head Mayhem 2025) as data: networks, as settings of ours, and numbers.

A plain module, without a notebook, so that whoever only reads results needs no PyTorch:
its tests are in tests/test_original.py.
"""

import json
from importlib.resources import files
from pathlib import Path

__all__ = [
    "BASELINE_MLP",
    "ADOPTED",
    "BEST_CNN",
    "FIRST_READING",
    "FIRST_SECTION_3",
    "LITERAL_CNN",
    "LITERAL_SECTION_3",
    "READINGS",
    "SECTION_3_CNN",
    "CNN_TRAINING",
    "original_report",
    "original_accuracy",
    "invented",
]

# Table 2, and the text beside it.
BASELINE_MLP: dict = dict(
    layers=[256, 128, 64, 10], activations=["gelu", "gelu", "gelu", "softmax"],
    initialization="random", random_scale=0.1, dropout=0.01, learning_rate=0.05,
)  # fmt: skip

# Section 7.2.2, in our first reading: pooling as AlexNet's architecture has it, and a dropout of
# 0.2 that nobody gives.
FIRST_READING: dict = dict(
    channels=(64, 192, 384, 256, 256), kernel_sizes=(3, 3, 3, 3, 3), strides=(1, 1, 1, 1, 1),
    paddings=(1, 1, 1, 1, 1),
    pooling="max", initialization="he", dropout=0.2, hidden=(256, 256), pool_after=(1, 2, 5),
)  # fmt: skip

# The same, read as it is printed: after each convolution windows of 3 x 3, 2 pixels apart and
# padded by 1, as AlexNet's.
LITERAL_CNN: dict = FIRST_READING | dict(pool_after=(1, 2, 3, 4, 5), pool=(3, 2, 1))

# All readings that were tried, the closest to what is printed first; AlexNet's dropout is 0.5.
READINGS: dict = {
    "literal, dropout 0.5": LITERAL_CNN | dict(dropout=0.5),
    "literal, dropout 0.2": LITERAL_CNN,
    "as AlexNet, dropout 0.5": FIRST_READING | dict(dropout=0.5),
    "as AlexNet, dropout 0.2": FIRST_READING,
}

# The reading that all studies of the CNN use. This is the one place where it is chosen; old results
# keep their digests and are shown as "first reading".
ADOPTED: str = "literal, dropout 0.5"
BEST_CNN: dict = READINGS[ADOPTED]

# Section 3, where it differs: windows of 2 x 2 leave its 256 numbers if four of them pool.
FIRST_SECTION_3: dict = dict(
    kernel_sizes=(5, 5, 1, 1, 1), paddings=(0, 0, 0, 0, 0), hidden=(), pool_after=(1, 2, 4, 5),
)  # fmt: skip
LITERAL_SECTION_3: dict = FIRST_SECTION_3 | dict(pool_after=LITERAL_CNN["pool_after"])  # all five
SECTION_3_CNN: dict = LITERAL_SECTION_3 if "pool" in BEST_CNN else FIRST_SECTION_3

# Section 4 names Adam and its rate; the penalty is our choice.
CNN_TRAINING: dict = dict(learning_rate=0.001, weight_decay=0.0001)


def original_report() -> (
    dict
):  # Scores in percent; "tables", "figures", "curves" and "studies" with places and values
    "What the original report claims: its numbers, each with its place in that document."
    return json.loads(
        (Path(str(files("fmnist"))) / "original_report.json").read_text(encoding="utf-8")
    )


def original_accuracy(
    study: str,  # Its name
) -> dict:  # Name of each arm -> test accuracy in percent, where the original report gives one
    "What it claims of a study, from one number each."
    return original_report()["studies"].get(study.removeprefix("first_"), {})


def invented(
    study: str,  # Its name
) -> list:  # Names of arms
    "The arms of a study that the original does not have: inventions of ours."
    return original_report()["ours"].get(study.removeprefix("first_"), [])
