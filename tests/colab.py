"""Every notebook as it runs in Colab: alone in an empty folder, with mixlib from a wheel.

``make test-colab`` runs this file. `pytest` by itself does not collect it: it needs a package index
and minutes. The environments hold what Colab has, in the newest and in the oldest versions that
mixlib supports, and no mixlib. Each notebook is copied to a new folder, and its first cell installs
mixlib. What is in the environment must be the same before and after.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile

import nbclient
import nbformat
import pytest
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

ROOT = pathlib.Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
VERSIONS = {"newest": "constraints.txt", "oldest": "constraints-oldest.txt"}
# What of Colab's packages the book may use. jinja2 and ipykernel are parts of Jupyter.
COLAB = "ipykernel jinja2 keras matplotlib numpy pandas tensorflow".split()


def run(*command):
    """What a command prints. Its errors are shown when it fails."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True)
    if done.returncode:
        pytest.fail(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}", pytrace=False)
    return done.stdout


class Environment:
    """A virtual environment with Colab's packages, and a kernel in it."""

    def __init__(self, folder, constraints):
        run(sys.executable, "-m", "venv", folder)
        self.python = folder / "bin" / "python"
        self.pip("install", "--quiet", "--constraint", ROOT / constraints, *COLAB)
        (folder / "kernels" / "colab").mkdir(parents=True)
        command = [str(self.python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        kernel = {"argv": command, "display_name": "Colab", "language": "python"}
        (folder / "kernels" / "colab" / "kernel.json").write_text(json.dumps(kernel))

    def pip(self, *arguments):
        return run(self.python, "-m", "pip", "--disable-pip-version-check", *arguments)

    def packages(self):
        return self.pip("list", "--format=freeze").splitlines()

    def run_notebook(self, path, wheel):
        """Run a notebook where it lies, top to bottom, and return it with its outputs."""
        notebook = nbformat.read(path, as_version=4)
        hidden = {"MIXLIB_DATA_DIR", "PYTHONPATH"}
        variables = {key: value for key, value in os.environ.items() if key not in hidden}
        variables |= {"MIXLIB_INSTALL": str(wheel), "MIXLIB_PROFILE": "smoke"}
        variables["KERAS_BACKEND"] = "tensorflow"  # whatever a keras.json says
        variables["PIP_NO_INDEX"] = "1"  # beside the wheel there is nothing to install
        client = nbclient.NotebookClient(notebook, kernel_name="colab", timeout=600)
        try:
            client.execute(cwd=str(path.parent), env=variables)
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            pytest.fail(report(path, notebook, error), pytrace=False)
        return notebook


def report(path, notebook, error):
    """Say which cell failed, the last one that was begun, and how."""
    begun = [index for index, cell in enumerate(notebook.cells) if "execution" in cell.metadata]
    plain = re.sub(r"\x1b\[[\d;]*m", "", str(error))  # without colours
    return f"{path.name} failed in cell {begun[-1]} ({notebook.cells[begun[-1]].id}).\n{plain}"


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder, ROOT)
    (path,) = folder.glob("mixlib-*.whl")
    return path


@pytest.fixture(scope="session", params=VERSIONS)
def environment(request):
    if request.param == "oldest" and sys.version_info >= (3, 13):
        pytest.skip("the oldest versions are for Python 3.11 and 3.12")
    # Some gigabytes, which pytest's own temporary folders would keep for long.
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", folder)  # where Jupyter looks for kernels
        yield Environment(pathlib.Path(folder), VERSIONS[request.param])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_in_colab(path, environment, wheel, tmp_path):
    before = environment.packages()
    assert not any(line.startswith("mixlib==") for line in before)
    shutil.copy(path, tmp_path)
    try:
        notebook = environment.run_notebook(tmp_path / path.name, wheel)
        (changed,) = {*environment.packages()} ^ {*before}
        assert changed.startswith("mixlib==")  # the first cell found none, and installed it
    finally:
        environment.pip("uninstall", "--quiet", "--yes", "mixlib")
    assert environment.packages() == before

    outputs = {
        cell.id: [output for output in cell.outputs if "data" in output]
        for cell in notebook.cells
        if cell.cell_type == "code"
    }
    for cell in notebook.cells:
        # One cell of "What they get wrong" draws photographs, and says so where it has none.
        photographs = cell.source.startswith('if dataset.name == "cifar100"')
        if "mystnb" in cell.metadata and not photographs:
            assert any("image/png" in output.data for output in outputs[cell.id]), cell.source
    if path.stem == "09_published_results":  # the stored trainings came along in the wheel
        shown = json.dumps([output for cell in outputs.values() for output in cell])
        stored = [path.parent.name for path in ROOT.glob("book/runs/*/metrics.json")]
        packed = zipfile.ZipFile(wheel).namelist()
        assert all(f"mixlib/stored_runs/{name}/metrics.json" in packed for name in stored)
        assert any(name in shown for name in stored)
