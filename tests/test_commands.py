"Every command line: what ends or hinders it is no traceback."
import argparse
import os
import subprocess
import sys

import pytest

from fmnist.checks import whole_number
from fmnist.commands import COMMANDS

START = "import sys; from fmnist import commands; commands.{}(sys.argv[1:])"


def start(command, *words, **options):
    "A process that runs a console script."
    code = [sys.executable, "-c", START.format(command), *words]
    return subprocess.Popen(code, stderr=subprocess.PIPE, text=True, **options)


def test_a_pipe_that_closes_early():
    "As `fmnist_results report --published | head -1`, but without the luck of a buffer."
    results = ["fmnist_results", "report", "--published", "--budget", "full"]
    for words in (results, ["fmnist_data", "--help"]):
        reading, writing = os.pipe()
        os.close(reading)
        process = start(*words, stdout=writing)
        os.close(writing)
        said = process.communicate()[1]
        assert process.returncode in (141, 0) and not said, said  # argparse takes no notice


def test_a_terminal_that_knows_ascii_alone():
    code = "from fmnist.commands import enter; enter(print, '88.29 \u00b1 0.31 %')"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert done.stdout == b"88.29 ? 0.31 %\n" and not done.stderr


def test_python_dash_m_is_a_command_too():
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "fmnist"]
    process = subprocess.Popen(command, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert not process.communicate()[1] and process.returncode == 141


@pytest.mark.parametrize("text, wrong", [
    ("0", "at least 1"), ("-1", "at least 1"), ("x", "at least 1"),
    ("9" * 20, "at most 2147483647"),
    ("9" * 5000, "at most"), ("1.5", "at least 1"), ("11", "")])  # fmt: skip
def test_numbers_of_a_command_line(text, wrong):
    if not wrong:
        assert whole_number(1)(text) == 11
        return
    with pytest.raises(argparse.ArgumentTypeError, match=wrong):
        whole_number(1)(text)


def test_every_command_is_entered_here():
    assert all(hasattr(__import__("fmnist.commands").commands, name) for name in COMMANDS)
