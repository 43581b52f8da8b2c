"""How networks are kept: what a file holds, what is refused, and how training goes on from it.

A plain module, without a notebook: its tests are in tests/test_npz.py and tests/test_mlp.py. A
saved network is an `.npz` file (see `fmnist.npz`) with its arrays and one JSON text. Everything
here works on what `MLP` and `ModernMLP` have in common: `params`, `network`, `optimizer`,
`average`, `config`, `records`.
"""

import numpy as np

from .checks import (CheckpointError, as_array, check, check_choice, check_same_settings, is_number,
                     is_whole)
from .layers import Named, array_like, namespace
from .metrics import History
from .npz import Archive, refusing, write_npz

__all__ = ["put_state", "known_shapes", "restore", "resume", "read_about", "mlp_weights",
           "check_rate", "load", "save"]


def put_state(
    net,  # `MLP`
    state: dict,  # Name -> array
):
    "Copies of all arrays of a state go where they belong."
    like = net.network.array()
    copied = {name: namespace(like).asarray(array_like(value, like, like.dtype), copy=True)
              for name, value in state.items() if name != "updates"}
    net.params = {name: copied[name] for name in net.params}
    extra = {name[6:]: value for name, value in copied.items() if name.startswith("extra.")}
    layers = Named(net.network.layers, "memory")
    layers.update({name: extra.pop(name) for name in layers if name in extra})
    if net.average is not None:
        averages = [name for name in extra if name.startswith("average.")]
        net.average.memory = {name[8:]: extra.pop(name) for name in averages}
    net.optimizer.memory, net.optimizer.updates = extra, int(state.get("updates", 0))


def known_shapes(
    net,  # `MLP`
) -> dict:  # Name -> shape
    "Every array that a file of such a network may hold."
    params = {name: tuple(value.shape) for name, value in net.params.items()}
    memory = Named(net.network.layers, "memory")
    layers = {f"extra.{name}": tuple(value.shape) for name, value in memory.items()}
    slots = {f"extra.{slot}.{name}": shape for slot in ("v", "m", "s", "average")
             for name, shape in params.items()}
    once = {**params, **layers, **slots, "updates": ()}
    return {**once, **{f"best.{name}": shape for name, shape in once.items()}}


def mlp_weights(
    config: dict,  # Settings of an `MLP` or a `ModernMLP`
) -> int:  # Without biases and gains
    "How many weights the matrices of such networks have."
    sizes = [config["input_size"], *config["layers"]]
    networks = len(config["seed"]) if isinstance(config["seed"], list) else 1
    return networks*sum(n_in*n_out for n_in, n_out in zip(sizes[:-1], sizes[1:], strict=True))


def _check_size(config, archive):
    "The parameters that these settings ask for fit into the file."
    numbers = mlp_weights(config)
    good = 0 < 2*numbers <= sum(archive.sizes.values())  # the smallest are float16
    check(good, "the number of weights that the settings ask for", numbers, "those in the file")


def _read_records(about, networks):
    "The records of a file, for each network a list of `Epoch`s."
    records = [list(History.from_dict(lines).epochs) for lines in about["records"]]
    numbers = [[epoch.epoch for epoch in lines] for lines in records]
    good = numbers == [list(range(1, len(numbers[0]) + 1))]*networks
    check(good, "the epochs of its records", numbers,
          f"1, 2, 3, ... for each of {networks} networks")
    for epoch in (epoch for lines in records for epoch in lines):
        good = all(map(is_number, vars(epoch).values()))
        check(good, "an epoch of its records", epoch, "finite numbers")
    began = about.get("began", 0)
    good = is_whole(began, 0) and began <= len(records[0])
    check(good, "began", began, "a whole number up to its epochs")
    return records, began


def restore(
    net,  # `MLP` with the settings of the file
    about: dict,  # What the file says
    archive,  # `Archive`
):
    "Take over arrays and records."
    records, began = _read_records(about, len(net.seeds))
    arrays = archive.arrays(known_shapes(net), required=list(net.params))
    for name, value in arrays.items():
        with np.errstate(over="ignore"):
            fits = np.isfinite(value.astype(net.config["dtype"])).all()
        check(fits, f"the largest number of {name}", float(np.abs(value).max()),
              f"one that {net.config['dtype']} has")
    best = {name[5:]: value for name, value in arrays.items() if name.startswith("best.")}
    net.set_state({name: value for name, value in arrays.items() if not name.startswith("best.")})
    net.records, net.epoch, net.began = records, len(records[0]), began
    training = about.get("training")
    check(isinstance(training, (dict, type(None))), "training", training, "a dictionary")
    net.training, net.best = training, best or None


OTHER = "Name another checkpoint"


def _without_place(config):
    return {name: value for name, value in config.items() if name not in ("library", "device")}


def _check_same(path, about, net):
    "The file comes from the same network, trained in the same way, on the same data."
    check_same_settings(path, _without_place(about["config"]), _without_place(net.config_now()),
                        OTHER)
    theirs = about.get("training") or {}  # files of older versions do not say
    mine = {name: value for name, value in net.training.items() if name in theirs}
    check_same_settings(path, theirs, mine, OTHER)


def resume(
    training,  # `Training`
    path,  # Its checkpoint
):
    "Go on from a checkpoint."
    net, began, mine = training.net, training.net.began, training.net.training
    with refusing(path), Archive(path) as archive:
        about = read_about(archive, type(net))
        _check_same(path, about, net)
        records, their_began = _read_records(about, len(net.seeds))
    epochs, goal = len(records[0]), training.goal + their_began - began
    if net.epoch > epochs:
        raise CheckpointError(f"{path} has {epochs} epochs, this network {net.epoch}, "
                              f"which it would replace. {OTHER}")
    if epochs > goal:
        raise CheckpointError(f"{path} has {epochs} epochs, expected at most the {goal} asked for. "
                              f"{OTHER}")
    with refusing(path), Archive(path) as archive:
        restore(net, about, archive)
    training.goal, net.training = goal, mine


def read_about(
    archive,  # `Archive`
    kind: type,  # The class that should have written it
) -> dict:  # With "config", "records", ...
    "What a file says of its network."
    about = archive.about()
    wrote = about.get("kind", kind.__name__)  # older files do not say
    check(wrote == kind.__name__, "the class that wrote it", wrote,
          f"{kind.__name__}: read it with {wrote}.load")
    return about


MOST_RATE = 1000  # Learning rate: far above any that a network has learned with


def check_rate(
    config: dict,  # Settings of a network
):
    "No file makes a network that jumps to infinity at its next step."
    rate = config.get("learning_rate", 0)
    good = is_number(rate) and rate <= MOST_RATE
    check(good, "learning_rate", rate, f"a number of at most {MOST_RATE}")


def load(
    path,  # What `save` has written
    kind: type,  # The class that has written it, such as `MLP`
    **changed,  # `library` or `device`, to continue elsewhere
):  # The network as it was
    "Read a network back; also as a class method, `MLP.load(path)`."
    check_choice("library", changed.get("library", "numpy"), ("numpy", "torch"))
    with refusing(path), Archive(path) as archive:
        about = read_about(archive, kind)
        _check_size(about["config"], archive)
        check_rate(about["config"])
        net = kind(**about["config"] | changed)
        restore(net, about, archive)
    return net


def save(
    net,  # `MLP`
    path,  # File to write, usually *.npz
):
    "Write a network and its records."
    arrays = {name: as_array(value) for name, value in net.state().items()}
    if net.best:
        arrays |= {f"best.{name}": as_array(value) for name, value in net.best.items()}
    records = [History(tuple(lines)).to_dict() for lines in net.records]
    about = dict(kind=type(net).__name__, config=net.config_now(), records=records, began=net.began,
                 training=net.training)
    write_npz(path, about, arrays)
