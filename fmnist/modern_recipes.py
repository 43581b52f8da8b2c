"""The modern CNN's recipes and their options, as data: each is an arm of a study.

A plain module, so that whoever only reads results needs no PyTorch; the notebook on the modern CNN
explains every entry, and its tests are in tests/test_modern_recipes.py.
"""

__all__ = ["MODEL", "RECIPES", "LENGTHS", "OPTIONS", "changed_recipe"]

MODEL = "fmnist.modern_cnn:modern_cnn"  # what a trial calls it

# The networks: arguments of `modern_cnn`, written out, so that a changed default is another trial.
_NETWORK = dict(
    channels=(32, 32, 64, 64, 128, 128), pool_after=(1, 3, 5), residual=(), whitening=8,
    pool_first=True, gain=False, momentum=0.4, final="max", scale=1 / 9, dirac=True,
)  # fmt: skip
_DEEP = _NETWORK | dict(
    channels=(32, 32, 32, 64, 64, 64, 64, 96, 96), pool_after=(1, 4, 8)
)
_WIDE = _NETWORK | dict(
    channels=(64, 64, 64, 128, 128, 128, 256, 256, 256), pool_after=(1, 4, 7)
)

# Their training: arguments of `fmnist.training.recipe`.
_TRAINING = dict(
    optimizer="muon", learning_rate=0.12, weight_decay=0.0, bias_rate=10.0, head_rate=3.0,
    schedule="linear", label_smoothing=0.1, augment=dict(flip="alternate", shift=2),
    test_views=dict(flip=True, shift=1), keep="last",
)  # fmt: skip
_LONG = _TRAINING | dict(augment=dict(flip="alternate", shift=2, erase=8))

# On all 60,000 images, without validation: what was chosen, was chosen before, on a split.
_ALL = dict(batch_size=500, valid_fraction=0.0)

RECIPES: dict[str, dict] = {
    "fast": dict(settings=_NETWORK, epochs=8, training=_TRAINING, **_ALL),
    "tiny": dict(settings=_DEEP, epochs=120, training=_LONG, **_ALL),
    "best": dict(settings=_WIDE, epochs=80, training=_LONG, **_ALL),
}

# What 5, 20 and 50 epochs give, the lengths that public notebooks report: a network twice as wide
# as that of `fast`; erasing only where there is time to learn the rest of the picture.
_WIDER = _NETWORK | dict(channels=(64, 64, 128, 128, 256, 256))
LENGTHS: dict[str, dict] = {
    "5 epochs": dict(settings=_WIDER, epochs=5, training=_TRAINING, **_ALL),
    "20 epochs": dict(settings=_WIDER, epochs=20, training=_LONG, **_ALL),
    "50 epochs": dict(settings=_WIDER, epochs=50, training=_LONG, **_ALL),
}


def changed_recipe(
    base: dict,  # Of `RECIPES`; left as it is
    settings=None,  # What changes in the network
    training=None,  # What changes in the training; None as a value takes an entry out
    **rest,  # What changes besides, such as epochs and batch_size
) -> dict:  # Like `base`
    "A recipe with something changed."
    options = {**base["training"], **(training or {})}
    kept = {name: value for name, value in options.items() if value is not None}
    return base | dict(settings=base["settings"] | (settings or {}), training=kept) | rest


_NO_MUON = dict(bias_rate=None, head_rate=None)

# One thing changed in `fast`, as arguments of `changed_recipe`; residual blocks have no Dirac
# start, and other optimizers have rates of their own.
OPTIONS: dict[str, dict] = {
    "all": {},
    # the network
    "no whitening": dict(settings=dict(whitening=0)),
    "normalisation, then pooling": dict(settings=dict(pool_first=False)),
    "a trained scale": dict(settings=dict(gain=True)),
    "mean at the end": dict(settings=dict(final="mean")),
    "random kernels at the start": dict(settings=dict(dirac=False)),
    "residual": dict(settings=dict(residual=(2, 4, 6))),
    # its training
    "one cycle": dict(training=dict(schedule="one cycle")),
    "constant rate": dict(training=dict(schedule="constant")),
    "hard labels": dict(training=dict(label_smoothing=None)),
    "no augmentation": dict(training=dict(augment=None)),
    "flips alone": dict(training=dict(augment=dict(flip="alternate"))),
    "shifts alone": dict(training=dict(augment=dict(shift=2))),
    "flips by a coin": dict(training=dict(augment=dict(flip=True, shift=2))),
    "erasing": dict(training=dict(augment=dict(flip="alternate", shift=2, erase=8))),
    "batches of 250": dict(batch_size=250),
    "batches of 1000": dict(batch_size=1000),
    "Nesterov": dict(training=_NO_MUON | dict(optimizer="nesterov", learning_rate=0.5)),
    "AdamW": dict(
        training=_NO_MUON | dict(optimizer="adamw", learning_rate=0.003, weight_decay=0.01)
    ),
    "average of the weights": dict(training=dict(average=0.99)),
    "one view": dict(training=dict(test_views=None)),
}
