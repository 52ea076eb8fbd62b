"""The built wheel, used from a folder that is not the checkout."""

import os
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
LEFT_ALONE = ("torch", "vllm", "transformers", "megatron", "verl")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(REPOSITORY)]
    subprocess.run(command, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    site = tmp_path_factory.mktemp("site")
    zipfile.ZipFile(wheel).extractall(site)
    return site


def run(installed: Path, folder: Path, *command: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_no_generic_name_lands_in_site_packages(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"verl_vsi"}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("verl_vsi/rewards/vsgrpo.py", id="what verl calls"),
        pytest.param("verl_vsi/recipes/recipe/vsgrpo_7b.yaml", id="recipes"),
        pytest.param("verl_vsi/recipes/scripts/run_vsgrpo_7b.sh", id="scripts"),
        pytest.param("verl_vsi/data_adapters/datasets/rl.py", id="the dataset class"),
        pytest.param("verl_vsi/miniature/base/model.safetensors", id="the miniature's base"),
        pytest.param("verl_vsi/py.typed", id="types"),
    ],
)
def test_the_wheel_holds(wheel: Path, name: str) -> None:
    assert name in zipfile.ZipFile(wheel).namelist()


def test_the_base_package_leaves_the_users_stack_alone(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    metadata = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    requires = Parser().parsestr(archive.read(metadata).decode()).get_all("Requires-Dist") or []
    base = [line for line in requires if "extra ==" not in line]
    assert base
    assert not [line for line in base if line.lower().startswith(LEFT_ALONE)]


def test_the_installed_package_is_the_wheels(installed: Path, tmp_path: Path) -> None:
    found = run(installed, tmp_path, "-c", "import verl_vsi.rewards.vsgrpo as m; print(m.__file__)")
    assert Path(found.strip()).is_relative_to(installed)


def test_a_recipe_composes_from_the_wheel_in_a_foreign_folder(installed: Path, tmp_path: Path) -> None:
    job = run(installed, tmp_path, "-m", "verl.trainer.main_ppo", "+recipe=vsgrpo_miniature", "--cfg", "job")
    assert "use_kl_loss: true" in job
