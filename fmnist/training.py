from .cnn import *
from .cnn import _fork_rng as fork_rng, _torch_seed as torch_seed, _checkpoint_path as checkpoint_path
from . import cnn, checks
import torch
def fit(*a, dtype=None, **k):
    try: return cnn.fit(*a, dtype=None if dtype in (None,"float32") else getattr(torch, dtype), **k)
    except cnn.CheckpointError as e: raise checks.CheckpointError(str(e)) from e
def predict_proba(model, b, dtype=None, test_views=None): return cnn.predict_proba(model, b, None if dtype in (None,"float32") else getattr(torch, dtype))
