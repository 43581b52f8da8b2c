"The project's settings, and how the other scripts run commands."

import subprocess
import sys
from pathlib import Path

from fastcore.foundation import Config

ROOT = Path(__file__).resolve().parents[1]
settings = Config(ROOT, "settings.ini", delimiters=["="]).d
NAME = settings["lib_name"]


def run(*command, **options):
    "Run a command; what it says on standard output. A failure ends the script."
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, **options)
    if done.returncode:
        sys.exit(f"`{' '.join(map(str, command))}` failed:\n{done.stdout}{done.stderr}")
    return done.stdout
