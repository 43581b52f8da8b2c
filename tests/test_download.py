"Fashion-MNIST is found wherever it may lie, or downloaded, whatever mirrors and killers do."

import http.server
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest

from fmnist import files
from fmnist.data import ImageData, fashion_mnist
from fmnist.files import (
    FILES,
    SAMPLE_FOLDER,
    Download,
    find_fashion_mnist,
    idx_digest,
    save_idx_file,
)

SAMPLE = files.load_sample()
TABLE = {name: (part.shape, idx_digest(part)) for name, part in zip(FILES, SAMPLE, strict=True)}
NAMES = sorted(f"{name}.gz" for name in FILES)
NOBODY = "http://127.0.0.1:9/"
# Finds the sample through mirrors alone, in a process of its own.
PROGRAM = """
import sys
from pathlib import Path
from fmnist import files
from fmnist.files import FILES, idx_digest, load_sample
files.DEBIAN_FOLDER = files.KAGGLE_FOLDER = Path("nowhere")
table = {name: (part.shape, idx_digest(part)) for name, part in zip(FILES, load_sample())}
print(len(files.find_fashion_mnist(mirrors=(sys.argv[1],), table=table)[1]))
"""


class Handler(http.server.SimpleHTTPRequestHandler):
    "Serves the sample in small pieces with pauses, so that something can happen in between."

    pause = 0.0
    piece = 1 << 16
    agents: list = []

    def log_message(self, *args):
        pass

    def copyfile(self, source, outputfile):
        self.agents.append(self.headers["User-Agent"])
        while piece := source.read(self.piece):
            outputfile.write(piece)
            time.sleep(self.pause)


@pytest.fixture
def serve():
    "A function that starts a web server for a folder and gives its address."
    servers = []

    def start(folder=SAMPLE_FOLDER, **settings):
        handler = partial(type("Handler", (Handler,), settings), directory=str(folder))
        servers.append(http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler))
        threading.Thread(target=servers[-1].serve_forever, args=(0.02,), daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}/"

    yield start
    for server in servers:
        server.shutdown()


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    "An empty folder, in a surrounding where no place has the data."
    monkeypatch.setattr(files, "DEBIAN_FOLDER", tmp_path / "debian")
    monkeypatch.setattr(files, "KAGGLE_FOLDER", tmp_path / "kaggle")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("FMNIST_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def find(*arguments, **settings):
    "What is found, with the sample in place of the whole data set."
    return find_fashion_mnist(*arguments, table=TABLE, **settings)


def is_sample(arrays):
    return all(map(np.array_equal, arrays, SAMPLE))


@cache
def written(name, suffix):
    "A file of the sample, packed once for all tests."
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}{suffix}"
        save_idx_file(path, dict(zip(FILES, SAMPLE, strict=True))[name])
        return path.read_bytes()


def store(folder, suffix="", spelling=lambda name: name, change=None):
    "Write the sample into a folder."
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in zip(FILES, SAMPLE, strict=True):
        path = folder / f"{spelling(name)}{suffix}"
        if change:
            save_idx_file(path, change(part))
        else:
            path.write_bytes(written(name, suffix))


def speak(answer):
    "The address of a server that gives this answer to whatever it is asked."
    server = socket.create_server(("127.0.0.1", 0))

    def answers():
        while True:
            connection = server.accept()[0]
            connection.recv(65536)
            connection.sendall(answer)
            connection.close()

    threading.Thread(target=answers, daemon=True).start()
    return f"http://127.0.0.1:{server.getsockname()[1]}/"


# --- mirrors ---


def test_mirrors_that_fail_give_way(serve, nowhere):
    (nowhere / "bad").mkdir()
    for name in NAMES:
        (nowhere / "bad" / name).write_bytes(b"<html>404, but politely</html>")
    strange = [
        speak(b"hello?\r\n\r\n"),
        speak(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\ncut"),
        speak(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n"),
    ]
    assert is_sample(find(mirrors=(NOBODY, serve(nowhere / "bad"), *strange, serve())))
    assert sorted(path.name for path in files.cache_folder().iterdir()) == NAMES
    assert is_sample(find(mirrors=()))  # from the cache


def test_only_what_is_damaged_is_fetched_again(serve, nowhere):
    asked = []
    good = serve(agents=asked)
    find(mirrors=good)
    assert len(asked) == 4
    damaged = files.cache_folder() / "t10k-labels-idx1-ubyte.gz"
    damaged.write_bytes(damaged.read_bytes()[:100])
    (files.cache_folder() / "train-labels-idx1-ubyte").write_bytes(
        b"a damaged file beside the good one"
    )
    left_over = (
        files.cache_folder() / ".train-images-idx3-ubyte.gz.123-abc.tmp"
    )  # of a killed download
    left_over.touch()
    os.utime(left_over, (0, 0))
    assert is_sample(find(mirrors=good))
    assert len(asked) == 5 and not left_over.exists()


def test_mirror_as_one_string_without_its_slash(serve, nowhere):
    assert is_sample(find(mirrors=serve()[:-1]))


def test_user_agent(serve, nowhere):
    asked = []
    find(mirrors=serve(agents=asked), download=Download(user_agent="a test"))
    assert asked == ["a test"] * 4
    assert Download().user_agent.startswith("fmnist/")


def test_a_dripping_mirror_is_given_up(serve, nowhere):
    began = time.monotonic()
    settings = Download(window=0.5, least_speed=1000)
    assert is_sample(find(mirrors=(serve(piece=1, pause=0.1), serve()), download=settings))
    assert time.monotonic() - began < 5


def test_dripping_headers_are_given_up(serve, nowhere):
    server = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def drip():
        connection = server.accept()[0]
        connection.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
        while not over.wait(0.1):
            try:
                connection.sendall(b"x")
            except OSError:
                return

    threading.Thread(target=drip, daemon=True).start()
    address = f"http://127.0.0.1:{server.getsockname()[1]}/"
    assert is_sample(find(mirrors=(address, serve()), download=Download(window=0.5)))
    over.set()


def test_overall_limit(serve, nowhere):
    "Fast enough in every window, but never done."
    settings = Download(window=0.2, least_speed=1, seconds=1)
    with pytest.raises(FileNotFoundError, match="bytes in 1 s, and still not done"):
        find(mirrors=serve(piece=1000, pause=0.05), download=settings)
    assert not list(files.cache_folder().iterdir())


def test_the_bar_shows_what_arrives(serve, nowhere, monkeypatch):
    import tqdm

    seen = []

    class Bar(tqdm.tqdm):
        def update(self, n=1):
            seen.append((time.monotonic(), n))
            return super().update(n)

    monkeypatch.setattr(tqdm, "tqdm", Bar)
    find(mirrors=serve(piece=20_000, pause=0.02))
    assert sum(n for _, n in seen) == sum((SAMPLE_FOLDER / name).stat().st_size for name in NAMES)
    assert max(n for _, n in seen) <= 2 * 20_000  # not only when a buffer is full


def test_endless_file_is_cut_off(serve, nowhere):
    (nowhere / "bad").mkdir()
    for name in NAMES:
        (nowhere / "bad" / name).write_bytes(bytes(2_000_000))
    with pytest.raises(FileNotFoundError, match="more than the 1,633,536 bytes"):
        find(mirrors=serve(nowhere / "bad"))
    assert not list(files.cache_folder().iterdir())


def test_cache_that_cannot_be_used(serve, nowhere):
    (nowhere / "fmnist").write_text("a file where the cache should be")
    with pytest.raises(FileNotFoundError, match=r"the cache \("):
        find(mirrors=serve())


# --- places ---


def spelt_with_a_dot(name):
    return name.replace("-idx", ".idx")


@pytest.mark.parametrize(
    "folder, suffix",
    [
        ("data/FashionMNIST/raw", ".gz"),
        ("data/fashion", ".gz"),
        ("kaggle/fashionmnist", ""),
        ("kaggle/datasets/zalando-research/fashionmnist", ""),
    ],
)
def test_places_where_it_usually_lies(nowhere, folder, suffix):
    store(nowhere / folder, suffix)
    store(
        nowhere / "kaggle" / "datasets" / "another", change=lambda part: part // 2
    )  # files of the same names
    assert is_sample(find(mirrors=()))


@pytest.mark.parametrize(
    "folder",
    [
        "root",
        "root/FashionMNIST/raw",
        "root/raw",
        "root/data/fashion",
        "root/fashionmnist",
        "root/zalando-research/fashionmnist",
    ],
)
@pytest.mark.parametrize("spelling", [str, spelt_with_a_dot])
def test_folders_that_people_name(nowhere, folder, spelling):
    store(nowhere / folder, ".gz", spelling)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert is_sample(find(nowhere / "root", mirrors=()))


def test_what_was_named_is_mentioned_if_it_fails(serve, nowhere):
    with pytest.warns(UserWarning, match="there is no such folder"):
        assert is_sample(find(nowhere / "typo", mirrors=serve()))


def test_other_data_are_not_replaced(serve, nowhere):
    "A whole data set in the folder that was named is not Fashion-MNIST; nothing replaces it."
    store(nowhere / "digits", change=lambda part: part // 2)
    with pytest.raises(
        ValueError, match="holds other data than Fashion-MNIST .*ImageData.from_idx reads them"
    ):
        find(nowhere / "digits", mirrors=serve())
    assert len(ImageData.from_idx(nowhere / "digits").train_labels) == 2000


def test_one_wrong_bit(nowhere):
    store(nowhere / "mine")
    pixels = SAMPLE[0].copy()
    pixels[7, 14, 14] ^= 1
    save_idx_file(nowhere / "mine" / "train-images-idx3-ubyte", pixels)
    with pytest.raises(ValueError, match="this is not Fashion-MNIST"):
        find(nowhere / "mine", mirrors=())


@pytest.mark.parametrize("dtype, shape", [(np.uint8, (48 << 20,)), (np.float64, (2000, 28, 28))])
def test_a_bomb_with_an_honest_header_is_not_unpacked(tmp_path, dtype, shape):
    import tracemalloc

    save_idx_file(tmp_path / "bomb.gz", np.zeros(shape, dtype))
    tracemalloc.start()
    with pytest.raises(files.IDXError, match="expected"):
        files.load_idx_file(tmp_path / "bomb.gz", (2000, 28, 28))
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()


def test_a_null_character_in_a_path(nowhere):
    for call in (
        fashion_mnist,
        ImageData.from_idx,
        files.load_idx_file,
        partial(save_idx_file, array=SAMPLE[1]),
    ):
        with pytest.raises(
            ValueError, match=r"is 'a\\x00b', expected a path without a null character"
        ):
            call("a\0b")


def test_long_names(tmp_path):
    path = tmp_path / ("x" * 253)
    save_idx_file(path, SAMPLE[1])
    assert np.array_equal(files.load_idx_file(path), SAMPLE[1])
    with pytest.raises(OSError, match="name too long"):
        save_idx_file(tmp_path / ("x" * 256), SAMPLE[1])


def test_a_pipe_instead_of_a_file(serve, nowhere):
    "Neither the loader nor the cache waits for somebody at its other end."
    signal.alarm(30)
    os.mkfifo(nowhere / "pipe")
    with pytest.raises(files.IDXError, match="a pipe or a device, expected a file"):
        files.load_idx_file(nowhere / "pipe")
    files.cache_folder().mkdir()
    os.mkfifo(files.cache_folder() / NAMES[0])
    os.mkfifo(files.cache_folder() / NAMES[1].removesuffix(".gz"))
    assert is_sample(find(mirrors=serve()))
    signal.alarm(0)


# --- processes ---


def start(mirror, cache):
    "A process of its own that wants the data."
    environment = {key: value for key, value in os.environ.items() if key != "FMNIST_DATA"}
    environment |= {
        "XDG_CACHE_HOME": str(cache),
        "PYTHONPATH": str(Path(files.__file__).parents[1]),
    }
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, mirror],
        env=environment,
        cwd=cache,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_at_once(serve, tmp_path):
    address = serve(pause=0.02)
    processes = [start(address, tmp_path) for _ in range(2)]
    answers = [process.communicate(timeout=60) for process in processes]
    assert [out.strip() for out, _ in answers] == ["2000", "2000"], answers
    assert sorted(path.name for path in (tmp_path / "fmnist").iterdir()) == NAMES


def test_killed_in_the_middle(serve, tmp_path):
    address = serve(pause=0.2)
    process = start(address, tmp_path)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("fmnist/.train-images*.tmp")):
        assert time.monotonic() < deadline and process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not (
        tmp_path / "fmnist" / "train-images-idx3-ubyte.gz"
    ).exists()  # nothing that looks whole
    out, err = start(address, tmp_path).communicate(timeout=60)
    assert out.strip() == "2000", err


def test_console_script_without_data(monkeypatch, nowhere):
    monkeypatch.setattr(files.find_fashion_mnist, "__defaults__", (None, (), FILES, Download()))
    with pytest.raises(SystemExit, match="Fashion-MNIST was not found. Tried:"):
        files.fmnist_data([])
    monkeypatch.setenv("PATH", str(nowhere))  # no apt-get here
    with pytest.raises(SystemExit, match="Debian's package: .*apt-get"):
        files.fmnist_data(["--debian"])
    store(nowhere / "digits", change=lambda part: part // 2)
    with pytest.raises(SystemExit, match="holds other data than Fashion-MNIST"):
        files.fmnist_data(["--root", str(nowhere / "digits")])


def test_debian_package_without_root(monkeypatch, tmp_path):
    "Unpacked into the cache by programs that stand in for Debian's; they check how one calls them."
    tools, target = tmp_path / "bin", files.DEBIAN_FOLDER
    tools.mkdir()
    (tools / "apt-get").write_text(
        '#!/bin/sh\n[ "$*" = "download dataset-fashion-mnist" ] && : > dataset.deb\n'
    )
    (tools / "dpkg-deb").write_text(
        '#!/bin/sh\n[ "$1" = -x ] && [ -f "$2" ] && '
        f'mkdir -p "$3{target}" && cp "{SAMPLE_FOLDER}"/*.gz "$3{target}"\n'
    )
    for tool in tools.iterdir():
        tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    files.debian_package()
    assert sorted(path.name for path in (tmp_path / "cache" / "fmnist").iterdir()) == NAMES
