"""Build the wheel and the source archive, check what is in them, and use the wheel elsewhere.

    python .ci/package.py                  in an environment that borrows this one's requirements
    python .ci/package.py --fresh lowest   with the lowest that settings.ini allows; or `newest`

The archives go to dist/; the wheel is made from the source archive, so both are tried.
"""

import argparse
import configparser
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

from packaging.metadata import Metadata

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 5_000_000  # bytes of the wheel
FIELDS = """version summary description description_content_type author author_email
license_expression license_files keywords classifiers project_urls requires_python requires_dist"""
BESIDE = {  # the package, in the source archive
    *("CHANGELOG.md", "LICENSE", "MANIFEST.in", "PKG-INFO", "README.md"),
    *("pyproject.toml", "settings.ini", "setup.cfg", "setup.py"),
}
parser = configparser.ConfigParser(delimiters=["="])
parser.read(ROOT / "settings.ini", encoding="utf-8")
settings = parser["DEFAULT"]
NAME = settings["lib_name"]

# What somebody who has installed the package can do, in a folder of their own.
TRY = f"""
import importlib, pkgutil, re, sys
from importlib.metadata import distribution, requires, version
import {NAME}
assert {NAME}.__file__.startswith(sys.prefix), f"{{{NAME}.__file__}} is not in {{sys.prefix}}"
for module in pkgutil.iter_modules({NAME}.__path__):
    importlib.import_module(f"{NAME}.{{module.name}}")
for script in distribution("{NAME}").entry_points.select(group="console_scripts"):
    assert callable(script.load()), script
lines = [line for line in requires("{NAME}") if not re.search("extra == .(?!bench|dask|onnx)", line)]
for name in sorted(re.match(r"[\\w-]+", line)[0] for line in lines):
    print(name, version(name))
"""
COMMANDS = [
    "fmnist_data --help",
    "fmnist_run initialization --budget smoke --seeds 1",
    "fmnist_results report --published --budget full",
]
WITH_EXTRAS = "fmnist_bench mlp --sample --threads 1 --rounds 1"  # takes half a minute


def run(*command, **options):
    "Run a command; what it says on standard output. A failure ends the script."
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, **options)
    if done.returncode:
        sys.exit(f"`{' '.join(map(str, command))}` failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def tracked():
    "The files of the project that git knows, as they are now."
    files = run("git", "ls-files", "-z", cwd=ROOT).split("\0")
    return [path for path in files if path and (ROOT / path).exists()]


def build(out):
    "Wheel and source archive of the tracked files, in the folder `out`, which is replaced."
    with tempfile.TemporaryDirectory() as folder:
        for path in tracked():
            (Path(folder) / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, Path(folder) / path)
        shutil.rmtree(out, ignore_errors=True)
        run(sys.executable, "-m", "build", "--outdir", out, folder)
    return next(out.glob("*.whl")), next(out.glob("*.tar.gz"))


def wrong_contents(wheel, source):
    "What the archives lack or have too much; the package's files are those that git knows."
    package = {path for path in tracked() if path.startswith(f"{NAME}/")}
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = {name for name in archive.namelist() if ".dist-info/" not in name}
    with tarfile.open(source) as archive:
        names = {each.name.partition("/")[2] for each in archive.getmembers() if each.isfile()}
        in_source = {name for name in names if ".egg-info/" not in name}
    size = wheel.stat().st_size
    print(f"{wheel.name}: {size:,} bytes, {len(in_wheel)} files; {source.name}: {len(names)} files")
    if size > LIMIT:
        yield f"{wheel.name} is larger than {LIMIT:,} bytes"
    for path, held, wanted in (wheel, in_wheel, package), (source, in_source, package | BESIDE):
        yield from (f"{path.name} lacks {name}" for name in sorted(wanted - held))
        yield from (f"{path.name} has {name}, which is no part" for name in sorted(held - wanted))


def wrong_metadata(wheel):
    "Fields that are missing, that contradict the settings, or are no use outside the repository."
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        about = Metadata.from_email(archive.read(name))  # raises an error if a field is not valid
    yield from (
        f"no {field} in the metadata" for field in FIELDS.split() if not getattr(about, field)
    )
    if str(about.version) != settings["version"]:
        yield f"the metadata say version {about.version}, settings.ini {settings['version']}"
    prose = re.sub(r"^```.*?^```", "", about.description, flags=re.M | re.S)
    for link in re.findall(r"\]\(((?!https:)[^)]*)", prose):
        yield f"the description links to {link}, which is nowhere outside of the repository"


def lowest():
    "The lowest versions that the package allows, its extras' too, as pip's constraints."
    keys = "requirements", "bench_requirements", "dask_requirements", "onnx_requirements"
    return "\n".join(settings[key].replace(">=", "==") for key in keys).replace(" ", "\n")


def try_out(archive, fresh):
    "Install an archive in an environment of its own, and use it."
    with tempfile.TemporaryDirectory() as folder:
        home, work, constraints = (Path(folder) / name for name in ("env", "work", "constraints"))
        work.mkdir()
        venv.create(home, with_pip=True)
        python, commands = home / "bin" / "python", COMMANDS
        install = [python, "-m", "pip", "install", "--quiet"]
        if fresh:
            constraints.write_text(lowest() if fresh == "lowest" else "")
            run(*install, "-c", constraints, f"{archive}[bench,dask,onnx]")
            commands = [*COMMANDS, WITH_EXTRAS]
        else:
            code = "import sysconfig; print(sysconfig.get_path('purelib'))"
            borrowed = Path(run(python, "-c", code).strip(), "borrowed.pth")
            borrowed.write_text(sysconfig.get_path("purelib"))
            run(*install, "--no-deps", archive)
        print(run(python, "-I", "-W", "error", "-c", TRY, cwd=work))
        for command in commands:
            run(home / "bin" / command.split()[0], *command.split()[1:], cwd=work)
        print(run(python, "-I", "-m", NAME, cwd=work))


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--fresh", choices=["lowest", "newest"], help="install these requirements, too")
    options = parser.parse_args()
    os.environ.pop("PYTHONPATH", None)  # it could name this folder
    wheel, source = build(ROOT / "dist")
    if problems := [*wrong_contents(wheel, source), *wrong_metadata(wheel)]:
        sys.exit("\n".join(problems))
    try_out(wheel, options.fresh)


if __name__ == "__main__":
    main()
