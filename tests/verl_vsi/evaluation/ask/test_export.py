"""A checkpoint as a model folder of its own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from verl_vsi.commands.export import app
from verl_vsi.evaluation.ask.checkpoints import CheckpointError
from verl_vsi.evaluation.ask.export import export_model
from verl_vsi.miniature.demo import base_folder

QUIET = Console(quiet=True)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run's folder; its checkpoint holds the weights whole, beside what else the trainer writes."""
    actor = tmp_path / "run" / "global_step_3" / "actor"
    shutil.copytree(base_folder(), actor / "huggingface")
    (actor / "fsdp_config.json").write_text("{}")
    (actor / "huggingface" / "extra.pt").write_bytes(b"a pickle")
    (tmp_path / "run" / "latest_checkpointed_iteration.txt").write_text("3")
    return tmp_path / "run"


def dtypes(folder: Path) -> set[str]:
    return {str(t.dtype) for file in folder.glob("*.safetensors") for t in load_file(file).values()}


@pytest.mark.parametrize("place", ["", "global_step_3", "global_step_3/actor"])
def test_it_is_the_model_with_its_processor_and_nothing_of_the_trainer(run: Path, tmp_path: Path, place: str) -> None:
    out = export_model(run / place, tmp_path / "models" / "mine", "as trained", QUIET)
    names = {file.name for file in out.iterdir()}
    assert names == {file.name for file in base_folder().iterdir() if not file.name.startswith(".")}
    exported, trained = (load_file(folder / "model.safetensors") for folder in (out, base_folder()))
    assert exported.keys() == trained.keys()
    assert all(torch.equal(exported[key], trained[key]) for key in trained)


@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
def test_weights_and_configuration_have_the_precision_that_was_asked_for(
    run: Path, tmp_path: Path, precision: str
) -> None:
    words = [str(run), str(tmp_path / "out"), "--precision", precision]
    assert CliRunner().invoke(app, words).exit_code == 0
    assert dtypes(tmp_path / "out") == {f"torch.{precision}"}
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert {config[key] for key in ("dtype", "torch_dtype") if key in config} == {precision}


def test_the_configuration_names_the_weights_own_precision(run: Path, tmp_path: Path) -> None:
    """verl writes float32 weights beside a configuration that says bfloat16."""
    place = run / "global_step_3" / "actor" / "huggingface"
    config = json.loads((place / "config.json").read_text())
    (place / "config.json").write_text(json.dumps({**config, "torch_dtype": "float16", "dtype": "float16"}))
    out = export_model(run, tmp_path / "out", "as trained", QUIET)
    kinds = {kind.removeprefix("torch.") for kind in dtypes(out)}
    written = json.loads((out / "config.json").read_text())
    assert {written["dtype"], written["torch_dtype"]} == kinds


def test_an_index_of_several_files_tells_their_bytes(run: Path, tmp_path: Path) -> None:
    place = run / "global_step_3" / "actor" / "huggingface"
    tensors = load_file(place / "model.safetensors")
    names = sorted(tensors)
    parts = {"model-1.safetensors": names[::2], "model-2.safetensors": names[1::2]}
    (place / "model.safetensors").unlink()
    for file, keys in parts.items():
        save_file({key: tensors[key].clone() for key in keys}, place / file, {"format": "pt"})
    weight_map = {key: file for file, keys in parts.items() for key in keys}
    index = {"metadata": {"total_size": 1, "by": "verl"}, "weight_map": weight_map}
    (place / "model.safetensors.index.json").write_text(json.dumps(index))
    out = export_model(run, tmp_path / "out", "float32", QUIET)
    written = json.loads((out / "model.safetensors.index.json").read_text())
    assert written["metadata"] == {"total_size": sum(4 * t.numel() for t in tensors.values()), "by": "verl"}
    assert written["weight_map"] == weight_map


def test_what_can_not_be_exported_is_refused_and_nothing_is_written(run: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such folder"):
        export_model(tmp_path / "nowhere", tmp_path / "out", "as trained", QUIET)
    with pytest.raises(CheckpointError, match="nothing is to be merged"):
        export_model(base_folder(), tmp_path / "out", "as trained", QUIET)
    with pytest.raises(FileExistsError, match="name a new folder"):
        export_model(run, run, "as trained", QUIET)
    (run / "global_step_3" / "actor" / "huggingface" / "model.safetensors").write_bytes(b"cut")
    assert CliRunner().invoke(app, [str(run), str(tmp_path / "out")]).exit_code != 0
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
