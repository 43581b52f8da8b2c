"""Where console scripts enter: what a command needs is imported when it runs, within reach of Ctrl-C.

A plain module, without a notebook: its tests are in tests/test_sweeps.py. A command that imports PyTorch takes a second
or two before its first line runs. Whoever presses Ctrl-C meanwhile wants one sentence, not a traceback.
"""

import signal
import sys
import threading
from contextlib import contextmanager
from functools import partial
from importlib import import_module

__all__ = ["COMMANDS", "call"]

COMMANDS = {  # Name of each command -> the module that has it
    "fmnist_data": "files",
    "fmnist_run": "studies",
    "fmnist_results": "studies",
    "fmnist_report": "report",
    "fmnist_recipe": "recipes",
    "fmnist_bench": "benchmarks",
}


@contextmanager
def listening():
    "Say whether Ctrl-C was pressed meanwhile: some libraries turn it into another error if it meets their import."
    pressed: list = []

    def press(number, frame):
        pressed.append(number)
        signal.default_int_handler(number, frame)

    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler or threading.current_thread() is not threading.main_thread():
        yield pressed
        return
    signal.signal(signal.SIGINT, press)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


def call(
    name: str,  # A key of `COMMANDS`
    argv: list | None = None,  # Its arguments, by default those of the command line
):  # What the command returns
    "Import a command and run it; Ctrl-C ends it with one word."
    with listening() as pressed:
        try:
            command = getattr(import_module(f"fmnist.{COMMANDS[name]}"), name)
            return command(argv)
        except KeyboardInterrupt:
            sys.exit("\nStopped.")
        except Exception:
            if not pressed:
                raise
            sys.exit("\nStopped.")


def __getattr__(name):
    "Each command, ready to be called, under its own name."
    if name in COMMANDS:
        return partial(call, name)
    raise AttributeError(f"fmnist.commands has no {name}")
