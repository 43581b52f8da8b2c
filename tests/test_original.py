"The original report's networks are ours with its settings, and its numbers belong to arms that exist."

from fmnist.cnn import CNNModel
from fmnist.original import (
    BASELINE_MLP,
    BEST_CNN,
    SECTION_3_CNN,
    original_accuracy,
    original_report,
)
from fmnist.studies import STUDIES
from fmnist.trials import check_settings


def test_its_networks_are_settings_of_ours():
    check_settings("mlp", BASELINE_MLP)
    assert sum(p.numel() for p in CNNModel(**BEST_CNN).parameters()) == sum(
        p.numel() for p in CNNModel().parameters()
    )
    CNNModel(**BEST_CNN | SECTION_3_CNN)


def test_its_numbers_belong_to_arms():
    assert original_accuracy("dropout")["0.1"] == 87.11
    for study in original_report()["studies"]:
        assert set(original_accuracy(study)) <= set(STUDIES[study].arms), study
