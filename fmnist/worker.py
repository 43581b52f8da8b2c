"""Worker processes on this machine: calls go in through one pipe, answers come out of another.

A plain module, without a notebook: its tests are in tests/test_sweeps.py.

A worker is a fresh Python that imports this module and calls `serve`. It finds modules where the driver finds them
(`sys.path`) and works in the driver's folder, but never imports the driver's script: nothing has to be guarded by
`if __name__ == "__main__"`, and a notebook, a console or a script from standard input has workers, too. What travels
is pickled, between these processes alone: nothing is ever unpickled from a file.
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

from .checks import check, is_whole

__all__ = ["WorkerStartError", "LocalExecutor", "serve"]

LENGTH = struct.Struct(">Q")  # What stands before each message: its length in bytes
READY = b"this worker of fmnist is ready\n"  # What a worker says first; a `sitecustomize` may print before it
START = "import sys; sys.path[:] = {path!a}; from fmnist.worker import serve; serve()"
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


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
    if len(head) == LENGTH.size:
        length = LENGTH.unpack(head)[0]
        message = stream.read(length)
        if len(message) == length:
            return message
    raise EOFError("the pipe has no other end any more")


# The worker's side


def private_pipes() -> tuple:  # Two binary files: calls, answers
    "Take the pipes away from standard input and output: what a call prints goes to standard error."
    calls, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    try:
        os.dup2(2, 1)
    except OSError:  # the driver has no standard error
        os.dup2(nothing, 1)
    sys.stdout = sys.stderr
    return calls, answers


def portable(
    error: BaseException,  # What a call raised
) -> Exception:  # The same, or its words where it would not survive the journey
    "An error that can be raised in the driver without ending it."
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(repr(error))
    return error if isinstance(error, Exception) else RuntimeError(repr(error))


def answer_to(
    message: bytes,  # A pickled (function, arguments, arguments by name)
) -> bytes:  # A pickled (True, value) or (False, error)
    "Make a call, whatever becomes of it."
    try:
        function, args, kwargs = pickle.loads(message)
        return pickle.dumps((True, function(*args, **kwargs)))
    except BaseException as error:
        return pickle.dumps((False, portable(error)))


def listen(
    calls,  # A binary file
    waiting: queue.SimpleQueue,  # Where messages go
):
    "Take calls; leave when the driver is gone, also in the middle of a call: nobody waits for its answer."
    with suppress(EOFError, OSError):
        while True:
            waiting.put(receive(calls))
    os._exit(0)


def serve():
    "The life of a worker: calls come in, answers go out, until the driver is gone."
    calls, answers = private_pipes()
    waiting: queue.SimpleQueue = queue.SimpleQueue()
    threading.Thread(target=listen, args=(calls, waiting), daemon=True).start()
    with suppress(OSError):
        answers.write(READY)
        answers.flush()
        while True:
            send(answers, answer_to(waiting.get()))
    os._exit(0)


# The driver's side


def apart() -> dict:  # Arguments of `subprocess.Popen`
    "What keeps away Ctrl-C, which a terminal sends to a whole group of processes: it is for the driver alone."
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


class Worker:
    "One worker process, seen from the driver."

    def __init__(
        self,
        environment: dict,  # Environment variables that it gets beside the driver's own
    ):
        path = [os.path.abspath(place) for place in sys.path]
        self.process = subprocess.Popen([sys.executable, "-c", START.format(path=path)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, env=os.environ | environment, **apart())

    def is_ready(self) -> bool:  # False if it has died instead
        "Wait until it takes calls."
        return any(line.endswith(READY) for line in iter(self.process.stdout.readline, b""))

    def ask(
        self,
        message: bytes,  # As `answer_to` takes it
    ) -> bytes:  # As `answer_to` gives it
        "Have it make a call; an `EOFError` or `OSError` if it dies."
        send(self.process.stdin, message)
        return receive(self.process.stdout)

    def end(self) -> str:  # How it ended, for a sentence
        "Close its pipe, upon which it leaves, and wait for that."
        with suppress(OSError):  # a call that it never took
            self.process.stdin.close()
        code = self.process.wait()
        self.process.stdout.close()
        try:
            return f"signal {signal.Signals(-code).name}"
        except ValueError:
            return f"exit code {code}"


class LocalExecutor(Executor):
    "Worker processes on this machine; one that dies fails only its own call (`BrokenExecutor`), and is replaced."

    def __init__(
        self,
        workers: int,  # How many processes; each is started when there is work for it
        threads: int = 1,  # How many threads NumPy's and PyTorch's libraries may use in each
    ):
        check(is_whole(workers), "workers", workers, "a whole number of at least 1")
        self.slots = range(workers)
        self.hands = Hands(dict.fromkeys(THREADS, str(threads)))
        self.pool = ThreadPoolExecutor(workers, "fmnist-worker")

    def submit(
        self,
        fn,  # A function that can be imported: not one of the script or notebook itself
        /,
        *args,  # Its arguments, which can be pickled
        **kwargs,  # Its arguments by name
    ) -> Future:  # Its result, some day
        "Have a worker call `fn`."
        if getattr(fn, "__module__", None) == "__main__":
            raise ValueError(f"{fn.__qualname__} is defined in the script or notebook itself, which a worker process "
                             "cannot import: write it into a file beside it, and import it from there")
        return self.pool.submit(self.hands.call, (fn, args, kwargs))

    def shutdown(
        self,
        wait: bool = True,  # Until all is done?
        *,
        cancel_futures: bool = False,  # Drop what has not begun, and kill what has?
    ):
        "Accept no more calls."
        if cancel_futures:
            self.hands.kill()
        self.pool.shutdown(wait, cancel_futures=cancel_futures)
        if wait:
            self.hands.end()

    def __exit__(self, kind, *_):
        self.shutdown(cancel_futures=kind is not None)


class Hands:
    "The workers of an executor: as many as there were calls at once."

    def __init__(
        self,
        environment: dict,  # Environment variables that they get beside the driver's own
    ):
        self.environment = environment
        self.workers: list = []  # All that live
        self.idle: queue.SimpleQueue = queue.SimpleQueue()  # Those of them that wait for a call
        self.killed = False

    def call(
        self,
        what: tuple,  # Function, arguments, arguments by name
    ):  # What it returns, or raises
        "Have an idle worker make a call, or else a new one."
        message = pickle.dumps(what)
        worker = self.take()
        try:
            answer = worker.ask(message)
        except (EOFError, OSError):
            raise BrokenExecutor(f"the worker died ({self.part_with(worker)})") from None
        self.idle.put(worker)
        good, value = pickle.loads(answer)
        if good:
            return value
        raise value

    def take(self) -> Worker:  # Waiting for a call
        "A worker that is idle, or a new one; a `WorkerStartError` after three that did not start."
        with suppress(queue.Empty):
            return self.idle.get_nowait()
        for _ in range(3):
            worker = self.start()
            if worker.is_ready():
                return worker
            how = self.part_with(worker)
            if self.killed:
                raise BrokenExecutor("this executor has been shut down")
        raise WorkerStartError(f"a worker process does not start ({how}): {sys.executable}")

    def start(self) -> Worker:  # Not ready yet
        "A new worker."
        try:
            worker = Worker(self.environment)
        except OSError as error:  # too many processes, too many open files
            raise WorkerStartError(f"a worker process does not start: {error}") from error
        self.workers.append(worker)
        if self.killed:
            worker.process.kill()
        return worker

    def part_with(
        self,
        worker: Worker,  # One of them
    ) -> str:  # How it ended, for a sentence
        "Wait for the end of a worker."
        with suppress(ValueError):
            self.workers.remove(worker)
        return worker.end()

    def kill(self):
        "Kill all, also those that are on their way."
        self.killed = True
        for worker in list(self.workers):
            worker.process.kill()

    def end(self):
        "Let all leave that have no call, and wait for that."
        for worker in list(self.workers):
            self.part_with(worker)
