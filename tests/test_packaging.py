"""The wheel holds all that lmroute needs, and works from any folder without the checkout."""

import json
import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow

COMPOSES = """
import json, lmroute
from lmroute import validate
from lmroute.config.paths import shipped
stack = validate.load(["provider=[lmstudio,openai]", "routing=cloud_first", "task=extract"])
print(json.dumps({
    "package": lmroute.__file__,
    "conf": str(shipped("conf")),
    "providers": list(stack.providers),
    "data": (shipped("examples/data") / "extract.csv").is_file(),
}))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def below(folder: str) -> set[str]:
    return {path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob("*") if path.is_file()}


def test_the_wheel_holds_code_conf_schemas_and_example_data(wheel: Path) -> None:
    names = set(ZipFile(wheel).namelist())
    wanted = {f"lmroute/{name}" for folder in ("conf", "schemas", "examples/data") for name in below(folder)}
    wanted |= {name for name in below("lmroute") if name.endswith(".py")} | below("lmroute/scaffold/project")
    wanted |= below("lmroute/validate/examples")
    assert wanted <= names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/")) or "__pycache__" in name]


def test_the_wheel_composes_from_the_root_folder(wheel: Path, tmp_path: Path) -> None:
    installed = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(installed), str(wheel)]
    subprocess.run(pip, check=True, capture_output=True)
    # Before site-packages on the path, so the installed copy wins over a checkout that is installed as editable.
    env = {**os.environ, "PYTHONPATH": str(installed), "LMROUTE_CONFIG_HOME": str(tmp_path / "none")}
    shown = subprocess.run(
        [sys.executable, "-c", COMPOSES], cwd=Path("/"), env=env, check=True, capture_output=True, text=True
    )
    found = json.loads(shown.stdout)
    assert Path(found["package"]).is_relative_to(installed)
    assert Path(found["conf"]).is_relative_to(installed)
    assert found["providers"] == ["lmstudio", "openai"]
    assert found["data"]
