"""What computed a number: device, processor, its instructions, versions and the commit of the code.

A plain module, without a notebook: its tests are in tests/test_package.py.
"""

import functools
import importlib
import json
import os
import platform
import subprocess
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution, version
from importlib.resources import files
from pathlib import Path

from . import __version__

__all__ = ["commit", "available_cores", "default_threads", "describe_machine"]

# What decides the bits and the speed of matrix products, newest first; names as in /proc/cpuinfo.
_INSTRUCTIONS = ("amx_bf16", "avx512_bf16", "avx512f", "avx2", "asimd")


@functools.cache
def commit() -> (
    str | None
):  # Such as "5d1d97a0c1de", with "-dirty" if files were changed; None if nothing is known
    "The git commit of this package: of the checkout it is imported from, or what pip wrote down."
    top = Path(str(files("fmnist"))).parent
    if (top / ".git").exists():  # else a repository around it, if there is one, is somebody else's
        describe = [
            "git",
            "-C",
            str(top),
            "describe",
            "--always",
            "--dirty",
            "--abbrev=12",
            "--exclude=*",
        ]
        with suppress(OSError, subprocess.SubprocessError):
            return subprocess.run(
                describe, capture_output=True, text=True, check=True, timeout=20
            ).stdout.strip()
    try:
        return json.loads(distribution("fmnist").read_text("direct_url.json") or "{}")["vcs_info"][
            "commit_id"
        ][:12]
    except (PackageNotFoundError, KeyError, ValueError):
        return None


def available_cores() -> int:  # At least 1
    "How many cores this process may use."
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_threads() -> int:  # At least 1
    "Threads that NumPy's libraries use, as far as the environment says; of 4,2 the first counts."
    with suppress(ValueError):
        threads = int(os.environ.get("OMP_NUM_THREADS", "").partition(",")[0])
        if threads > 0:
            return threads
    return available_cores()


def describe_machine(
    device="cpu",  # Where the model computed: a torch device or its name
    threads: int | None = None,  # Threads that it used; by default what the environment says
) -> dict:  # Strings and numbers, ready for JSON
    "Device, processor, instructions, cores, and the versions that decide what comes out."
    name = str(device)
    if name.startswith("cuda"):
        with suppress(AssertionError, RuntimeError):  # there is no such GPU
            name = importlib.import_module("torch").cuda.get_device_name(device)
    return {"device": name, "threads": threads or default_threads()} | _software()


def _cpu_lines(name):
    "What Linux says of the first core under this name."
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")


@functools.cache
def _software():
    "The part of the description that does not change while a process lives."
    flags = set((_cpu_lines("flags") or _cpu_lines("Features")).split())
    return {
        "processor": _cpu_lines("model name") or platform.processor() or platform.machine(),
        "instructions": next((name for name in _INSTRUCTIONS if name in flags), "unknown"),
        "cores": os.cpu_count(), "system": platform.system(), "python": platform.python_version(),
        "fmnist": __version__, **{name: version(name) for name in ("numpy", "torch")},
        "commit": commit(),
    }  # fmt: skip
