"Sweeps survive what kills them: SIGKILL at random moments, Ctrl-C, a second driver, a lost Dask worker or scheduler."
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

import fmnist
from fmnist.runner import read_records, run_trials
from fmnist.trials import Failure, History, Result, Trial, attempt, data_name

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")

# A driver that kills a worker, or tells their numbers, when it reads a line.
DRIVER = """
import multiprocessing, random, sys, threading
from test_sweeps import sweep
from fmnist.runner import run_trials

def obey():
    for line in sys.stdin:
        workers = multiprocessing.active_children()
        if line == "kill\\n" and workers: random.choice(workers).kill()
        print(*(worker.pid for worker in workers), flush=True)

if __name__ == "__main__":
    threading.Thread(target=obey, daemon=True).start()
    run_trials({"sweep": sweep(int(sys.argv[2]), int(sys.argv[3]))}, sys.argv[1], workers=2)
"""
ENVIRONMENT = os.environ | {
    "PYTHONPATH": os.pathsep.join([str(Path(fmnist.__file__).parents[1]), str(Path(__file__).parent)]),
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


def sweep(number, epochs=1):
    "Trials of a small MLP, some milliseconds each and epoch."
    settings = dict(layers=[8, 10], activations=["relu", "softmax"], dropout=0.1, learning_rate=0.1)
    return [Trial("mlp", settings, epochs, images=600, seed=seed, data=data_name("sample")) for seed in range(number)]


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
    "Whatever a test has started ends with it, also if it fails or is interrupted; a driver's workers leave with it."
    yield
    while STARTED:
        process = STARTED.pop()
        process.kill()
        process.wait()


def start(*command, **more):
    process = subprocess.Popen([sys.executable, *map(str, command)], env=ENVIRONMENT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)
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
    "At least 20 SIGKILLs, to the driver or to a worker; then the results are those of an undisturbed run."
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
    print(f"11 drivers and 11 workers killed in {round + 1} sweep(s) of {number} trials: the results are those of an undisturbed run")
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
    "It gets three tries, then its failure is recorded; the others do not suffer, and the next call tries again."
    plan = {"sweep": sweep(6)}
    records = list(run_trials(plan, tmp_path, workers=2, run=dies).values())
    assert [isinstance(record, Result) for record in records] == [True, False, True, True, True, True]
    assert (records[1].kind, records[1].error) == ("killed", "the worker died (exit code 3), 3 times")
    before = lines(tmp_path)
    assert all(isinstance(record, Result) for record in run_trials(plan, tmp_path, workers=2).values())
    assert lines(tmp_path) == before + 1


def takes_its_time(trial, folder):
    time.sleep(5)
    return attempt(trial, folder)


def test_a_log_is_not_a_screen(tmp_path, capsys):
    "On a terminal the bar moves each second; what keeps every line gets few of them."
    run_trials({"sweep": sweep(1)}, tmp_path, workers=1, run=takes_its_time, progress=True)
    shown = capsys.readouterr().err.split("\r")
    assert "0/1" in shown[1] and "1/1" in shown[-1] and len(shown) <= 5, shown


def diverges(trial, folder):
    return Failure(trial, "diverged", "at once", 0.0, {}, "")


def test_time_left_is_told_for_mlps_and_cnns_apart(tmp_path, capsys):
    run_trials({"sweep": [*sweep(2), Trial("cnn", {}, 1)]}, tmp_path, workers=1, run=diverges, progress=True)
    said = capsys.readouterr().err
    assert "mlp: 100%" in said and " 2/2 " in said and "cnn: 100%" in said and " 1/1 " in said, said


@pytest.mark.skipif(sys.platform == "darwin", reason="a process with threads is not safe to fork there")
def test_executor_that_forks(tmp_path):
    "Its workers have the lock's file open as well; the next run in the same folder must not take them for another driver."
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
        for number in (1, 2):
            assert len(run_trials({"sweep": sweep(number)}, tmp_path, pool, run=diverges)) == number


def test_worker_that_cannot_start(tmp_path):
    "A script without the usual guard is told so, and no trial is blamed."
    script = tmp_path / "unguarded.py"
    script.write_text("from test_sweeps import sweep\nfrom fmnist.runner import run_trials\nrun_trials({'sweep': sweep(4)}, 'runs', workers=1)\n")
    process = start(script, cwd=tmp_path)
    _, said = process.communicate(timeout=120)
    assert process.returncode and "a worker process does not start" in said and 'if __name__ == "__main__"' in said
    assert said.count("Traceback") == 1  # the driver's: workers leave in silence, and at once
    assert not list((tmp_path / "runs").glob("*.jsonl"))


def test_ctrl_c_does_not_reach_a_starting_worker():
    "The first worker of a fresh process, whose start also starts multiprocessing's helper, blocks the signal too."
    code = """if True:
        import signal
        from fmnist.runner import LocalExecutor
        with LocalExecutor(1) as executor: print(executor.submit(signal.pthread_sigmask, signal.SIG_BLOCK, []).result())"""
    said, error = start("-c", code).communicate(timeout=60)
    assert "SIGINT" in said, error


def test_ctrl_c_and_a_second_driver(tmp_path):
    "Ctrl-C, as a terminal sends it to driver and workers alike, ends cleanly; meanwhile nobody else may write."
    arguments = ["dropout", "--budget", "smoke", "--seeds", "1000", "--folder", str(tmp_path)]
    listen = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"  # a job in the background would ignore it
    code = f"{listen}; from fmnist.studies import fmnist_run; fmnist_run({arguments})"
    driver = start("-c", code, start_new_session=True)
    until(lambda: lines(tmp_path) > 1 or driver.poll() is not None, "results")
    with pytest.raises(BlockingIOError, match="another run is writing into"):
        run_trials({"sweep": sweep(1)}, tmp_path)
    os.killpg(driver.pid, signal.SIGINT)
    _, said = driver.communicate(timeout=60)
    assert driver.returncode == 1 and "Stopped. What is finished is kept" in said and "--seeds 1000" in said, said
    assert "Traceback" not in said
    assert len(read_records(tmp_path)) == lines(tmp_path) > 1


@pytest.fixture
def cluster(tmp_path):
    "A Dask scheduler and two workers, each a process of its own; (address, [scheduler, worker, worker])."
    pytest.importorskip("distributed", reason="needs the extra fmnist[dask]")
    file = tmp_path / "scheduler.json"
    processes = [start("-m", "distributed.cli.dask_scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", file, cwd=tmp_path)]
    until(lambda: file.exists() and file.read_text().endswith("}"), "the scheduler")
    for _ in range(2):
        processes.append(start("-m", "distributed.cli.dask_worker", "--scheduler-file", file, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", tmp_path, cwd=tmp_path))
    return json.loads(file.read_text())["address"], processes


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
    print(f"killed one of two workers after {killed[0]} of {len(trials)} trials; {left} worker left; {lines(tmp_path / 'dask')} lines in the end")
    assert killed[0] < len(trials) and left == 1
    assert content(tmp_path / "dask") == content(tmp_path / "local")
    assert lines(tmp_path / "dask") == len(trials)


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
    studies.fmnist_run(["initialization", "--budget", "smoke", "--seeds", "1", "--scheduler", cluster[0], "--folder", str(tmp_path / "runs")])
    assert [isinstance(record, Result) for record in read_records(tmp_path / "runs").values()] == [True] * 3


def test_dask_scheduler_killed(cluster, tmp_path):
    "The run ends with a sentence, and the next one, here without Dask, does what is left."
    from distributed import Client

    address, (scheduler, *_) = cluster
    trials, before = sweep(24, epochs=20), []

    def kill():
        until(lambda: lines(tmp_path / "runs") >= 2, "results")
        scheduler.kill()
        before.append(lines(tmp_path / "runs"))

    with Client(address, timeout=2) as client:  # the time in which it tries to find its scheduler again
        client.wait_for_workers(1, timeout=120)
        killer = threading.Thread(target=kill, daemon=True)
        killer.start()
        with pytest.raises(RuntimeError, match="scheduler does not answer any more.*goes on from there"):
            run_trials({"sweep": trials}, tmp_path / "runs", client.get_executor(pure=False))
        killer.join()
    assert 2 <= before[0] < len(trials)
    assert lines(tmp_path / "runs") == len(content(tmp_path / "runs")) < len(trials)  # no trial is blamed
    assert len(run_trials({"sweep": trials}, tmp_path / "runs", workers=2)) == lines(tmp_path / "runs") == len(trials)
