"""Worker processes on this machine: calls go in through one pipe, answers come out of another.

A plain module, without a notebook: its tests are in tests/test_sweeps.py.

A worker is a fresh Python that imports this module and calls `serve`. It finds modules where the
driver finds them (`sys.path`) and works in the driver's folder, but never imports the driver's
script: nothing has to be guarded by `if __name__ == "__main__"`, and a notebook, a console or a
script from standard input has workers, too. What travels is pickled, between these processes alone:
nothing is ever unpickled from a file.
"""

import os
import pickle
import queue
import signal
import struct
import subprocess
import sys
import threading
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from .checks import check, is_whole

__all__ = ["WorkerStartError", "LocalExecutor", "serve"]

LENGTH = struct.Struct(">Q")  # What stands before each message: its length in bytes
READY = b"this worker of fmnist is ready\n"  # Said first; a `sitecustomize` may print before it
START = "import sys; sys.path[:] = {path!a}; from fmnist.worker import serve; serve()"
THREADS = "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"
APART: dict = {"start_new_session": True}  # Ctrl-C, sent to a whole group, is for the driver alone
if sys.platform == "win32":
    APART = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}


class WorkerStartError(RuntimeError):
    "No worker process can be started: no trial is to blame."


def send(
    stream,  # A binary file
    message: bytes,  # Of any length
):
    "Write a message, which `receive` gives back as a whole."
    stream.write(LENGTH.pack(len(message)) + message)
    stream.flush()


def receive(
    stream,  # A binary file
) -> bytes:  # What `send` was given
    "Read one message; an `EOFError` if its writer is gone."
    head = stream.read(LENGTH.size)
    length = LENGTH.unpack(head)[0] if len(head) == LENGTH.size else None
    message = stream.read(length) if length is not None else b""
    if len(message) != length:
        raise EOFError("the pipe has no other end any more")
    return message


def answer_to(
    message: bytes,  # A pickled (function, arguments, arguments by name)
) -> bytes:  # A pickled (True, value) or (False, error)
    "Make a call, whatever becomes of it; an error that could not travel is told in words."
    try:
        function, args, kwargs = pickle.loads(message)
        return pickle.dumps((True, function(*args, **kwargs)))
    except BaseException as error:
        with suppress(Exception):
            answer = pickle.dumps((False, error))
            if isinstance(pickle.loads(answer)[1], Exception):  # others would end the driver
                return answer
        return pickle.dumps((False, RuntimeError(repr(error))))


def private_pipes() -> tuple:  # Two binary files: calls, answers
    "Take the pipes from standard input and output: what a call prints goes to standard error."
    calls, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    with suppress(OSError):  # the driver has no standard error
        os.dup2(2, 1)
    sys.stdout = sys.stderr
    return calls, answers


def serve():
    "The life of a worker: one thread takes calls, the other makes them, until the driver is gone."
    calls, answers = private_pipes()
    waiting: queue.SimpleQueue = queue.SimpleQueue()

    def listen():
        with suppress(EOFError, OSError):
            while True:
                waiting.put(receive(calls))
        os._exit(0)  # also in the middle of a call: nobody waits for its answer

    threading.Thread(target=listen, daemon=True).start()
    with suppress(OSError):
        answers.write(READY)
        answers.flush()
        while True:
            send(answers, answer_to(waiting.get()))
    os._exit(0)


class Worker:
    "One worker process, seen from the driver."

    def __init__(
        self,
        environment: dict,  # Environment variables that it gets beside the driver's own
    ):
        path = [os.path.abspath(place) for place in sys.path]
        command = [sys.executable, "-c", START.format(path=path)]
        how: dict = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE} | APART
        self.process: Any = subprocess.Popen(command, env=os.environ | environment, **how)

    def is_ready(self) -> bool:  # False if it has died instead
        "Wait until it takes calls."
        return any(line.endswith(READY) for line in iter(self.process.stdout.readline, b""))

    def ask(
        self,
        message: bytes,  # As `answer_to` takes it
    ) -> bytes:  # As `answer_to` gives it
        "Have it make a call; a `BrokenExecutor` if it dies."
        try:
            send(self.process.stdin, message)
            return receive(self.process.stdout)
        except (EOFError, OSError):
            raise BrokenExecutor(f"the worker died ({self.end()})") from None

    def end(self) -> str:  # How it ended, for a sentence
        "Close its pipe, upon which it leaves, and wait for that."
        with suppress(OSError):  # a call that it never took
            self.process.stdin.close()
        code = self.process.wait()
        self.process.stdout.close()
        with suppress(ValueError):
            return f"signal {signal.Signals(-code).name}"
        return f"exit code {code}"


class LocalExecutor(Executor):
    "Worker processes here; one that dies fails its own call (`BrokenExecutor`), and is replaced."

    def __init__(
        self,
        workers: int,  # How many processes; each is started when there is work for it
        threads: int = 1,  # How many threads NumPy's and PyTorch's libraries may use in each
    ):
        check(is_whole(workers), "workers", workers, "a whole number of at least 1")
        self.slots = range(workers)
        self.environment = dict.fromkeys(THREADS, str(threads))
        self.pool = ThreadPoolExecutor(workers, "fmnist-worker")
        self.idle: queue.SimpleQueue = queue.SimpleQueue()  # Workers that wait for a call
        self.workers: list = []  # All that were started
        self.killed = False

    # By position alone, as any Executor has it: a keyword `fn` is the call's.
    def submit(
        self,
        fn,  # A function that can be imported: not one of the script or notebook itself
        /,
        *args,  # Its arguments, which can be pickled
        **kwargs,  # Its arguments by name
    ) -> Future:  # Its result, some day
        "Have a worker call `fn`."
        if getattr(fn, "__module__", None) == "__main__":
            raise ValueError(
                f"{fn.__qualname__} is defined in the script or notebook itself, which a worker "
                "cannot import: write it into a file beside it, and import it from there"
            )
        return self.pool.submit(self._call, (fn, args, kwargs))

    def shutdown(
        self,
        wait: bool = True,  # Until all is done?
        *,
        cancel_futures: bool = False,  # Drop what has not begun, and kill what has?
    ):
        "Accept no more calls."
        self.killed = self.killed or cancel_futures
        for worker in self.workers if cancel_futures else []:
            worker.process.kill()
        self.pool.shutdown(wait, cancel_futures=cancel_futures)
        for worker in self.workers if wait else []:
            worker.end()

    def __exit__(self, kind, *_):
        self.shutdown(cancel_futures=kind is not None)

    def _call(self, call):
        "Have an idle worker make a call, or a new one: the body of a thread."
        message = pickle.dumps(call)
        worker = self._worker()
        answer = worker.ask(message)
        self.idle.put(worker)
        is_good, value = pickle.loads(answer)
        if not is_good:
            raise value
        return value

    def _worker(self):
        "A worker that waits for a call, perhaps a new one."
        with suppress(queue.Empty):
            return self.idle.get_nowait()
        for _ in range(3):
            try:
                worker = Worker(self.environment)
            except OSError as error:  # too many processes, too many open files
                raise WorkerStartError(f"a worker process does not start: {error}") from error
            self.workers.append(worker)
            if self.killed:  # meanwhile
                worker.process.kill()
            if worker.is_ready():
                return worker
            reason = worker.end()
            if self.killed:
                raise BrokenExecutor("this executor has been shut down")
        raise WorkerStartError(f"a worker process does not start ({reason}): {sys.executable}")
