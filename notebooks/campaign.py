"""Run the trainings of `book/runs.toml` that are missing.

Each is one papermill run of `train.ipynb`, and ends as a folder in `book/runs`: figures, history,
log. An interrupted campaign resumes where it was, even in the middle of a training. Campaigns that
run at the same time, or one with --jobs, divide the runs among them. With --models, --epochs,
--profile or --seeds the trainings are others than the book's: they go to `other_runs`, under names
that say what they are.
"""

import argparse
import contextlib
import copy
import dataclasses
import fcntl
import fnmatch
import hashlib
import itertools
import json
import os
import pathlib
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib

import keras
import nbformat
import papermill
import traitlets
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpecManager
from tqdm import tqdm
from tqdm.contrib import DummyTqdmFile

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the code of this checkout, whichever is installed

import mixlib  # noqa: E402
from benchmarks import yardsticks  # noqa: E402

NOTEBOOK = ROOT / "notebooks" / "train.ipynb"
CAMPAIGN = ROOT / "book" / "runs.toml"
BOOK_RUNS = ROOT / "book" / "runs"
OTHER_RUNS = ROOT / "other_runs"
CHECKPOINT = "checkpoint.npz"  # as train.ipynb calls it
PARAMETERS = "parameters.json"  # of the training that the checkpoint is of

NAMES = {
    "model": [*mixlib.presets.PRESETS, *yardsticks.MODELS],
    "recipe": mixlib.recipes.RECIPES,
    "dataset": mixlib.data.DATASETS,
    "profile": mixlib.profiles.PROFILES,
    "precision": ("float32", "mixed_bfloat16"),
}
# An absolute path up to its last part, which stays. URLs and fractions are not matched.
FOLDERS = re.compile(r"(?<![\w./])/(?:[\w.+@~-]+/)+")
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class ThisPython(AsyncKernelManager):
    """Starts kernels of the running Python, whatever kernels are installed on the machine.

    A kernel holds the locks of this process, too. So a run's folder is not free before its kernel
    has ended, which outlives this process for a moment if that is killed.
    """

    @traitlets.default("kernel_spec_manager")
    def _no_installed_kernels(self):
        return KernelSpecManager(parent=self, kernel_dirs=[])

    def start_kernel(self, **options):
        return super().start_kernel(close_fds=False, **options)


def main(arguments=None):
    """Run the campaign, and return the exit status: 1 where a run is left undone, else 0.

    Those that another campaign is training do not count. 130 when it is interrupted.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="runs by name, or a pattern")
    parser.add_argument(
        "--models",
        nargs="+",
        metavar="MODEL",
        help="runs of these models only; without --only, others by the recipe baseline, too",
    )
    parser.add_argument("--epochs", type=int, help="that many epochs each")
    parser.add_argument("--profile", choices=NAMES["profile"], help="data and epochs of a profile")
    parser.add_argument("--seeds", nargs="+", type=int, metavar="SEED", help="once a seed")
    parser.add_argument("--out", type=pathlib.Path, help="folder to store the runs in")
    parser.add_argument("--jobs", type=int, default=1, help="that many trainings at a time")
    parser.add_argument("--list", action="store_true", help="show the runs and their state only")
    options = parser.parse_args(arguments)
    if options.jobs < 1:
        parser.error(f"--jobs must be 1 or more; got {options.jobs}.")
    others = any((options.models, options.epochs is not None, options.profile, options.seeds))
    out = (options.out or (OTHER_RUNS if others else BOOK_RUNS)).resolve()
    try:
        if others and out == BOOK_RUNS:
            raise ValueError("Only the runs of runs.toml are stored in book/runs. Leave out --out.")
        runs = select(read_campaign(), options.only)
        chosen = {row["model"] for row in runs.values()}
        if options.only and not chosen.issuperset(options.models or ()):
            raise ValueError(
                f"--only chose runs of {', '.join(sorted(chosen))}; got --models "
                f"{' '.join(options.models)}. Leave --only out to train others."
            )
        if others:
            runs = override(runs, options.models, options.epochs, options.profile, options.seeds)
        check(runs, out)
    except ValueError as error:
        parser.error(str(error))
    if options.list:
        print(table(runs, out))
        return 0

    prepare_environment(options.jobs)
    helpers = [start_helper(arguments) for _ in range(options.jobs - 1)]
    try:
        train_missing(runs, out)
        statuses = [helper.wait() for helper in helpers]
    except KeyboardInterrupt:
        print("\nInterrupted. What is done is kept; the same command goes on.", file=sys.stderr)
        return 130
    finally:
        for helper in helpers:
            helper.terminate()
    print(table(runs, out))
    return 1 if any(statuses) or any(is_left(name, out) for name in runs) else 0


def start_helper(arguments):
    """Start another process of the same campaign, which takes the runs that no other has."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    return subprocess.Popen([sys.executable, __file__, *given, "--jobs", "1"])


def train_missing(runs, out):
    """Train the runs that `out` lacks and no other process is training, one after the other."""
    missing = [name for name in runs if not is_done(out / name)]
    with tqdm(missing, unit="run") as progress:
        for name in progress:
            progress.set_description(name)
            try:
                train_unless_taken(name, runs[name], out)
            except Exception as error:  # whatever stops one run, the others go on
                tqdm.write(f"{name} failed: {reason(error)}")
                log = unfinished(out, name) / "log.ipynb"
                if log.exists():
                    tqdm.write(f"Its log: {log}")


def train_unless_taken(name, parameters, out):
    """Train one run, unless it is done or another process is at it; note why it failed."""
    folder = unfinished(out, name)
    with claim(folder) as ours:
        if ours and not is_done(out / name):
            wait_for(parameters.get("teacher"))
            try:
                train(name, parameters, out)
            except Exception as error:
                (folder / "failed.txt").write_text(f"{reason(error)}\n")
                raise


def wait_for(teacher):
    """Wait as long as another process trains the run that is to teach, if there is one."""
    while teacher and not is_done(BOOK_RUNS / teacher) and not is_left(teacher, BOOK_RUNS):
        time.sleep(10)


def is_left(name, out):
    """Whether a run is damaged, or not done and not being trained by any process."""
    if is_done(out / name):
        return read(out / name) is None
    try:
        with claim(unfinished(out, name)) as ours:
            return ours and not is_done(out / name)
    except OSError:  # nor can it be claimed
        return True


@contextlib.contextmanager
def claim(folder):
    """Keep other processes from a run's folder; false if one of them has it already.

    The lock goes with the process and its kernel, however they end. A folder that stays empty is
    removed.
    """
    lock, ours = lock_folder(folder)
    try:
        yield ours
    finally:
        for path in (folder, folder.parent) if ours else ():  # as long as it is locked
            with contextlib.suppress(OSError):  # there is something in it
                path.rmdir()
        os.close(lock)


def lock_folder(folder):
    """Make a folder and lock it: its descriptor, and whether it was free.

    Another process may remove or rename it before it is locked here. Then it is made again.
    """
    for _ in range(100):
        lock = None
        try:
            with contextlib.suppress(FileExistsError):
                folder.mkdir(parents=True)
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(lock), os.stat(folder)):
                os.set_inheritable(lock, True)  # by a kernel
                return lock, True
        except BlockingIOError:
            return lock, False
        except FileNotFoundError:
            pass
        if lock is not None:
            os.close(lock)
    raise FileNotFoundError(f"{folder} can't be made, or is removed again and again.")


def read_campaign():
    """Read `runs.toml`: the parameters of each run, by its name."""
    content = tomllib.loads(CAMPAIGN.read_text())
    tables = content.get("run")
    if set(content) != {"run"} or not isinstance(tables, list):
        raise ValueError(f"{CAMPAIGN.name} holds [[run]] tables alone; got {', '.join(content)}.")
    try:
        rows = [row for table in tables for row in expand(table)]
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise ValueError(
            f"{CAMPAIGN.name}: a run's `each` is a table of lists, and its name a text whose "
            f"braces hold last words of the keys there ({error!r})."
        ) from error
    runs = {}
    for row in rows:
        name = row.pop("name", "")
        if not re.fullmatch(r"\w[\w.-]*", name) or "model" not in row:
            raise ValueError(
                f"{CAMPAIGN.name}: every run needs a model, and a name of letters, digits, '-', "
                f"'_' and '.'; got name {name!r} with {row}."
            )
        if name in runs:
            raise ValueError(f"{CAMPAIGN.name}: two runs are called {name!r}.")
        runs[name] = row
    return runs


def expand(row):
    """Expand a row into a run for every combination of the values that its `each` lists.

    A key may name a part: ``each = {"changes.mixup" = [0.0, 0.5]}``. The name says which is which,
    by the last word of the key: ``name = "mixup{mixup}"``. A value may be a table of parameters
    that belong together, which are added to the row; the run's name takes its ``name``.
    """
    each = row.pop("each", {})
    for values in itertools.product(*each.values()):
        one, words = copy.deepcopy(row), {}
        for key, value in zip(each, values, strict=True):
            *path, last = key.split(".")
            part = one
            for word in path:
                part = part.setdefault(word, {})
            if isinstance(value, dict):
                words[last] = value.get("name")
                merge(part, {name: value[name] for name in value if name != "name"})
            else:
                words[last] = ("no", "yes")[value] if isinstance(value, bool) else value
                part[last] = value
        yield one | {"name": row.get("name", "").format(**words)}


def merge(parameters, others):
    """Add parameters to parameters, and tables to tables of the same name."""
    for key, value in others.items():
        if isinstance(value, dict):
            merge(parameters.setdefault(key, {}), value)
        else:
            parameters[key] = value


def select(runs, patterns):
    """Choose runs by name or pattern, in the order of the campaign; None for all."""
    if patterns is None:
        return runs
    for pattern in patterns:
        if not fnmatch.filter(runs, pattern):
            raise ValueError(f"No run {pattern!r}. Expected one of: {', '.join(runs)}.")
    return {
        name: row
        for name, row in runs.items()
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
    }


def override(runs, models=None, epochs=None, profile=None, seeds=None):
    """Change the campaign's runs, and give them names that say all of their parameters.

    A model that the campaign lacks is trained by the recipe ``baseline``. A profile brings its own
    data and numbers of images and epochs. Runs that have become equal are one.
    """
    rows = list(runs.values())
    if models:
        rows = [
            row
            for model in models
            for row in [row for row in rows if row["model"] == model]
            or [{"model": model, "recipe": "baseline", "profile": "full"}]
        ]
    changed = {}
    for row in rows:
        for seed in seeds or [row.get("seed", 0)]:
            new = {**row, "seed": seed}
            if profile:
                own = ("dataset", "train_size", "train_start", "epochs")
                new = {key: new[key] for key in new if key not in own}
                new["profile"] = profile
            if epochs is not None:
                new["epochs"] = epochs
            changed[describe(new)] = new
    return changed


def describe(parameters):
    """Make a name from all parameters: keras_fnet-keras_example-cifar100-2epochs-seed0-full.

    What is too long for a folder is cut, and ends in a checksum of the parameters.
    """
    order = ["model", "overrides", "recipe", "changes", "dataset", "epochs", "seed", "profile"]
    words = []
    for key in sorted(parameters, key=lambda key: order.index(key) if key in order else len(order)):
        value = parameters[key]
        if isinstance(value, dict):
            words += [f"{name}{value[name]}" for name in sorted(value)]
        elif key == "epochs":
            words.append("1epoch" if value == 1 else f"{value}epochs")
        else:
            words.append(str(value) if key in NAMES else f"{key}{value}")
    name = re.sub(r"[^\w.-]", "", "-".join(words))
    if len(name) > 120:
        digest = hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()
        name = f"{name[:111]}-{digest[:8]}"
    return name


def check(runs, out):
    """Find what is wrong with the runs before any of them starts.

    Raises
    ------
    ValueError
        When a run has a parameter that the notebook does not know, names something that does not
        exist, or can't be stored.
    """
    known = set(papermill.inspect_notebook(NOTEBOOK)) - {"out"}
    before = {}  # the runs that come before
    created = []  # seeds and recipes share models, and making one takes a moment
    for name, parameters in runs.items():
        unknown = parameters.keys() - known
        if unknown:
            raise ValueError(
                f"Run {name!r}: {NOTEBOOK.name} has no parameter {', '.join(sorted(unknown))}. "
                f"It has: {', '.join(sorted(known))}."
            )
        for key in NAMES.keys() & parameters.keys():
            if parameters[key] not in list(
                NAMES[key]
            ):  # no dict can be asked for a list or a table
                raise ValueError(
                    f"Run {name!r}: unknown {key} {parameters[key]!r}. Expected one of: "
                    f"{', '.join(NAMES[key])}."
                )
        for key in ("predictions", "weights"):
            if not isinstance(parameters.get(key, False), bool):
                raise ValueError(
                    f"Run {name!r}: {key} must be true or false; got {parameters[key]!r}."
                )
        for key, least in (("epochs", 1), ("seed", 0), ("train_size", 1), ("train_start", 0)):
            value = parameters.get(key, least)
            if type(value) is not int or value < least:
                raise ValueError(
                    f"Run {name!r}: {key} must be a whole number from {least} up; got {value!r}."
                )
        try:
            recipe = mixlib.recipes.get_recipe(parameters.get("recipe", "keras_example"))
            recipe = dataclasses.replace(recipe, **parameters.get("changes", {}))
            with keras.StatelessScope(initialize_variables=False):  # its layers know their ranges
                mixlib.augment.augmentation(**recipe.augmentation)
            check_teacher(parameters.get("teacher"), recipe, before, out)
            model = parameters["model"], parameters.get("overrides")
            if model[1] and model not in created:
                yardstick = model[0] in yardsticks.MODELS
                create = yardsticks.create if yardstick else mixlib.create
                with keras.StatelessScope(initialize_variables=False):  # shapes, no values
                    create(model[0], **model[1])
                created.append(model)
        except (TypeError, ValueError, FileNotFoundError) as error:
            raise ValueError(f"Run {name!r}: {error}") from error
        folder = out / name
        if folder.exists() and not is_done(folder):
            raise ValueError(f"{folder} is there but holds no run. Move it away or remove it.")
        before[name] = parameters


def check_teacher(teacher, recipe, before, out):
    """Raise an error unless a recipe that learns from a teacher has one, with weights.

    Teachers are looked for among the runs that the book quotes. One may also be among the runs
    `before`, if these are stored there, too.
    """
    if (teacher is not None) != (recipe.distillation > 0):
        raise ValueError("teacher and changes.distillation go together; one of them is missing.")
    if teacher is None:
        return
    if out.resolve() == BOOK_RUNS.resolve() and before.get(teacher, {}).get("weights"):
        return
    if not mixlib.load_run(teacher).has_weights:
        raise ValueError(f"its teacher {teacher!r} has no weights stored: train it with weights.")


def prepare_environment(jobs):
    """Let kernels, which run in a run's folder, find the same mixlib and data as this process.

    Several of them share a GPU if none takes all of its memory at once, as each would by default.
    """
    if jobs > 1:
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    folders = [pathlib.Path(mixlib.__file__).parents[1]]
    folders += filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    os.environ["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, folders))
    if os.environ.get("MIXLIB_DATA_DIR"):
        folder = os.path.expanduser(os.environ["MIXLIB_DATA_DIR"])
        os.environ["MIXLIB_DATA_DIR"] = os.path.abspath(folder)


def train(name, parameters, out):
    """Train one run that is claimed, from its checkpoint if it has one.

    Its folder appears when it is complete.

    Raises
    ------
    ValueError
        When there is a checkpoint, and it is of other parameters.
    RuntimeError
        When the notebook stored no run.
    """
    folder = unfinished(out, name)
    log = folder / "log.ipynb"
    keep_parameters(folder, parameters)
    if is_done(folder) and not is_notebook(log):  # the process ended as it wrote the log
        (folder / "metrics.json").unlink()
    if not is_done(folder):  # else the process ended just before the folder got its place
        for path in folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name not in (CHECKPOINT, PARAMETERS):
                path.unlink()
        papermill.execute_notebook(
            NOTEBOOK,
            log,
            {**parameters, "out": "."},  # the kernel's own folder: no path gets into the log
            cwd=folder,
            progress_bar=False,
            stdout_file=DummyTqdmFile(sys.stdout),  # the epochs, above the bar of the runs
            kernel_name="python3",
            kernel_manager_class=ThisPython,
        )
    if not is_done(folder):
        raise RuntimeError(f"{NOTEBOOK.name} ended well, but stored no metrics.json.")
    nbformat.write(clean(nbformat.read(log, as_version=4), name), log)
    for leftover in (CHECKPOINT, PARAMETERS, "failed.txt"):
        (folder / leftover).unlink(missing_ok=True)
    out.mkdir(parents=True, exist_ok=True)
    folder.rename(out / name)


def keep_parameters(folder, parameters):
    """Store a run's parameters beside its checkpoint; ValueError when that is of others."""
    path = folder / PARAMETERS
    if not path.exists() or not (is_done(folder) or (folder / CHECKPOINT).exists()):
        path.write_text(json.dumps(parameters, indent=2) + "\n")
        return
    stored = json.loads(path.read_text())
    differ = [
        f"{key} ({stored.get(key)!r} there, {parameters.get(key)!r} here)"
        for key in sorted(stored | parameters)
        if stored.get(key) != parameters.get(key)
    ]
    if differ:
        raise ValueError(
            f"The unfinished training in {folder} has other parameters: it differs in "
            f"{', '.join(differ)}. Remove that folder to train from the start."
        )


def unfinished(out, name):
    """Folder in which a run is trained."""
    return out.with_name(f"{out.name}.unfinished") / name


def reason(error):
    """The last line of an error's message, without colours."""
    lines = COLOURS.sub("", str(error)).strip().splitlines() or [repr(error)]
    return lines[-1]


def failure(folder):
    """Why an unfinished run failed: the last line of the error, or nothing."""
    path = folder / "failed.txt"
    return path.read_text().strip() if path.is_file() else ""


def is_done(folder):
    """Whether a folder holds a run."""
    return (folder / "metrics.json").is_file()


def read(folder):
    """The run in a folder; None where it is damaged."""
    try:
        return mixlib.load_run(folder)
    except ValueError:
        return None


def is_notebook(path):
    """Whether a file is a whole notebook."""
    try:
        nbformat.read(path, as_version=4)
    except (OSError, ValueError):
        return False
    return True


def clean(log, name):
    """Title a log by its run, and take out what is of machine and hour: paths, times, warnings."""
    for cell in log.cells[:1]:
        cell.source = cell.source.replace("# One training", f"# {name}")
    log.metadata["papermill"] = {"parameters": log.metadata["papermill"]["parameters"]}
    for cell in log.cells:
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        if cell.cell_type != "code":
            continue
        cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
        for output in cell.outputs:
            texts = output if output.output_type == "stream" else output.get("data", {})
            for key in {"text", "text/plain", "text/html"} & texts.keys():
                texts[key] = without_the_machine(texts[key])
    return log


def without_the_machine(text):
    """Text without colours, folders, and the name of the host."""
    text = COLOURS.sub("", text)
    for folder in (ROOT, pathlib.Path.home()):  # whose names may have spaces
        if folder.name:
            text = text.replace(f"{folder}/", "")
    text = FOLDERS.sub("", text)
    host = platform.node()
    return re.sub(rf"\b{re.escape(host)}\b", "host", text) if host else text


def state(folder):
    """What there is of a run that is not done."""
    how = "failed" if failure(folder) else "begun" if folder.is_dir() else "missing"
    try:
        epochs = mixlib.checkpoint.epochs_done(folder / CHECKPOINT)
    except ValueError:
        return f"{how}, checkpoint damaged"
    return f"{how}, {epochs} epochs stored" if epochs else how


def table(runs, out):
    """Tabulate the runs as text: state and figures."""
    rows = [("run", "state", "top-1 (%)", "top-5 (%)", "epochs", "s/epoch", "device", "date")]
    for name in runs:
        if not is_done(out / name):
            rows.append((name, state(unfinished(out, name)), *[""] * 6))
            continue
        run = read(out / name)
        if run is None:
            rows.append((name, "damaged: remove it to train it again", *[""] * 6))
            continue
        metrics = run.metrics
        rows.append(
            (
                name,
                "done" if run.same_code else "done, by earlier code",
                f"{100 * metrics['test_top_1']:.2f}",
                f"{100 * metrics['test_top_5']:.2f}",
                str(metrics["epochs"]),
                f"{metrics['seconds_per_epoch']:.1f}",
                ", then ".join(run.devices),
                metrics["date"],
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
    return "\n".join([*lines, f"in {os.path.relpath(out)}"])


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # main ends its helpers first
    sys.exit(main())
