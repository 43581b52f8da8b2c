"The modern CNN's recipes and options are arms that can be trained, and no two of them are one."

import pytest

from fmnist.checks import plain
from fmnist.modern_cnn import count_parameters, modern_cnn
from fmnist.modern_recipes import LENGTHS, MODEL, OPTIONS, RECIPES, changed_recipe
from fmnist.studies import STUDIES, modern_cnn_arm
from fmnist.training import recipe
from fmnist.trials import Trial, check_settings, setting_names


ALL = RECIPES | LENGTHS


@pytest.mark.parametrize("name", ALL)
def test_recipes_write_out_every_setting(name):
    settings = ALL[name]["settings"]
    check_settings(MODEL, settings)
    assert set(settings) == set(setting_names(MODEL)) - {"classes"}  # the data decide that
    assert recipe(**ALL[name]["training"]) == plain(ALL[name]["training"])


def test_tiny_is_tiny():
    assert count_parameters(modern_cnn(**RECIPES["tiny"]["settings"])) <= 300_000


def test_options_differ_in_one_thing_each():
    arms = {name: changed_recipe(RECIPES["fast"], **change) for name, change in OPTIONS.items()}
    assert len({Trial(MODEL, **arm).digest for arm in arms.values()}) == len(OPTIONS)
    for arm in arms.values():
        recipe(**arm["training"])
        check_settings(MODEL, arm["settings"])
    assert RECIPES["fast"] == changed_recipe(RECIPES["fast"])


def test_an_arm_is_the_recipe_as_it_stands():
    for name, each in ALL.items():
        assert Trial(**modern_cnn_arm(each)) == Trial(MODEL, **each), name
    own = modern_cnn_arm(RECIPES["fast"], "cnn", hidden=[8])
    assert own["training"] == RECIPES["fast"]["training"] and own["batch_size"] == 500


def test_the_report_trains_the_fast_recipe():
    [trial] = STUDIES["report"].trials("full", 1)["modern CNN"]
    assert trial == STUDIES["fast_cnn"].trials("full", 1)["fast"][0]
