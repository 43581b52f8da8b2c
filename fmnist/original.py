"""The original report (Multi-Head Mayhem 2025) as data: its networks, as settings of ours, and its numbers.

A plain module, without a notebook, so that whoever only reads results needs no PyTorch:
its tests are in tests/test_original.py.
"""

import json
from importlib.resources import files
from pathlib import Path

__all__ = [
    "BASELINE_MLP",
    "BEST_CNN",
    "LITERAL_CNN",
    "SECTION_3_CNN",
    "CNN_TRAINING",
    "original_report",
    "original_accuracy",
]

# Table 2, and the text beside it.
BASELINE_MLP: dict = dict(
    layers=[256, 128, 64, 10], activations=["gelu", "gelu", "gelu", "softmax"],
    initialization="random", random_scale=0.1, dropout=0.01, learning_rate=0.05,
)  # fmt: skip

# Section 7.2.2; what it leaves open is our reading, see the notebook on the CNN.
BEST_CNN: dict = dict(
    channels=(64, 192, 384, 256, 256), kernel_sizes=(3, 3, 3, 3, 3), strides=(1, 1, 1, 1, 1),
    paddings=(1, 1, 1, 1, 1),
    pooling="max", initialization="he", dropout=0.2, hidden=(256, 256), pool_after=(1, 2, 5),
)  # fmt: skip

# The same, read as it is printed: after each convolution windows of 3 x 3, 2 pixels apart and padded
# by 1, as AlexNet's.
LITERAL_CNN: dict = BEST_CNN | dict(pool_after=(1, 2, 3, 4, 5), pool=(3, 2, 1))

# Section 3, where it differs.
SECTION_3_CNN: dict = dict(
    kernel_sizes=(5, 5, 1, 1, 1), paddings=(0, 0, 0, 0, 0), hidden=(), pool_after=(1, 2, 4, 5),
)  # fmt: skip

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
    return original_report()["studies"].get(study, {})
