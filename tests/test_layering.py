"""Who may import whom, and what no file of the pack may contain.

Rooms: web and headless -> nodes -> presets -> solver_search. Only nodes/comfy_bridge touches
ComfyUI's Python API; the other nodes know comfy_api, ComfyUI's public interface for nodes.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .pack import load

ROOT = Path(__file__).resolve().parents[1]
# Each may import itself and those before it.
ROOMS = ("solver_search", "presets", "nodes", "headless")
PYTHON = sorted(p for room in ROOMS for p in (ROOT / room).rglob("*.py"))
PACK = [ROOT / "__init__.py", *PYTHON]
THIRD_PARTY = {
    "solver_search": {"torch", "numpy", "einops", "scipy"},
    "presets": {"numpy", "torch"},
    "nodes": {"torch", "numpy", "PIL", "comfy_api"},
    "nodes/comfy_bridge": {"torch", "comfy", "comfy_extras", "comfy_execution", "folder_paths",
                           "latent_preview", "server", "aiohttp", "psutil"},
    "headless": {"torch", "tqdm", "submitit", "cloudpickle"},
}
COMFY = {"comfy", "comfy_api", "comfy_extras", "comfy_execution", "execution", "folder_paths",
         "latent_preview", "server"}
FORBIDDEN_NAMES = {"eval", "exec", "compile", "print", "input", "breakpoint", "__import__",
                   "globals", "setattr", "delattr"}
FORBIDDEN_MODULES = {"pickle", "marshal", "shelve", "dill", "joblib", "subprocess", "ctypes",
                     "importlib", "runpy", "socket", "urllib", "http", "requests", "threading",
                     "multiprocessing", "tempfile", "random"}
FORBIDDEN_CALLS = {"torch.load", "torch.save", "torch.seed", "os.system", "os.popen",
                   "numpy.load", "np.load", "os.environ"}
# The command starts ComfyUI, other processes of itself, and nothing in ComfyUI's server.
ONLY_HEADLESS = {"subprocess", "importlib", "os.environ"}
# It looks at this process's memory while a model call runs, and ends with it.
WATCH = {"nodes/comfy_bridge/memory.py": {"threading"}}
HOST_PATH = re.compile(r"(?<![\w.])/(?:tmp|work|root|home|Users|mnt|opt|var)/|[A-Z]:\\+[a-z]")
TEXT = {".py", ".js", ".json", ".md", ".toml", ".txt"}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def room_of(path: Path) -> str:
    name = name_of(path)
    return "nodes/comfy_bridge" if name.startswith("nodes/comfy_bridge/") else name.split("/")[0]


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def absolute_imports(path: Path) -> Iterator[str]:
    """Top-level packages imported by absolute name."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.split(".")[0]


def relative_imports(path: Path) -> Iterator[str]:
    """Modules of the pack imported by relative name, from the root, such as presets.store."""
    package = path.relative_to(ROOT).parts[:-1]
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            yield ".".join([*base, *([node.module] if node.module else [])])


def test_there_is_something_to_look_at() -> None:
    assert len(PYTHON) > 25
    assert {room_of(p) for p in PYTHON} == set(THIRD_PARTY)
    assert "torch" in set(absolute_imports(ROOT / "solver_search" / "sample.py"))
    assert "presets.store" in set(relative_imports(ROOT / "nodes" / "search.py"))


@pytest.mark.parametrize("path", PYTHON, ids=name_of)
def test_a_file_imports_only_what_its_room_may(path: Path) -> None:
    allowed = THIRD_PARTY[room_of(path)] | set(sys.stdlib_module_names)
    assert set(absolute_imports(path)) <= allowed
    top = path.relative_to(ROOT).parts[0]
    below = ROOMS[: ROOMS.index(top) + 1]
    assert {module.split(".")[0] for module in relative_imports(path)} <= set(below)


@pytest.mark.parametrize("path", PACK, ids=name_of)
def test_the_pack_never_imports_itself_by_an_absolute_name(path: Path) -> None:
    """ComfyUI has a module called nodes, too; and a pack's folder may have any name."""
    assert not set(absolute_imports(path)) & {*ROOMS, "demo", "launch", "benchmarks", "tests"}


def fresh_python(code: str) -> set[str]:
    """Names in sys.modules after running code in a new process at the repository's root."""
    ending = "\nimport sys\nprint('\\n'.join(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code + ending], cwd=ROOT, text=True, check=True,
                           capture_output=True, timeout=120)
    return set(found.stdout.split())


def dotted(*rooms: str) -> list[str]:
    paths = [p for p in PYTHON if p.relative_to(ROOT).parts[0] in rooms]
    parts = [p.relative_to(ROOT).with_suffix("").parts for p in paths]
    return [".".join(p[:-1] if p[-1] == "__init__" else p) for p in parts]


def test_the_engine_and_the_presets_come_without_comfyui() -> None:
    engine = dotted("solver_search")
    loaded = fresh_python("\n".join(f"import {module}" for module in engine))
    assert set(engine) <= loaded
    both = dotted("solver_search", "presets")
    code = "from tests.pack import load\n" + "\n".join(f"load({m!r})" for m in both)
    loaded |= fresh_python(code)
    assert {f"solver_search_pack.{m}" for m in both} <= loaded
    assert not {name.split(".")[0] for name in loaded} & (COMFY | {"PIL", "nodes", "aiohttp"})


@pytest.mark.parametrize("path", PACK, ids=name_of)
def test_nothing_runs_foreign_code_prints_or_reaches_out(path: Path) -> None:
    tree = tree_of(path)
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    name = name_of(path)
    allowed = ONLY_HEADLESS if name.startswith("headless/") else WATCH.get(name, set())
    assert not names & FORBIDDEN_NAMES
    assert not set(absolute_imports(path)) & (FORBIDDEN_MODULES - allowed)
    chains = {ast.unparse(n) for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
    assert not chains & (FORBIDDEN_CALLS - allowed)


@pytest.mark.parametrize("path", PACK, ids=name_of)
def test_the_process_random_numbers_are_left_alone(path: Path) -> None:
    """A seed may only be set where torch.random.fork_rng puts the old state back."""
    tree = tree_of(path)
    forked = [node for node in ast.walk(tree) if isinstance(node, ast.With)
              and any("fork_rng" in ast.unparse(item) for item in node.items)]
    guarded = sum(ast.unparse(node).count("manual_seed(") for node in forked)
    calls = [ast.unparse(n.func) for n in ast.walk(tree) if isinstance(n, ast.Call)]
    seeds = ("torch.manual_seed", "torch.cuda.manual_seed_all",
             "torch.default_generator.manual_seed")
    assert guarded == sum(calls.count(name) for name in seeds)


@pytest.mark.parametrize("path", PACK, ids=name_of)
def test_no_global_state_no_bare_except_no_assert(path: Path) -> None:
    for node in ast.walk(tree_of(path)):
        assert not isinstance(node, (ast.Global, ast.Nonlocal, ast.Assert)), node.lineno
        if isinstance(node, ast.ExceptHandler):
            caught = ast.unparse(node.type) if node.type else ""
            assert caught not in ("", "Exception", "BaseException"), node.lineno


@pytest.mark.parametrize("path", PACK, ids=name_of)
def test_importing_a_file_only_defines(path: Path) -> None:
    """At module level: imports, definitions, constants and docstrings."""
    allowed = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef,
               ast.Assign, ast.AnnAssign)
    body = tree_of(path).body
    if path.name == "__main__.py":
        assert ast.unparse(body.pop()).startswith("if __name__ == '__main__':")
    for node in body:
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        assert docstring or isinstance(node, allowed), f"line {node.lineno}"


@pytest.mark.parametrize("path", PYTHON, ids=name_of)
def test_the_engine_reads_no_files(path: Path) -> None:
    if room_of(path) != "solver_search":
        return
    names = {n.id for n in ast.walk(tree_of(path)) if isinstance(n, ast.Name)}
    assert not names & {"open", "Path"}
    assert not set(absolute_imports(path)) & {"pathlib", "os", "io", "json", "logging", "sys"}


@pytest.mark.parametrize("path", PACK, ids=name_of)
def test_files_and_functions_stay_readable(path: Path) -> None:
    text = path.read_text("utf-8")
    assert ast.get_docstring(ast.parse(text)), "a module's docstring is its idea"
    lines = text.splitlines()
    assert len(lines) <= 400
    assert max(map(len, lines)) <= 99
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno - node.lineno <= 45, node.name
            if not node.name.startswith("_") and node.col_offset in (0, 4):
                arguments = [a.arg for a in [*node.args.args, *node.args.kwonlyargs]]
                assert all(a.annotation for a in node.args.args if a.arg not in ("self", "cls")), (
                    f"{node.name}({', '.join(arguments)})")


def shipped_texts() -> list[Path]:
    """Every text file people get with the pack, wherever it lies."""
    rooms = [*ROOMS, "web", "docs", "example_workflows", "demo", "launch", "benchmarks", "tests"]
    below = [p for room in rooms for p in (ROOT / room).rglob("*")
             if not {"__pycache__", "node_modules"} & set(p.parts)]
    top = [p for p in ROOT.iterdir() if p.is_file()]
    return sorted(p for p in [*below, *top] if p.suffix in TEXT and p.is_file())


def test_no_file_names_a_folder_of_its_authors_machine() -> None:
    attacks = ("tests/test_presets", "tests/test_layering.py")  # name such folders on purpose
    texts = [p for p in shipped_texts() if not name_of(p).startswith(attacks)]
    assert len(texts) > 60
    found = [f"{name_of(p)}: {match.group()}" for p in texts
             for match in HOST_PATH.finditer(p.read_text("utf-8"))]
    assert found == []
    assert HOST_PATH.search('open("/home/me/model")')  # that the search can find one
    assert not HOST_PATH.search("docs/work/notes")


def test_no_shipped_preset_names_a_folder() -> None:
    files = [*(ROOT / "presets" / "library").glob("*.safetensors"),
             *(ROOT / "demo" / "presets").glob("*.safetensors")]
    assert len(files) >= 19
    read = load("presets.store").read
    for path in files:
        info = read(path).info
        assert not HOST_PATH.search(repr(info)), path.name


def test_there_is_one_version() -> None:
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    version, = re.findall(r'^version = "(.+)"$', project, re.MULTILINE)
    scope: dict[str, ast.expr] = {}
    for node in tree_of(ROOT / "nodes" / "version.py").body:
        if isinstance(node, ast.Assign):
            scope[ast.unparse(node.targets[0])] = node.value
    assert ast.literal_eval(scope["VERSION"]) == version
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_one_script_speaks_to_the_browsers_comfyui() -> None:
    """Everything else in web/js imports that one: a change of the frontend is met in one place."""
    speaking = [p.name for p in (ROOT / "web").rglob("*.js")
                if re.search(r"scripts/(app|api|ui)\.js|window\.(app|comfy)",
                             p.read_text("utf-8"))]
    assert speaking == ["comfy.js"]
