"""Build the wheel and the source archive, show what is in them, check it, and try both where nothing else of the project is.

    python .ci/package.py                  in an environment that borrows the requirements of this one
    python .ci/package.py --fresh lowest   in a fresh one, with the lowest requirements that settings.ini allows; or `newest`

The archives go to dist/.
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
FIELDS = "version summary description description_content_type author author_email license_expression license_files keywords classifiers project_urls requires_python requires_dist"
BESIDE = {"CHANGELOG.md", "LICENSE", "MANIFEST.in", "PKG-INFO", "README.md", "pyproject.toml", "settings.ini", "setup.cfg", "setup.py"}  # the package, in the source archive
settings = configparser.ConfigParser(delimiters=["="])
settings.read(ROOT / "settings.ini", encoding="utf-8")
NAME = settings["DEFAULT"]["lib_name"]

# What somebody who has installed the package can do, in a folder of their own.
TRY = f"""
import importlib, pkgutil, re, sys
from importlib.metadata import distribution, requires, version
import {NAME}
assert {NAME}.__file__.startswith(sys.prefix), f"{{{NAME}.__file__}} is not in {{sys.prefix}}"
for module in pkgutil.iter_modules({NAME}.__path__): importlib.import_module(f"{NAME}.{{module.name}}")
for script in distribution("{NAME}").entry_points.select(group="console_scripts"): assert callable(script.load()), script
from {NAME}.data import fashion_mnist_sample
from {NAME}.runner import published_results
needed = [re.match(r"[\\w-]+", line)[0] for line in requires("{NAME}") if not re.search("extra == .(?!bench|dask)", line)]
print(", ".join([f"Python {{sys.version.split()[0]}}", *(f"{{name}} {{version(name)}}" for name in needed)]))
print(len(fashion_mnist_sample().train_images), "images,", len(published_results()), "published results")
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
    return [path for path in run("git", "ls-files", "-z", cwd=ROOT).split("\0") if path and (ROOT / path).exists()]


def build(out):
    "Wheel and source archive of the tracked files, in the folder `out`, which is replaced."
    with tempfile.TemporaryDirectory() as folder:
        for path in tracked():
            (Path(folder) / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, Path(folder) / path)
        if out.exists():
            shutil.rmtree(out)
        run(sys.executable, "-m", "build", "--outdir", out, folder)
    return next(out.glob("*.whl")), next(out.glob("*.tar.gz"))


def wrong_contents(wheel, source):
    "What the archives lack or have too much; beside the package, whose files are those that git knows."
    package = {path for path in tracked() if path.startswith(f"{NAME}/")}
    with zipfile.ZipFile(wheel) as archive:
        sizes = {info.filename: info.file_size for info in archive.infolist()}
    print(f"{wheel.name}: {wheel.stat().st_size:,} bytes; unpacked {sum(sizes.values()):,} in {len(sizes)} files:")
    for name, size in sorted(sizes.items()):
        print(f"{size:11,}  {name}")
    with tarfile.open(source) as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    print(f"{source.name}: {source.stat().st_size:,} bytes, {len(names)} files")
    if wheel.stat().st_size > LIMIT:
        yield f"{wheel.name} is larger than {LIMIT:,} bytes"
    for archive, held, wanted in ((wheel, {n for n in sizes if ".dist-info/" not in n}, package), (source, {n for n in names if ".egg-info/" not in n}, package | BESIDE)):
        yield from (f"{archive.name} lacks {name}" for name in sorted(wanted - held))
        yield from (f"{archive.name} has {name}, which is no part of it" for name in sorted(held - wanted))


def wrong_metadata(wheel):
    "Fields that are missing, that contradict the settings, or that are no use outside of the repository."
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read(next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA")))
    about = Metadata.from_email(text)  # raises an error if a field is not valid
    yield from (f"the metadata have no {field}" for field in FIELDS.split() if not getattr(about, field))
    if str(about.version) != settings["DEFAULT"]["version"]:
        yield f"the metadata say version {about.version}, settings.ini {settings['DEFAULT']['version']}"
    prose = re.sub(r"^```.*?^```", "", about.description, flags=re.M | re.S)
    yield from (f"the description links to {link}, which is nowhere outside of the repository" for link in re.findall(r"\]\(((?!https:)[^)]*)", prose))


def lowest():
    "The lowest versions that the package allows, its extras' too, as pip's constraints."
    keys = "requirements", "bench_requirements", "dask_requirements"
    return "\n".join(requirement.replace(">=", "==") for key in keys for requirement in settings["DEFAULT"][key].split())


def try_out(archive, fresh):
    "Install an archive in an environment of its own, and use it."
    with tempfile.TemporaryDirectory() as folder:
        home, work, constraints = (Path(folder) / name for name in ("env", "work", "constraints.txt"))
        work.mkdir()
        venv.create(home, with_pip=True)
        python = home / "bin" / "python"
        constraints.write_text(lowest() if fresh == "lowest" else "")
        if not fresh:
            place = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
            Path(place, "borrowed.pth").write_text(sysconfig.get_path("purelib"))
        run(python, "-m", "pip", "install", "--quiet", *(["-c", constraints, f"{archive}[bench,dask]"] if fresh else ["--no-deps", archive]))
        print(f"{archive.name}, installed: {run(python, '-I', '-W', 'error', '-c', TRY, cwd=work).strip()}")
        for command in [*COMMANDS, *[WITH_EXTRAS] * bool(fresh)]:
            run(home / "bin" / command.split()[0], *command.split()[1:], cwd=work)
        print(run(python, "-I", "-m", NAME, cwd=work))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--fresh", choices=["lowest", "newest"], help="install the requirements too, in these versions")
    options = parser.parse_args()
    os.environ.pop("PYTHONPATH", None)  # it could name this folder
    archives = build(ROOT / "dist")
    if problems := [*wrong_contents(*archives), *wrong_metadata(archives[0])]:
        sys.exit("\n".join(problems))
    for archive in archives:
        try_out(archive, options.fresh)
