"""The rules of the house: who imports whom, what is documented, what is tested."""

import ast
import inspect
import pathlib
import re
import subprocess
import sys
import textwrap

import pytest

import mixlib

PACKAGE = pathlib.Path(mixlib.__file__).parent
TESTS = pathlib.Path(__file__).parent
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")
# A module imports only from those above it.
ORDER = [
    "checks", "layers", "data", "profiles", "patches", "augment", "positions", "blocks",
    "keras_example", "classifier", "costs", "presets", "recipes", "runs", "checkpoint",
    "distribution", "training", "convert", "browser", "plots",
]  # fmt: skip
PUBLIC_MODULES = ORDER[1:]

each_module = pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)


def imports_of(path):
    """Full names of what a file imports, wherever in the file: "mixlib.data", "keras.ops"."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def test_every_module_has_its_place():
    assert {room_of(path) for path in MODULES} == set(ORDER)


@each_module
def test_imports_only_from_above(path):
    for name in imports_of(path):
        if name.split(".")[0] == "mixlib":
            imported = name.split(".")[1]
            above = ORDER[: ORDER.index(room_of(path))]
            allowed = {*above, "blocks"} if room_of(path) == "blocks" else set(above)
            assert imported in allowed, f"{path.name} imports {name}"


@each_module
def test_no_backend_is_imported(path):
    backends = {"tensorflow", "tf", "jax", "jaxlib", "torch", "flax", "openvino"}
    imported = {name.split(".")[0] for name in imports_of(path)}
    # Keras can't compile a part of a model, and does not say which process this is.
    allowed = {"fused": {"tensorflow"}, "distribution": {"jax"}}
    assert backends & imported == allowed.get(path.stem, set())


@each_module
def test_has_its_own_test_file(path):
    relative = path.relative_to(PACKAGE)
    assert (TESTS / relative.parent / f"test_{path.stem}.py").is_file()


@each_module
def test_plotting_stays_in_plots(path):
    if path.stem != "plots":
        assert not any(name.startswith("matplotlib") for name in imports_of(path))
        nodes = ast.walk(ast.parse(path.read_text()))
        calls = [node for node in nodes if isinstance(node, ast.Call)]
        assert not any(getattr(call.func, "id", None) == "print" for call in calls)


def public_objects():
    for module_name in PUBLIC_MODULES:
        module = getattr(mixlib, module_name, None) or sys.modules[f"mixlib.{module_name}"]
        yield module.__name__, module
        for name, value in vars(module).items():
            own = getattr(value, "__module__", "").startswith(module.__name__)
            if not name.startswith("_") and callable(value) and own:
                yield f"{module_name}.{name}", value


PUBLIC = dict(public_objects())


@pytest.mark.parametrize("name", PUBLIC)
def test_is_documented(name):
    assert "." in (PUBLIC[name].__doc__ or ""), name


@pytest.mark.parametrize("name", [name for name in PUBLIC if name.count(".") == 1])
def test_every_parameter_is_documented(name):
    value = PUBLIC[name]
    if inspect.ismodule(value) or (inspect.isclass(value) and issubclass(value, Exception)):
        return
    parameters = [
        parameter
        for parameter in inspect.signature(value).parameters.values()
        if parameter.name not in ("self", "kwargs", "args")
    ]
    doc = inspect.getdoc(value)
    for parameter in parameters:
        entry = rf"^([\w*]+, )*\**{parameter.name}(, [\w*]+)*( :.*)?$"
        assert re.search(entry, doc, re.MULTILINE), f"{name}: {parameter.name} is not documented"
    if inspect.isfunction(value) and parameters:
        assert "Parameters\n" in doc


def test_every_name_at_the_top_exists_and_is_sorted():
    assert all(hasattr(mixlib, name) for name in mixlib.__all__)
    assert sorted(mixlib.__all__) == list(mixlib.__all__)


def test_training_needs_neither_matplotlib_nor_pandas(tmp_path):
    """A bare GPU host has neither. A module that is None in sys.modules can't be imported."""
    code = """
        import sys
        sys.modules["matplotlib"] = sys.modules["pandas"] = None
        import mixlib
        dataset = mixlib.data.load("shapes", 100, 10)
        model = mixlib.build_classifier([], patch_size=8, embedding_dim=4)
        mixlib.save_run(mixlib.run_experiment(model, dataset, epochs=1, verbose=0), sys.argv[1])
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "run")]
    subprocess.run(command, check=True, cwd=PACKAGE.parent)
    assert mixlib.load_run(tmp_path / "run").metrics["epochs"] == 1


def test_a_name_that_does_not_exist():
    with pytest.raises(AttributeError, match="has no attribute 'attention'"):
        mixlib.attention  # noqa: B018
