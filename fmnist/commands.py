"""Where console scripts enter: what ends or hinders any command is met here, once.

A plain module, without a notebook: its tests are in tests/test_commands.py and
tests/test_sweeps.py. A command that imports PyTorch takes a second or two before its first line
runs. Whoever presses Ctrl-C meanwhile wants one word, not a traceback; whoever reads only the first
lines, as `head` does, wants no more; and a terminal that knows ASCII alone shows a question mark
for a letter that it lacks.
"""

import os
import signal
import sys
import threading
from contextlib import contextmanager
from functools import partial
from importlib import import_module

__all__ = ["COMMANDS", "call", "enter"]

COMMANDS = {  # Name of each command -> the module that has it
    "fmnist_data": "files",
    "fmnist_run": "studies",
    "fmnist_results": "studies",
    "fmnist_report": "report",
    "fmnist_recipe": "recipes",
    "fmnist_bench": "benchmarks",
    "fmnist_speedrun": "speedrun",
    "fmnist_predict": "use",
}


def is_importing(
    frame,  # Where Python is, or None
) -> bool:  # Is a module's first run under way there?
    "Does this happen inside an import?"
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def stop(
    number,  # Of the signal
    frame,  # Where Python is
):
    "What Ctrl-C does: `KeyboardInterrupt`; an import can swallow or change that: leave there."
    if not is_importing(frame):
        signal.default_int_handler(number, frame)
    os.write(2, b"\nStopped.\n")
    os._exit(1)  # as safe as a kill, which every run survives


@contextmanager
def listening():
    "Hear Ctrl-C as `stop` does, where nobody hears it otherwise yet."
    before = signal.getsignal(signal.SIGINT)
    in_main = threading.current_thread() is threading.main_thread()
    is_ours = before is signal.default_int_handler and in_main
    if is_ours:
        signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        if is_ours:
            signal.signal(signal.SIGINT, before)


def enter(
    command,  # What to call
    *arguments,  # What to give it
):  # What it returns
    "Call what a command asks for; Ctrl-C, a closed pipe, letters that a terminal lacks: no errors."
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    with listening():
        try:
            try:
                return command(*arguments)
            finally:
                sys.stdout.flush()
        except BrokenPipeError:  # nobody reads any more; Python would complain again when it ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(128 + signal.SIGPIPE)
        except KeyboardInterrupt:
            sys.exit("\nStopped.")


def call(
    name: str,  # A key of `COMMANDS`
    argv: list | None = None,  # Its arguments, by default those of the command line
):  # What the command returns
    "Import a command and run it."

    def command():
        return getattr(import_module(f"fmnist.{COMMANDS[name]}"), name)(argv)

    return enter(command)


def __getattr__(name):
    "Each command, ready to be called, under its own name."
    if name in COMMANDS:
        return partial(call, name)
    raise AttributeError(f"fmnist.commands has no {name}")
