"The project's settings, its wheel, and how the other scripts run commands."

import configparser
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 5_000_000  # bytes of the wheel
parser = configparser.ConfigParser(delimiters=["="])
parser.read(ROOT / "settings.ini", encoding="utf-8")
settings = parser["DEFAULT"]
NAME = settings["lib_name"]


def run(*command, **options):
    "Run a command; what it says on standard output. A failure ends the script."
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, **options)
    if done.returncode:
        sys.exit(f"`{' '.join(map(str, command))}` failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def build(out):
    "The wheel of the files that git knows, made from their source archive, in the folder `out`."
    files = run("git", "ls-files", "-z", cwd=ROOT).split("\0")
    files = [path for path in files if path and (ROOT / path).exists()]
    with tempfile.TemporaryDirectory() as folder:
        run("cp", "--parents", *files, folder, cwd=ROOT)
        run(sys.executable, "-m", "build", "--outdir", out, folder)
    wheel = next(Path(out).glob("*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    if wrong := held ^ {path for path in files if path.startswith(f"{NAME}/")}:
        sys.exit(f"{wheel.name} and git do not both have {', '.join(sorted(wrong))}")
    if wheel.stat().st_size > LIMIT:
        sys.exit(f"{wheel.name} is larger than {LIMIT:,} bytes")
    return wheel
