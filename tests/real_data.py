"What must hold on the full data set: run by `.ci/run`, not by `make test` (its name does not start with test_)."
from fmnist.data import fashion_mnist, mlp_batches
from fmnist.experiments import BASELINE_MLP
from fmnist.mlp import MLP


def test_one_epoch_of_the_baseline():
    train, valid, test = mlp_batches(fashion_mnist())
    mlp = MLP(input_size=28 * 28, seed=0, **BASELINE_MLP)
    history = mlp.train(train, valid, epochs=1)
    scores = mlp.evaluate(test)
    print(scores)
    assert scores.accuracy > 0.80
    assert abs(scores.accuracy - history.epochs[0].valid_accuracy) < 0.03
