"The download from outside: two processes at once, a kill in the middle, the console script."
import http.server
import os
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest

import fmnist.data

# Finds the sample through mirrors alone; its table of checksums is made from the shipped files.
PROGRAM = """
import hashlib, sys
from pathlib import Path
import fmnist.data as d
d._DEBIAN = d._KAGGLE = Path("nowhere")
table = {name: (part.shape, hashlib.sha256(d._idx_header(part) + part.tobytes()).hexdigest()) for name, part in zip(d.FILES, d.fashion_mnist_sample())}
print(len(d.fashion_mnist(mirrors=(sys.argv[1],), table=table).train_labels))
"""
NAMES = sorted(f"{name}.gz" for name in fmnist.data.FILES)


class Slow(http.server.SimpleHTTPRequestHandler):
    "Serves a file in small pieces with pauses, so that something can happen in between."

    pause = 0.0

    def log_message(self, *args):
        pass

    def copyfile(self, source, outputfile):
        while piece := source.read(1 << 16):
            outputfile.write(piece)
            time.sleep(self.pause)


@pytest.fixture
def mirror(request):
    handler = type("Handler", (Slow,), {"pause": request.param})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(fmnist.data._SAMPLE)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


def start(mirror, cache):
    "A process of its own that wants the data."
    environment = {key: value for key, value in os.environ.items() if key != "FMNIST_DATA"}
    environment |= {"XDG_CACHE_HOME": str(cache), "PYTHONPATH": str(Path(fmnist.data.__file__).parents[1])}
    return subprocess.Popen([sys.executable, "-c", PROGRAM, mirror], env=environment, cwd=cache, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("mirror", [0.02], indirect=True)
def test_two_at_once(mirror, tmp_path):
    processes = [start(mirror, tmp_path) for _ in range(2)]
    answers = [process.communicate(timeout=60) for process in processes]
    assert [out.strip() for out, _ in answers] == ["2000", "2000"], answers
    assert sorted(path.name for path in (tmp_path / "fmnist").iterdir()) == NAMES


@pytest.mark.parametrize("mirror", [0.2], indirect=True)
def test_killed_in_the_middle(mirror, tmp_path):
    process = start(mirror, tmp_path)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("fmnist/.train-images*.tmp")):
        assert time.monotonic() < deadline and process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not (tmp_path / "fmnist" / "train-images-idx3-ubyte.gz").exists()  # nothing that looks whole
    out, err = start(mirror, tmp_path).communicate(timeout=60)
    assert out.strip() == "2000", err


def test_console_script_without_data(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(fmnist.data, "_DEBIAN", tmp_path / "debian")
    monkeypatch.setattr(fmnist.data, "_KAGGLE", tmp_path / "kaggle")
    monkeypatch.setattr(fmnist.data.fashion_mnist, "__defaults__", (None, (), fmnist.data.FILES))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("FMNIST_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="Fashion-MNIST was not found. Tried:"):
        fmnist.data.fmnist_data([])
    monkeypatch.setenv("PATH", str(tmp_path))  # no apt-get here
    with pytest.raises(SystemExit, match="Debian's package: .*apt-get"):
        fmnist.data.fmnist_data(["--debian"])


def test_debian_package_without_root(monkeypatch, tmp_path):
    "Unpacked into the cache by programs that stand in for Debian's; they check how they are called."
    tools, sample = tmp_path / "bin", fmnist.data._SAMPLE
    tools.mkdir()
    (tools / "apt-get").write_text('#!/bin/sh\n[ "$*" = "download dataset-fashion-mnist" ] && : > dataset.deb\n')
    (tools / "dpkg-deb").write_text(
        f'#!/bin/sh\n[ "$1" = -x ] && [ -f "$2" ] && mkdir -p "$3{fmnist.data._DEBIAN}" && cp "{sample}"/*.gz "$3{fmnist.data._DEBIAN}"\n'
    )
    for tool in tools.iterdir():
        tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    fmnist.data.debian_package()
    assert sorted(path.name for path in (tmp_path / "cache" / "fmnist").iterdir()) == NAMES
