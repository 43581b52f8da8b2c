"""What stands behind `fmnist_run` and `fmnist_results`.

Which studies are meant, how long they take and what they can show, and what a terminal is told.

A plain module, without a notebook: its tests are in tests/test_study_cli.py.
"""

import json
import math
import os
import shlex
import shutil
import sys
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

from .checks import check, whole_number
from .imports import load_module
from .runner import missing_trials, parts, run_trials, uses_torch
from .statistics import power_text, typical_spread
from .store import published_folder, read_records
from .studies import (
    FIRST_STUDIES, GROUPS, READING_STUDIES, STUDIES, Study, collect, comparisons, count_of, plan_of,
    report_parser, study_findings,
)  # fmt: skip
from .trials import Failure, Result, attempt, data_name, is_final, learner_of, load_data

__all__ = ["estimate", "find_studies", "power_line", "run", "results"]


# --- how long it takes ---


def _work(trial, images):
    "Images' worth of work in an epoch of a trial: training in full, validation half."
    n = min(trial.images or images, images)
    return (1 - trial.held_out) * n + trial.held_out * n / 2


def _network(trial):
    "What trials of the same speed have in common."
    return json.dumps(
        [trial.model, trial.settings, trial.training, trial.batch_size], sort_keys=True
    )


def _probe(trial):
    "A short training of the same network: on the sample, or on data of one's own."
    # Four fifths of so many are never whole batches of 32 to 512 images and a single one, which
    # batch normalisation would refuse.
    length = dict(epochs=2, images=310) if uses_torch(trial) else dict(epochs=5, images=1590)
    data = {} if trial.source else dict(data=data_name("sample"))
    return replace(trial, seed=0, **length, **data)


def _sizes(trial):
    "How many training and test images the data have."
    if trial.source is None:
        return {"full": (60_000, 10_000), "sample": (2000, 500)}[trial.data.partition("-")[0]]
    data = load_data(trial.data, trial.source)
    return len(data.train_labels), len(data.test_labels)


def _measure(probes, trials, executor, workers):
    "Seconds an image for each network, and how many of its trials run at a time."
    rate, slots = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for start, part, _ in parts(probes, trials, workers, executor):
            with start() as pool:
                for probe, record in zip(
                    part, pool.map(attempt, part, [folder] * len(part)), strict=True
                ):
                    epochs = record.history.epochs if isinstance(record, Result) else ()
                    seconds = min((epoch.seconds for epoch in epochs), default=math.nan)
                    rate[_network(probe)] = seconds / _work(probe, _sizes(probe)[0])
                    most = trials[: workers or 1]  # never more than trials
                    slots[uses_torch(probe)] = len(getattr(pool, "slots", most))
    return rate, slots


def estimate(
    trials: list,  # Of `Trial`
    executor=None,  # As for `run_trials`
    workers: int | None = None,  # As for `run_trials`
) -> (
    tuple
):  # Seconds for each trial (nan if its network cannot be trained), and of wall time for all
    "How long trials will take, from a short training of each network."
    probes = {_network(trial): _probe(trial) for trial in trials}
    rate, slots = _measure(list(probes.values()), trials, executor, workers)

    def seconds_of(trial):
        training, test = _sizes(trial)
        return rate[_network(trial)] * (trial.epochs * _work(trial, training) + test / 2)

    each = [seconds_of(trial) for trial in trials]
    finite = [(s, trial) for s, trial in zip(each, trials, strict=True) if math.isfinite(s)]
    return each, sum(s / slots[uses_torch(trial)] for s, trial in finite)


# --- what it can show ---


def _libraries(study):
    return {learner_of(each["model"]).library for each in study.arms.values()}


@cache
def _published_spread(library):
    "The spread of paired differences in the published studies of one kind of network, in points."
    records, found = read_records(published_folder()), []
    for study in [*GROUPS["all"], *READING_STUDIES, *FIRST_STUDIES]:
        if _libraries(study) == {library}:
            found += comparisons(study, collect(study, records, "full"))
    return typical_spread(found)


def power_line(
    study: Study,  # What is to be asked
    seeds: int,  # How many are planned
) -> str:  # A sentence
    "Which difference planned seeds show in four studies of five, with the published runs' spread."
    library = "torch" if "torch" in _libraries(study) else "numpy"
    numbers = sorted({seeds, 6, 10} - {1})
    differences = power_text(_published_spread(library), numbers, len(study.pairs))
    condition = "if it spreads as the published runs on the full data"
    return f"{study.name} can show, {condition}: {differences}."


# --- which studies are meant ---


def find_studies(
    name: str,  # Of a study, of a group, or "file.py:name" or "module:name" of one's own
) -> list:  # Of `Study`
    "The studies of that name; a `ValueError` says what there is."
    if name in GROUPS:
        return GROUPS[name]
    if name in STUDIES:
        return [STUDIES[name]]
    place, _, variable = name.rpartition(":")
    check(
        bool(place and variable),
        "a study",
        name,
        f"one of {', '.join([*STUDIES, *GROUPS])}, or file.py:name",
    )
    if place.endswith(".py"):
        path = Path(place)
        check(path.is_file(), "the file of a study", place, "a Python file that is there")
        sys.path.insert(0, str(path.resolve().parent))  # as Python itself does for a script
        place = path.stem
    study = getattr(load_module(place), variable, None)
    check(isinstance(study, Study), name, type(study).__name__, "a `Study` made in that file")
    return [study]


def _parser(prog, description, seeds):
    "The arguments of both commands; `seeds` is what the help says of the default."
    parser = report_parser(prog, description, seed=None, budget=None)
    names = ", ".join([*STUDIES, *GROUPS])
    parser.add_argument(
        "studies", nargs="*", default=["report"], metavar="study",
        help=f"one of {names}, or your own as nets.py:study (default: report)")  # fmt: skip
    parser.add_argument("--seeds", type=whole_number(1, 1000),
                        help=f"how many seeds, counted from 0 (default: {seeds})")  # fmt: skip
    parser.add_argument("--arms", nargs="+", metavar="arm", help="only these arms of the studies")
    return parser


def _only(
    study: Study,  # Any
    arms: list,  # Names of those that are wanted
) -> Study:  # With the comparisons between them
    "A study with some of its arms."
    kept = {name: each for name, each in study.arms.items() if name in arms}
    pairs = tuple(pair for pair in study.pairs if set(pair) <= set(kept))
    return replace(study, arms=kept, pairs=pairs)


def _some_arms(
    studies: list,  # Of `Study`
    arms: list,  # Names of arms
) -> list:  # Of `Study`, those that have any of them
    "Only these arms of the studies; a `ValueError` names those that there are."
    known = {name: study.name for study in studies for name in study.arms}
    for name in arms:
        check(name in known, "--arms", name, f"some of {', '.join(map(repr, known))}")
    return [_only(study, arms) for study in studies if set(arms) & set(study.arms)]


def _asked(parser, argv):
    "The parsed arguments: `studies` as a list of `Study`, `seeds` as `Study.trials` takes them."
    args = parser.parse_args(argv)
    if args.seed is not None and args.seeds:
        parser.error("--seed is one seed and --seeds a number of them: give one of the two")
    args.which = []  # as typed
    if args.seed is not None:
        args.which = ["--seed", str(args.seed)]
    if args.seeds:
        args.which = ["--seeds", str(args.seeds)]
    args.names = list(args.studies)
    if args.budget is None:  # one's own is run as it is written, as `Study.run` does
        args.budget = "full" if all(":" in name for name in args.names) else "quick"
    try:
        args.studies = list(
            {study.name: study for name in args.names for study in find_studies(name)}.values()
        )
        if args.arms:
            args.studies = _some_arms(args.studies, args.arms)
    except ValueError as error:
        parser.error(str(error))
    args.seeds = args.seeds if args.seed is None else [args.seed]
    return args


# --- fmnist_run ---


def _duration(seconds):
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def dry_run(
    plan: dict,  # Name of each study -> list of `Trial`
    args,  # With folder, workers and studies
    executor=None,  # As for `run_trials`
):
    "List what would be run, how long it would take, and what it could show."
    missing = missing_trials(plan, args.folder)
    each, wall = estimate([trial for _, trial in missing.values()], executor, args.workers)
    for (digest, (name, trial)), seconds in zip(missing.items(), each, strict=True):
        took = f"{seconds:8.2f} s" if math.isfinite(seconds) else "unknown"
        length = count_of(trial.epochs, "epoch").ljust(9)
        print(f"{digest}  {name:18}  {trial.model:6}  seed {trial.seed}  {length} {took}")
    wanted = len({trial.digest for trials in plan.values() for trial in trials})
    known = list(filter(math.isfinite, each))
    place = "cluster" if executor else "machine"
    line = f"{len(missing)} of {wanted} trials are missing in {args.folder}: "
    line += f"about {_duration(sum(known))} of work, {_duration(wall)} on this {place}"
    if len(known) < len(each):
        line += f"; without the {len(each) - len(known)} whose short training failed"
    print(line + ".")
    for study in args.studies:
        if study.pairs:
            print(power_line(study, len({trial.seed for trial in plan[study.name]})))


def _cluster(scheduler):
    "A Dask client for an address."
    try:
        from distributed import Client
    except ImportError:
        sys.exit('fmnist_run: --scheduler needs Dask: pip install "fmnist[dask]"')
    try:
        return Client(scheduler)
    except (ValueError, OSError) as error:
        sys.exit(
            f"fmnist_run: --scheduler {scheduler}: {error}; "
            "expected an address like tcp://host:8786"
        )


def _script():
    "What to type to run this script: its path, where the environment is not active."
    is_found = shutil.which("fmnist_run") or not sys.argv[0].endswith("fmnist_run")
    return "fmnist_run" if is_found else os.path.relpath(sys.argv[0])


_STOPPED = """
Stopped. What is finished is kept in {folder}. To go on:
    {again}"""
_ON_A_CLUSTER = """
What the cluster is computing just now goes on there until it ends; wait for that. Its results
are not collected."""
_FAILED = """\
fmnist_run: some trials failed. When the reason is mended, the same command tries them again:
    {again}"""


def _run_parser(description):
    parser = _parser(
        "fmnist_run", description, "what the budget says; for CNNs more if this machine has a GPU"
    )
    parser.add_argument(
        "--workers",
        type=whole_number(1),
        help="processes at a time (default: one for each core, or one for the GPU)",
    )
    parser.add_argument("--scheduler", help="address of a Dask scheduler: compute there, not here")
    parser.add_argument(
        "--dry-run", action="store_true",
        help="list the trials that are missing and estimate the time; run nothing")  # fmt: skip
    return parser


def run(
    argv: list | None = None,  # The arguments, by default those of the command line
    description: str | None = None,  # For --help
):
    "Run studies and keep their results; what is already there is not run again."
    parser = _run_parser(description)
    args = _asked(parser, argv)
    if args.scheduler and args.workers:
        parser.error(
            "--workers are processes on this machine; "
            "the workers of --scheduler are those that it has"
        )
    again = shlex.join([_script(), *(sys.argv[1:] if argv is None else argv)])
    client = args.scheduler and _cluster(args.scheduler)
    try:
        is_finished = _run_or_list(args, client)
    except (OSError, RuntimeError, ValueError) as error:
        sys.exit(f"fmnist_run: {error}")
    except KeyboardInterrupt:
        sys.exit(
            _STOPPED.format(folder=args.folder, again=again) + (_ON_A_CLUSTER if client else "")
        )
    finally:
        if client:
            client.close()
    if not is_finished:
        sys.exit(_FAILED.format(again=again))


def _run_or_list(args, client):
    "Do what the arguments ask for; is nothing left that another try could give?"
    plan = plan_of(args.studies, args.budget, args.seeds)
    executor = client and client.get_executor(pure=False)
    if client:
        args.workers = sum(client.nthreads().values())
        if args.dry_run and not args.workers:
            remedy = f"start one, `dask worker {args.scheduler}`, or leave out --scheduler"
            reason = "a dry run trains for a moment, but the cluster has no worker"
            raise RuntimeError(f"{reason}: {remedy}")
    if args.dry_run:
        dry_run(plan, args, executor)
        return True
    records = run_trials(plan, args.folder, executor, args.workers, progress=True)
    failed = [record for record in records.values() if isinstance(record, Failure)]
    show = shlex.join(
        ["fmnist_results", *args.names, "--budget", args.budget, "--folder", args.folder]
    )
    print(
        f"{len(records) - len(failed)} trials done, {len(failed)} failed; "
        f"results are in {args.folder}. To see them: {show}"
    )
    return all(map(is_final, failed))


# --- fmnist_results ---


def _nothing(args):
    "What is missing, and what to do, where there is no result to show."
    names = " ".join(study.name for study in args.studies)
    seeds = " ".join(args.which[1:])
    what = f"results of {names} at --budget {args.budget}"
    asked = f" with the seeds asked for ({seeds})" if seeds else ""
    arms = ["--arms", *args.arms] if args.arms else []
    words = *args.names, "--budget", args.budget, *args.which, *arms
    command = shlex.join(["fmnist_run", *words])
    here = f"{command} --folder {shlex.quote(args.folder)}"
    if args.published and args.budget != "full":
        return f"there are no published {what}{asked}: try --budget full, as studies are published"
    if args.published:
        return f"there are no published results of {names}{asked}: to compute them, {command}"
    if not Path(args.folder).is_dir():
        remedy = f"name the one that has your results with --folder, or make them with {here}"
        return f"there is no folder {args.folder}: {remedy}"
    remedy = f"name another --budget or --folder, or make them with {here}"
    return f"{args.folder} has no {what}{asked}: {remedy}"


def results(
    argv: list | None = None,  # The arguments, by default those of the command line
    description: str | None = None,  # For --help
):
    "Show what studies have found: tables and verdicts."
    parser = _parser("fmnist_results", description, "all that are there")
    parser.add_argument(
        "--published", action="store_true",
        help="the results that ship with the package, not those of --folder")  # fmt: skip
    parser.add_argument("--also", nargs="+", default=[], metavar="folder",
                        help="folders with more results, such as another machine's")  # fmt: skip
    args = _asked(parser, argv)
    if gone := [folder for folder in args.also if not Path(folder).is_dir()]:
        parser.error(f"--also: there is no folder {gone[0]}")
    records = read_records(published_folder() if args.published else args.folder, *args.also)
    found = [study_findings(each, records, args.budget, args.seeds) for each in args.studies]
    if not any(records for each in found for records in each.arms.values()):
        sys.exit(f"fmnist_results: {_nothing(args)}")
    print("\n\n".join(each.table() for each in found))
