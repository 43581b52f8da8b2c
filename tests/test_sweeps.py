"Sweeps survive SIGKILL at any moment, Ctrl-C, a second driver, a lost Dask worker or scheduler."

import json
import math
import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import (
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

import fmnist
from fmnist import commands, trials as rooms
from fmnist.runner import Watch, check_executor, run_trials
from fmnist.store import read_records
from fmnist.trials import Failure, History, Result, Trial, attempt, data_name
from fmnist.worker import LocalExecutor, WorkerStartError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")

# A driver without a guard, which kills a worker, or tells their numbers, when it reads a line.
DRIVER = """
import random, sys, threading
from test_sweeps import sweep
from fmnist.runner import run_trials
from fmnist.worker import LocalExecutor

def obey():
    for line in sys.stdin:
        workers = [worker.process for worker in executor.workers if worker.process.poll() is None]
        if line == "kill\\n" and workers: random.choice(workers).kill()
        print(*(worker.pid for worker in workers), flush=True)

with LocalExecutor(2) as executor:
    threading.Thread(target=obey, daemon=True).start()
    run_trials({"sweep": sweep(int(sys.argv[2]), int(sys.argv[3]))}, sys.argv[1], executor)
"""
ENVIRONMENT = os.environ | {
    "PYTHONPATH": os.pathsep.join(
        [str(Path(fmnist.__file__).parents[1]), str(Path(__file__).parent)]
    ),
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


def sweep(number, epochs=1):
    "Trials of a small MLP, some milliseconds each and epoch."
    settings = dict(layers=[8, 10], activations=["relu", "softmax"], dropout=0.1, learning_rate=0.1)
    return [
        Trial("mlp", settings, epochs, images=600, seed=seed, data=data_name("sample"))
        for seed in range(number)
    ]


def content(folder):
    "All results of a folder, without what depends on the time."
    records = read_records(folder)
    assert not any(isinstance(record, Failure) for record in records.values())

    def timeless(result):
        epochs = tuple(replace(epoch, seconds=0) for epoch in result.history.epochs)
        return replace(result, history=History(epochs), seconds=0, machine={}, finished="")

    return {digest: timeless(result) for digest, result in sorted(records.items())}


def lines(folder):
    return sum(path.read_bytes().count(b"\n") for path in Path(folder).glob("*.jsonl"))


def until(condition, what, seconds=120):
    "Wait for a condition, not for a time; the limit is for what never comes."
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.002)


STARTED = []


@pytest.fixture(autouse=True)
def nothing_runs_on():
    "What a test started ends with it, also if it fails or is interrupted; workers leave with it."
    yield
    while STARTED:
        process = STARTED.pop()
        process.kill()
        process.wait()


def start(*command, **more):
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    process = subprocess.Popen(
        [sys.executable, *map(str, command)], text=True, **{"env": ENVIRONMENT} | pipes | more
    )
    STARTED.append(process)
    return process


def start_driver(tmp_path, folder, number, epochs=1):
    path = tmp_path / "driver.py"
    path.write_text(DRIVER)
    return start(path, folder, number, epochs)


def tell(driver, what):
    "Have a driver kill a worker, or only say which it has; their numbers."
    try:
        driver.stdin.write(what + "\n")
        driver.stdin.flush()
    except BrokenPipeError:  # it has finished
        return []
    return [int(word) for word in driver.stdout.readline().split()]


def is_running(pid):
    "A dead process that nobody has asked about yet, a zombie, does not run."
    try:
        os.kill(pid, 0)
        status = Path(f"/proc/{pid}/status")
        return not status.exists() or "State:\tZ" not in status.read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_killed_at_random_moments(tmp_path):
    "At least 20 SIGKILLs, to driver or worker; then the results are those of an undisturbed run."
    number, dice, victims = 60, random.Random(0), ["driver", "worker"] * 11
    dice.shuffle(victims)
    run_trials({"sweep": sweep(number)}, tmp_path / "undisturbed", workers=2)
    expected = content(tmp_path / "undisturbed")
    assert len(expected) == number
    for round in range(20):
        folder, driver = tmp_path / f"round-{round}", None
        while lines(folder) < number or driver.poll() is None:  # one sweep
            if driver is None or driver.poll() is not None:
                driver = start_driver(tmp_path, folder, number)
            wanted = min(lines(folder) + dice.choice([0, 1, 2, 3]), number)
            until(lambda: lines(folder) >= wanted or driver.poll() is not None, "results")
            time.sleep(dice.random() * 0.03)
            if lines(folder) >= number or not victims:
                driver.stdin.close()
                assert driver.wait() == 0, driver.stderr.read()
            elif victims[-1] == "driver":
                driver.kill()
                if driver.wait() == -signal.SIGKILL:  # else it was faster
                    victims.pop()
            elif tell(driver, "kill"):
                victims.pop()
        assert content(folder) == expected
        assert lines(folder) == number  # nothing was written twice
        if not victims:
            break
    print(
        f"11 drivers and 11 workers killed in {round + 1} sweep(s) of {number} trials: "
        "the results are those of an undisturbed run"
    )
    assert not victims


def test_killed_driver_leaves_no_worker(tmp_path):
    driver = start_driver(tmp_path, tmp_path / "runs", 1000)
    until(lambda: lines(tmp_path / "runs") or driver.poll() is not None, "a result")
    workers = tell(driver, "who?")
    driver.kill()
    driver.wait()
    assert workers
    until(lambda: not any(map(is_running, workers)), "the end of the workers")


def dies(trial, folder):
    "A trial that takes its worker with it, if the seed is 1."
    if trial.seed == 1:
        os._exit(3)
    return attempt(trial, folder)


def test_trial_that_kills_its_worker(tmp_path):
    "Three tries, then a recorded failure; the others do not suffer, and the next call tries again."
    plan = {"sweep": sweep(6)}
    records = list(run_trials(plan, tmp_path, workers=2, run=dies).values())
    assert [isinstance(record, Result) for record in records] == [
        True,
        False,
        True,
        True,
        True,
        True,
    ]
    assert (records[1].kind, records[1].error) == (
        "killed",
        "the worker died (exit code 3), 3 times",
    )
    before = lines(tmp_path)
    assert all(
        isinstance(record, Result) for record in run_trials(plan, tmp_path, workers=2).values()
    )
    assert lines(tmp_path) == before + 1


def takes_its_time(trial, folder):
    time.sleep(3)
    return attempt(trial, folder)


def test_a_log_is_not_a_screen(tmp_path, capsys):
    "On a terminal the bar moves each second; what keeps every line gets few of them."
    run_trials({"sweep": sweep(1)}, tmp_path, workers=1, run=takes_its_time, progress=True)
    shown = capsys.readouterr().err.split("\r")
    assert "0/1" in shown[1] and "1/1" in shown[-1] and len(shown) <= 3, shown


def diverges(trial, folder):
    return Failure(trial, "diverged", "at once", 0.0, {}, "")


def test_time_left_is_told_for_mlps_and_cnns_apart(tmp_path, capsys):
    run_trials(
        {"sweep": [*sweep(2), Trial("cnn", {}, 1)]},
        tmp_path,
        workers=1,
        run=diverges,
        progress=True,
    )
    said = capsys.readouterr().err
    assert "mlp: 100%" in said and " 2/2 " in said and "cnn: 100%" in said and " 1/1 " in said, said


@pytest.mark.skipif(
    sys.platform == "darwin", reason="a process with threads is not safe to fork there"
)
def test_executor_that_forks(tmp_path):
    "Its workers hold the lock's file open, too; the next run must not take them for a driver."
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
        for number in (1, 2):
            assert len(run_trials({"sweep": sweep(number)}, tmp_path, pool, run=diverges)) == number


def test_executor_that_forks_where_torch_is_loaded(tmp_path, monkeypatch):
    "It is refused before work is handed out; without PyTorch, or where nothing forks, it is not."
    monkeypatch.setitem(sys.modules, "torch", sys.modules.get("torch", sys))
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
        with pytest.raises(ValueError, match="expected one that does not fork"):
            run_trials({"sweep": [*sweep(1), Trial("cnn", {}, 1)]}, tmp_path, pool, run=diverges)
        check_executor(pool, sweep(1))
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        check_executor(pool, [Trial("cnn", {}, 1)])
    assert not list(tmp_path.glob("*.jsonl"))


def test_numpys_numbers(tmp_path):
    "Seeds and settings may be NumPy's, and so may be the number of workers."
    seeds, rate = np.arange(2), np.float32(0.1)
    settings = dict(layers=np.array([8, 10]), activations=["relu", "softmax"], learning_rate=rate)
    plan = {
        "sweep": [
            Trial("mlp", settings, 1, images=600, seed=seed, data=data_name("sample"))
            for seed in seeds
        ]
    }
    records = run_trials(plan, tmp_path, workers=np.int64(1))
    assert (
        all(isinstance(record, Result) for record in records.values())
        and read_records(tmp_path) == records
    )


# One precision for all


EXAMPLE = Trial(
    "mlp",
    dict(layers=[8, 10], activations=["relu", "softmax"]),
    1,
    images=600,
    data=data_name("sample"),
)
asked = []  # precisions that trials were asked for


def computed(trial, folder, precision=None):
    "A result that says which precision was asked for."
    asked.append((trial.model, precision))
    result = attempt(EXAMPLE)
    return replace(
        result, trial=trial, precision=trial.training.get("dtype") or precision or "float64"
    )


def cnns(number, **training):
    return [Trial("cnn", {}, 1, training, seed=seed) for seed in range(number)]


@pytest.fixture
def pool(monkeypatch):
    "Threads here, in which a CNN is faster in bfloat16; how often one measured is `pool.measured`."
    asked.clear()
    with ThreadPoolExecutor(1) as threads:
        threads.measured = 0

        def measured_precision():
            threads.measured += 1
            return "bfloat16"

        monkeypatch.setattr(rooms, "measured_precision", measured_precision)
        yield threads


def test_precision_is_settled_once(tmp_path, pool):
    "Measured before the first CNN, then as in results; MLPs and arms that name one are left alone."
    plan = {"one": [EXAMPLE, *cnns(2)], "two": cnns(3), "three": cnns(1, dtype="float32")}
    run_trials(plan, tmp_path, pool, run=computed)
    assert (
        sorted(set(asked), key=str) == [("cnn", "bfloat16"), ("cnn", None), ("mlp", None)]
        and pool.measured == 1
    )
    run_trials({"two": cnns(4)}, tmp_path, pool, run=computed)
    assert pool.measured == 1 and asked[-1] == ("cnn", "bfloat16")
    slow = {"four": cnns(2, learning_rate=1e-5)}
    run_trials(slow, tmp_path, pool, run=computed, precision="float16")
    assert pool.measured == 1 and asked[-1] == ("cnn", "float16")


def test_precisions_are_not_mixed(tmp_path, pool):
    "A study that would hold two is refused in one sentence, before computing; unless asked for."
    run_trials({"study": cnns(1)}, tmp_path, pool, run=computed)
    before = len(asked)
    with pytest.raises(
        ValueError, match="this run is in float32, what study has is in bfloat16: .* by mix=True"
    ):
        run_trials({"study": cnns(2)}, tmp_path, pool, run=computed, precision="float32")
    assert len(asked) == before
    run_trials(
        {"study": cnns(1)}, tmp_path, pool, run=computed, precision="float32"
    )  # nothing is missing
    run_trials({"study": cnns(2)}, tmp_path, pool, run=computed, precision="float32", mix=True)
    assert asked[before:] == [("cnn", "float32")]
    with pytest.raises(ValueError, match="mix=True"):
        run_trials({"study": cnns(3)}, tmp_path, pool, run=computed)
    with pytest.raises(ValueError, match="precision is 'float8', expected one of 'auto'"):
        run_trials({"study": cnns(3)}, tmp_path, pool, run=computed, precision="float8")
    with pytest.raises(ValueError, match="what study has is in bfloat16"):  # by other seeds
        run_trials({"study": cnns(4)[3:]}, tmp_path, pool, run=computed, precision="float16")
    both = {"one": cnns(2, learning_rate=1e-4), "two": cnns(2, learning_rate=1e-5)}
    for (name, trials), kind in zip(both.items(), ("bfloat16", "float16"), strict=True):
        run_trials({name: trials[:1]}, tmp_path, pool, run=computed, precision=kind)
    with pytest.raises(ValueError, match="run one study at a time, name another folder"):
        run_trials(both, tmp_path, pool, run=computed)


def test_precision_is_left_to_those_who_cannot_be_told(tmp_path, pool):
    "None leaves it to each trial, as does a `run` of two arguments."
    run_trials({"study": cnns(1)}, tmp_path, pool, run=computed, precision=None)
    run_trials(
        {"study": cnns(2)}, tmp_path, pool, run=lambda trial, folder: computed(trial, folder)
    )
    assert pool.measured == 0 and set(asked) == {("cnn", None)}


class Dying(Executor):
    "Loses its first workers."

    def __init__(self, deaths):
        self.deaths = deaths

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        self.deaths -= 1
        if self.deaths >= 0:
            future.set_exception(BrokenExecutor("the worker died"))
        else:
            future.set_result(fn(*args, **kwargs))
        return future


def test_worker_that_dies_while_it_measures(tmp_path, pool):
    "It is asked again, as often as a trial is tried."
    assert len(run_trials({"study": cnns(1)}, tmp_path, Dying(2), run=computed)) == 1
    with pytest.raises(BrokenExecutor):
        run_trials({"study": cnns(2)}, tmp_path / "other", Dying(3), run=computed)


# Scripts


UNGUARDED = "from test_sweeps import sweep\nfrom fmnist.runner import run_trials\n"
UNGUARDED += "print(len(run_trials({'sweep': sweep(4)}, 'runs', workers=2)))\n"


@pytest.mark.parametrize("how", ["script", "standard input", "console"])
def test_no_guard_is_needed(tmp_path, how):
    "A script, one from standard input and a console have workers; nothing of theirs is run twice."
    (tmp_path / "unguarded.py").write_text(UNGUARDED)
    arguments = {"script": ["unguarded.py"], "standard input": ["-"], "console": ["-i", "-q"]}[how]
    said, error = start(*arguments, cwd=tmp_path).communicate(UNGUARDED, timeout=120)
    assert said.count("4") == 1, (said, error)
    assert "Traceback" not in error and lines(tmp_path / "runs") == 4, error


def test_modules_beside_a_script(tmp_path):
    "A worker finds what the driver finds: beside the script, and in the folder where it started."
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "beside.py").write_text("def where(): return __file__")
    (tmp_path / "inside.py").write_text("def where(): return __file__")
    (tmp_path / "scripts" / "script.py").write_text("""if True:
        import sys; sys.path.append("")
        from beside import where
        from inside import where as here
        from fmnist.worker import LocalExecutor
        with LocalExecutor(1) as executor:
            print(executor.submit(where).result(), executor.submit(here).result())
        def own(): pass
        try: executor.submit(own)
        except ValueError as error: print(error)""")
    said, error = start("scripts/script.py", cwd=tmp_path).communicate(timeout=60)
    assert "beside.py" in said and "inside.py" in said, error
    assert "own is defined in the script or notebook itself" in said, said


def test_a_worker_that_prints(tmp_path):
    "What a call or a `sitecustomize` prints is no answer; it goes to standard error."
    (tmp_path / "sitecustomize.py").write_text("print('good morning')")
    code = "from fmnist.worker import LocalExecutor\nwith LocalExecutor(1) as executor: "
    code += "print(executor.submit(print, 'from the worker').result(), "
    code += "executor.submit(pow, 2, 5).result())"
    environment = ENVIRONMENT | {
        "PYTHONPATH": os.pathsep.join([str(tmp_path), ENVIRONMENT["PYTHONPATH"]])
    }
    said, error = start("-c", code, env=environment).communicate(timeout=60)
    assert said.endswith("None 32\n") and "from the worker" in error, (said, error)


def test_notebook(tmp_path, monkeypatch):
    "A kernel has workers, too; they import what a cell has just written into a file."
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    monkeypatch.setenv("PYTHONPATH", ENVIRONMENT["PYTHONPATH"])
    sources = [
        "%%writefile nets.py\ndef double(x): return 2*x",
        "from nets import double\nfrom fmnist.worker import LocalExecutor",
        "with LocalExecutor(1) as executor: print(executor.submit(double, 21).result())",
        UNGUARDED,
    ]
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(source) for source in sources]
    )
    nbclient.NotebookClient(
        notebook,
        timeout=120,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    ).execute()
    said = [
        output["text"]
        for cell in notebook.cells[2:]
        for output in cell.outputs
        if output.get("name") == "stdout"
    ]
    assert said == ["42\n", "4\n"]


class NoTraveller:
    "Something that cannot be unpickled."

    def __reduce__(self):
        return open, ("/nowhere/at all",)


class Particular(Exception):
    "An error that cannot be unpickled."

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


def raises(kind):
    raise {"particular": Particular(1, 2), "exit": SystemExit(3), "interrupt": KeyboardInterrupt()}[
        kind
    ]


def test_calls_that_fail():
    "Whatever a call raises comes back as an error of that call, and the worker goes on."
    environment = os.environ.get("OMP_NUM_THREADS")
    with LocalExecutor(1, threads=3) as executor:
        pid = executor.submit(os.getpid).result()
        assert isinstance(executor.submit(math.sqrt, -1).exception(), ValueError)
        assert isinstance(
            executor.submit(abs, threading.Lock()).exception(), TypeError
        )  # cannot be pickled
        assert isinstance(executor.submit(abs, NoTraveller()).exception(), FileNotFoundError)
        for kind, words in (
            ("particular", "1 and 2"),
            ("exit", "3"),
            ("interrupt", "KeyboardInterrupt"),
        ):
            error = executor.submit(raises, kind).exception()
            assert type(error) is RuntimeError and words in str(error), error
        assert executor.submit(os.getenv, "OMP_NUM_THREADS").result() == "3"
        assert executor.submit(os.getpid).result() == pid
        killed = executor.submit(signal.raise_signal, signal.SIGKILL).exception()
        assert isinstance(killed, BrokenExecutor) and "signal SIGKILL" in str(killed)
        assert executor.submit(os.getpid).result() != pid
    assert os.environ.get("OMP_NUM_THREADS") == environment  # ours is as it was
    assert all(worker.process.poll() is not None for worker in executor.workers)
    with pytest.raises(RuntimeError, match="shutdown"):
        executor.submit(math.sqrt, 1)
    with pytest.raises(ValueError, match="workers is 0"):
        LocalExecutor(0)


def test_executor_that_is_interrupted():
    "Calls that run are killed, those that wait are cancelled; to do it twice does no harm."
    executor = LocalExecutor(1)
    calls = [executor.submit(time.sleep, 1000) for _ in range(3)]
    until(calls[0].running, "a call")
    executor.shutdown(cancel_futures=True)
    executor.shutdown()
    assert (
        isinstance(calls[0].exception(), BrokenExecutor)
        and calls[1].cancelled()
        and calls[2].cancelled()
    )


def test_worker_that_cannot_start(tmp_path, monkeypatch):
    "The run ends, and no trial is blamed."
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(WorkerStartError, match="a worker process does not start .exit code 1."):
        run_trials({"sweep": sweep(2)}, tmp_path)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    with pytest.raises(WorkerStartError, match="No such file"):
        run_trials({"sweep": sweep(2)}, tmp_path)
    assert not list(tmp_path.glob("*.jsonl"))


def test_ctrl_c_does_not_reach_a_worker():
    "It has a session of its own from its first moment."
    with LocalExecutor(1) as executor:
        assert executor.submit(os.getsid, 0).result() != os.getsid(0)


def test_worker_ends_in_mid_call(tmp_path):
    "A driver that is killed while a call runs leaves nothing running."
    code = """if True:
        import os, time
        from fmnist.worker import LocalExecutor
        executor = LocalExecutor(1)
        print(executor.submit(os.getpid).result(), flush=True)
        executor.submit(time.sleep, 1000).result()"""
    driver = start("-c", code)
    worker = int(driver.stdout.readline())
    time.sleep(0.1)
    assert is_running(worker)
    driver.kill()
    driver.wait()
    until(lambda: not is_running(worker), "the end of the worker", seconds=10)


# A job in the background would ignore the signal
LISTEN = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"


def test_ctrl_c_and_a_second_driver(tmp_path):
    "Ctrl-C, as a terminal sends it to driver and workers, ends cleanly; till then no other writes."
    arguments = ["dropout", "--budget", "smoke", "--seeds", "1000", "--folder", str(tmp_path)]
    code = f"{LISTEN}; from fmnist.studies import fmnist_run; fmnist_run({arguments})"
    driver = start("-c", code, start_new_session=True)
    until(lambda: lines(tmp_path) > 1 or driver.poll() is not None, "results")
    with pytest.raises(BlockingIOError, match="another run is writing into"):
        run_trials({"sweep": sweep(1)}, tmp_path)
    os.killpg(driver.pid, signal.SIGINT)
    _, said = driver.communicate(timeout=60)
    assert (
        driver.returncode == 1
        and "Stopped. What is finished is kept" in said
        and "--seeds 1000" in said
    ), said
    assert "Traceback" not in said
    assert len(read_records(tmp_path)) == lines(tmp_path) > 1


@pytest.mark.parametrize("moment", [0.1, 0.3, 0.6, 1.0, 1.6])
def test_ctrl_c_while_a_command_starts(tmp_path, moment):
    "While it imports, too, it ends with one word."
    arguments = ["dropout", "--budget", "smoke", "--seeds", "1000", "--folder", str(tmp_path)]
    driver = start(
        "-c",
        f"{LISTEN}; from fmnist.commands import fmnist_run; print(1, flush=True); "
        f"fmnist_run({arguments})",
        start_new_session=True,
    )
    assert driver.stdout.readline() == "1\n"
    time.sleep(moment)
    os.killpg(driver.pid, signal.SIGINT)
    _, said = driver.communicate(timeout=60)
    assert driver.returncode == 1 and "Stopped." in said and "Traceback" not in said, said


def test_commands_are_those_of_the_package(capsys):
    settings = (Path(fmnist.__file__).parents[1] / "settings.ini").read_text()
    assert set(commands.COMMANDS) == set(
        re.findall(r"^\s+(fmnist_\w+)=fmnist\.", settings, flags=re.M)
    )
    for name in commands.COMMANDS:
        with pytest.raises(SystemExit) as end:
            getattr(commands, name)(["--help"])
        assert end.value.code == 0 and name in capsys.readouterr().out
    with pytest.raises(AttributeError, match="has no fmnist_fly"):
        commands.fmnist_fly


def dask(kind, tmp_path, *options):
    "A scheduler or a worker of Dask, a process of its own, and the file where they meet."
    pytest.importorskip("distributed", reason="needs the extra fmnist[dask]")
    file = tmp_path / "scheduler.json"
    options = ["--no-dashboard", "--scheduler-file", file, *options]
    return start("-m", f"distributed.cli.dask_{kind}", *options, cwd=tmp_path), file


def dask_scheduler(tmp_path):
    "Its address, and its process."
    process, file = dask("scheduler", tmp_path, "--port", "0")
    until(lambda: file.exists() and file.read_text().endswith("}"), "the scheduler")
    return json.loads(file.read_text())["address"], process


def dask_worker(tmp_path):
    "The process of a worker for one call at a time."
    options = ["--nthreads", "1", "--no-nanny", "--local-directory", tmp_path]
    return dask("worker", tmp_path, *options)[0]


def initialization(tmp_path, address):
    "The arguments of `fmnist_run` for a study of three trials on a cluster."
    words = ["initialization", "--budget", "smoke", "--seeds", "1", "--scheduler", address]
    return [*words, "--folder", str(tmp_path / "runs")]


@pytest.fixture
def cluster(tmp_path):
    "A Dask scheduler and two workers; (address, [scheduler, worker, worker])."
    address, scheduler = dask_scheduler(tmp_path)
    return address, [scheduler, dask_worker(tmp_path), dask_worker(tmp_path)]


@pytest.mark.ci  # up to ten seconds, for how seldom it breaks
def test_dask_worker_killed_in_mid_sweep(cluster, tmp_path):
    "Nothing is lost, and nothing is twice in the results."
    from distributed import Client

    (address, (_, *workers)), trials, killed = cluster, sweep(24, epochs=20), []
    run_trials({"sweep": trials}, tmp_path / "local", workers=2)

    def kill_one():
        until(lambda: lines(tmp_path / "dask") >= 3, "results")
        workers[0].kill()
        killed.append(lines(tmp_path / "dask"))

    with Client(address) as client:
        client.wait_for_workers(2, timeout=120)
        killer = threading.Thread(target=kill_one, daemon=True)
        killer.start()
        run_trials({"sweep": trials}, tmp_path / "dask", client.get_executor(pure=False))
        killer.join()
        left = len(client.nthreads())
    print(
        f"killed one of two workers after {killed[0]} of {len(trials)} trials; "
        f"{left} worker left; {lines(tmp_path / 'dask')} lines in the end"
    )
    assert killed[0] < len(trials) and left == 1
    assert content(tmp_path / "dask") == content(tmp_path / "local")
    assert lines(tmp_path / "dask") == len(trials)


def test_dask_without_workers(tmp_path):
    "It is said within ten seconds, and the first worker that comes is given the work."
    address, _ = dask_scheduler(tmp_path)
    arguments = initialization(tmp_path, address)
    code = "from fmnist.runner import Watch; from fmnist.studies import fmnist_run; "
    code += "Watch.patience = 1"
    driver = start("-c", f"{code}; fmnist_run({arguments})")
    until(lambda: (tmp_path / "runs").exists(), "the run")
    began = time.monotonic()
    said = ""
    while "has no workers" not in said:
        said = driver.stderr.readline()
    assert time.monotonic() - began < 10 and address in said, said
    dask_worker(tmp_path)
    _, error = driver.communicate(timeout=120)
    assert driver.returncode == 0 and len(content(tmp_path / "runs")) == 3, error


def test_watch_survives_a_client_that_is_being_lost():
    "Whether there are workers is asked once, and an answer that does not come is no error."

    class Client:
        status = "running"

        def nthreads(self):
            raise OSError("the connection is closed")

    executor = ThreadPoolExecutor(1)
    executor._client = Client()
    watch = Watch(executor, bar=mock.Mock())
    watch.patience = 0
    watch()
    executor._client.status = "closed"
    with pytest.raises(RuntimeError, match="its client is closed"):
        watch()


def fails_first(trial, folder):
    "A call that raises once for each trial, as machinery does, and then goes well."
    met = Path(folder) / trial.digest
    if not met.exists():
        met.touch()
        raise OSError("not yet")
    return attempt(trial, folder)


def test_dask_tries_again(cluster, tmp_path, monkeypatch):
    "A second try is computed; Dask by itself would give back the failure of the first."
    from fmnist import studies

    monkeypatch.setattr(studies, "run_trials", partial(run_trials, run=fails_first))
    studies.fmnist_run(initialization(tmp_path, cluster[0]))
    records = read_records(tmp_path / "runs").values()
    assert [isinstance(record, Result) for record in records] == [True] * 3


@pytest.mark.ci  # up to ten seconds, for how seldom it breaks
def test_dask_scheduler_killed(cluster, tmp_path):
    "The run ends with a sentence, and the next one, here without Dask, does what is left."
    from distributed import Client

    address, (scheduler, *_) = cluster
    trials, before = sweep(24, epochs=20), []

    def kill():
        until(lambda: lines(tmp_path / "runs") >= 2, "results")
        scheduler.kill()
        before.append(lines(tmp_path / "runs"))

    with Client(
        address, timeout=2
    ) as client:  # the time in which it tries to find its scheduler again
        client.wait_for_workers(1, timeout=120)
        killer = threading.Thread(target=kill, daemon=True)
        killer.start()
        with pytest.raises(
            RuntimeError, match="scheduler does not answer any more.*goes on from there"
        ):
            run_trials({"sweep": trials}, tmp_path / "runs", client.get_executor(pure=False))
        killer.join()
    assert 2 <= before[0] < len(trials)
    assert (
        lines(tmp_path / "runs") == len(content(tmp_path / "runs")) < len(trials)
    )  # no trial is blamed
    assert (
        len(run_trials({"sweep": trials}, tmp_path / "runs", workers=2))
        == lines(tmp_path / "runs")
        == len(trials)
    )
