"What must hold on the full data set."
import numpy as np
import pytest

from fmnist.data import fashion_mnist, mlp_batches
from fmnist.studies import BASELINE_MLP
from fmnist.mlp import MLP

pytestmark = pytest.mark.ci


def test_one_epoch_of_the_baseline():
    "Validation accuracy after an epoch, the mean over four seeds: one's varies by over a point."
    data, accuracies = fashion_mnist(), []
    for seed in range(4):
        train, valid, _ = mlp_batches(data, seed=seed)
        mlp = MLP(input_size=28 * 28, seed=seed, **BASELINE_MLP)
        accuracies.append(mlp.train(train, valid, epochs=1).epochs[0].valid_accuracy)
    assert np.mean(accuracies) > 0.80, accuracies
