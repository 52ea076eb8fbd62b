"""verl's own checkpoint manager and merger on a LoRA run's model: what is served is what was trained."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import urllib.request
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from verl_vsi.evaluation.ask.checkpoints import LORA_MARK, CheckpointError, as_served, find_shards, identity
from verl_vsi.evaluation.ask.export import export_model
from verl_vsi.evaluation.ask.merging import ADAPTER, MergeError
from verl_vsi.evaluation.ask.server import NAME, ServerSpec, serve

BASE = Path(str(files("verl_vsi.miniature"))) / "base"
QUIET = Console(file=io.StringIO())

LOAD = """
base, out = sys.argv[1:3]
torch.manual_seed(0)
model = AutoModelForImageTextToText.from_pretrained(base, dtype=torch.float32)
ids = torch.arange(20, 60)[None]
with torch.no_grad():
    torch.save(model(input_ids=ids).logits, out + "/base.pt")
"""
"""Of the scripts below: the base, and its logits in base.pt."""

TRAIN = (
    """
import os, sys
os.environ |= {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1"}
os.environ["MASTER_PORT"] = sys.argv[3]
import verl, torch
torch.distributed.init_process_group("cpu:gloo")
from omegaconf import OmegaConf
from peft import LoraConfig, get_peft_model
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from transformers import AutoModelForImageTextToText, AutoProcessor
from verl.utils.checkpoint.fsdp_checkpoint_manager import FSDPCheckpointManager
"""
    + LOAD
    + """where = {"target_modules": "all-linear", "exclude_modules": ".*visual.*", "task_type": "CAUSAL_LM"}
model = get_peft_model(model, LoraConfig(r=4, lora_alpha=16, **where))
for name, parameter in model.named_parameters():
    if "lora_B" in name:  # as after training: no longer zero
        torch.nn.init.normal_(parameter, std=0.05)
with torch.no_grad():
    torch.save(model(input_ids=ids).logits, out + "/trainer.pt")
fully_shard(model, mesh=init_device_mesh("cpu", (1,), mesh_dim_names=("fsdp",)))
optimizer = torch.optim.AdamW(model.parameters())
contents = OmegaConf.create({"save_contents": ["model", "extra"], "load_contents": ["model", "extra"]})
processor = AutoProcessor.from_pretrained(base)
manager = FSDPCheckpointManager(model, optimizer, None, processor, contents)
manager.save_checkpoint(out + "/run/global_step_3/actor", global_step=3)
open(out + "/run/latest_checkpointed_iteration.txt", "w").write("3")
"""
)

LOGITS = """
import sys
from verl_vsi import cpu
cpu.prepare()
import torch
from transformers import AutoModelForImageTextToText
ids = torch.arange(20, 60)[None]
models = [AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32) for folder in sys.argv[2:]]
logits = [model(input_ids=ids).logits for model in models]
trainer, base = (torch.load(f"{sys.argv[1]}/{name}.pt") for name in ("trainer", "base"))
print(*[float((saved - other).detach().abs().max()) for other in logits for saved in (trainer, base)])
"""

EXPECTED = """
import json, sys, torch
ids = torch.arange(20, 60)
logits = [torch.load(f"{sys.argv[1]}/{name}.pt")[0].float() for name in ("trainer", "base")]
print(json.dumps([l[:-1].log_softmax(-1).gather(1, ids[1:, None])[:, 0].tolist() for l in logits]))
"""


def python(code: str, *arguments: str) -> str:
    process = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=200)
    assert process.returncode == 0, process.stderr[-3000:]
    return process.stdout


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that trained an adapter; trainer.pt and base.pt lie beside it."""
    for needed in ("verl", "peft", "transformers"):
        pytest.importorskip(needed)
    import socket

    folder = tmp_path_factory.mktemp("lora")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = str(s.getsockname()[1])
    python(TRAIN, str(BASE), str(folder), port)
    return folder / "run"


@pytest.mark.e2e
def test_a_lora_checkpoint_is_served_as_trained_and_not_as_the_base(run: Path) -> None:
    folded = as_served(str(run), lora="fold", console=QUIET)
    merged = run / "global_step_3" / "actor_merged"
    distances = python(LOGITS, str(run.parent), folded.model, str(merged))
    folded_to_trainer, folded_to_base, merged_to_trainer, merged_to_base = map(float, distances.split())
    assert folded_to_trainer < 1e-4  # float32 arithmetic in another order
    assert folded_to_base > 0.1
    assert merged_to_base == 0.0  # why the merger alone is not enough
    assert merged_to_trainer > 0.1
    assert not folded.adapters

    served = as_served(str(run), lora="serve", console=QUIET)  # merged once, found again
    assert served.model == str(merged)
    assert served.adapters == {"lora": str(merged / ADAPTER)}
    assert (Path(folded.model) / "chat_template.jinja").exists()


@pytest.mark.e2e
def test_a_lora_checkpoint_is_exported_as_trained(run: Path, tmp_path: Path) -> None:
    out = export_model(run, tmp_path / "out", "as trained", QUIET)
    to_trainer, to_base = map(float, python(LOGITS, str(run.parent), str(out)).split())
    assert to_trainer < 1e-4
    assert to_base > 0.1


@pytest.mark.e2e
@pytest.mark.timeout(900)
@pytest.mark.parametrize("lora", ["fold", "serve"])
def test_the_servers_logits_are_the_trainers_and_not_the_bases(run: Path, tmp_path: Path, lora: str) -> None:
    pytest.importorskip("vllm")
    trainer, base = np.array(json.loads(python(EXPECTED, str(run.parent))))
    served = as_served(str(run), lora=lora, console=QUIET)
    with serve(ServerSpec(served.model, 128, served.adapters), tmp_path / "server.log") as url:
        served_logprobs = np.array(prompt_logprobs(url, next(iter(served.adapters), NAME)))
    assert np.abs(served_logprobs - trainer).max() < 1e-3
    assert np.abs(served_logprobs - base).max() > 0.1


def prompt_logprobs(url: str, model: str) -> list[float]:
    """(39,) of each token of 20..59 after those before it, as vLLM computes them."""
    body = {"model": model, "prompt": [*range(20, 60)], "max_tokens": 1, "temperature": 0, "prompt_logprobs": 0}
    request = urllib.request.Request(
        f"{url}/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        logprobs = json.load(answer)["choices"][0]["prompt_logprobs"]
    return [logprobs[i][str(token)]["logprob"] for i, token in enumerate(range(20, 60)) if i]


@pytest.mark.parametrize(("rank", "room"), [(1, 1), (4, 8), (64, 64), (65, 128)])
def test_vllm_is_given_room_for_the_adapters_rank(tmp_path: Path, rank: int, room: int) -> None:
    """Its default is 16; the recipes train 64."""
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": rank}))
    command = ServerSpec("m", adapters={"lora": str(tmp_path)}).command(1)
    assert command[command.index("--max-lora-rank") + 1] == str(room)


@pytest.mark.e2e
def test_a_checkpoint_saved_anew_is_merged_anew(run: Path) -> None:
    first = Path(as_served(str(run), lora="fold", console=QUIET).model)
    stamp = (first / "config.json").stat().st_mtime_ns
    assert Path(as_served(str(run), lora="fold", console=QUIET).model) == first
    assert (first / "config.json").stat().st_mtime_ns == stamp
    (run / "global_step_3" / "actor" / "model_world_size_1_rank_0.pt").touch()
    as_served(str(run), lora="fold", console=QUIET)
    assert (first / "config.json").stat().st_mtime_ns > stamp


def test_a_whole_model_in_the_checkpoint_is_taken_without_unpickling(tmp_path: Path) -> None:
    shards = tmp_path / "global_step_5" / "actor"
    (shards / "huggingface").mkdir(parents=True)
    (shards / "fsdp_config.json").write_text("{}")
    (shards / "huggingface" / "model.safetensors").write_bytes(b"x")
    (tmp_path / "latest_checkpointed_iteration.txt").write_text("5")
    assert as_served(str(tmp_path), lora="fold", console=QUIET).model == str(shards / "huggingface")


MEGATRON_LORA = (
    """
import json, sys, verl, torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText, AutoProcessor
from verl.utils import megatron_utils as layout
"""
    + LOAD
    + """modules = [letter + "_proj" for letter in "qkvo"] + ["gate_proj", "up_proj", "down_proj"]
model = get_peft_model(model, LoraConfig(r=4, lora_alpha=16, target_modules=modules, task_type="CAUSAL_LM"))
for name, parameter in model.named_parameters():
    if "lora_B" in name:
        torch.nn.init.normal_(parameter, std=0.05)
with torch.no_grad():
    torch.save(model(input_ids=ids).logits, out + "/trainer.pt")
# as verl's MegatronCheckpointManager lays it out, and Megatron-Bridge's save_hf_adapter names it
actor = out + "/run/global_step_3/actor"
huggingface = layout.get_hf_model_checkpoint_path(actor)
layout.get_model_dist_checkpoint_path(actor), layout.get_optimizer_dist_checkpoint_path(actor)
open(layout.get_checkpoint_contents_manifest_path(actor), "w").write("{}")
AutoProcessor.from_pretrained(base).save_pretrained(huggingface)
model.base_model.model.config.save_pretrained(huggingface)
model.save_pretrained(huggingface + "/adapter")
weights = huggingface + "/adapter/adapter_model.safetensors"
save_file({k.replace("model.language_model.", "model."): v for k, v in load_file(weights).items()}, weights)
config = json.load(open(huggingface + "/adapter/adapter_config.json"))
json.dump(config | {"base_model_name_or_path": base}, open(huggingface + "/adapter/adapter_config.json", "w"))
open(out + "/run/latest_checkpointed_iteration.txt", "w").write("3")
"""
)


@pytest.fixture(scope="module")
def megatron_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that trained an adapter on Megatron, laid out by verl's functions."""
    for needed in ("verl", "peft", "transformers", "megatron.core"):
        pytest.importorskip(needed)
    folder = tmp_path_factory.mktemp("megatron")
    python(MEGATRON_LORA, str(BASE), str(folder))
    return folder / "run"


@pytest.mark.e2e
def test_a_megatron_adapter_is_folded_into_the_base_that_it_names(megatron_run: Path) -> None:
    """Its keys are those of published checkpoints; PEFT alone places none of them in transformers 5, with a warning."""
    folded = as_served(str(megatron_run), lora="fold", console=QUIET)
    to_trainer, to_base = map(float, python(LOGITS, str(megatron_run.parent), folded.model).split())
    assert to_trainer < 1e-4
    assert to_base > 0.1
    assert (Path(folded.model) / "chat_template.jinja").exists()


@pytest.mark.e2e
@pytest.mark.parametrize("place", ["", "global_step_3", "global_step_3/actor", "global_step_3/actor/model"])
def test_a_megatron_adapter_is_served_beside_its_base(megatron_run: Path, place: str) -> None:
    served = as_served(str(megatron_run / place), lora="serve", console=QUIET)
    adapter = megatron_run / "global_step_3" / "actor" / "model" / "huggingface" / "adapter"
    assert (served.model, served.adapters) == (str(BASE), {"lora": str(adapter)})
    assert identity(str(megatron_run / place), "fold")["adapter"] == "fold"


@pytest.mark.e2e
def test_an_adapter_that_fits_its_base_nowhere_is_refused(megatron_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(megatron_run, tmp_path / "run"))
    adapter = run / "global_step_3/actor/model/huggingface/adapter"
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps({**config, "target_modules": ["q_proj"]}))
    shutil.rmtree(run / "global_step_3/actor/model_folded", ignore_errors=True)
    with pytest.raises(MergeError, match="have no place in the model"):
        as_served(str(run), lora="fold", console=QUIET)


@pytest.mark.parametrize("place", ["", "global_step_3", "global_step_3/actor"])
def test_a_whole_megatron_model_is_taken_as_it_is(tmp_path: Path, place: str) -> None:
    """Full tuning: Megatron-Bridge writes the weights; the optimizer's shards lie beside and are no part of it."""
    megatron_utils = pytest.importorskip("verl.utils.megatron_utils")
    actor = tmp_path / "global_step_3" / "actor"
    whole = Path(megatron_utils.get_hf_model_checkpoint_path(str(actor)))
    (whole / "model.safetensors").write_bytes(b"x")
    (whole / "config.json").write_text("{}")
    optimizer = Path(megatron_utils.get_optimizer_dist_checkpoint_path(str(actor))) / "__0_0.distcp"
    optimizer.write_bytes(b"1")
    (tmp_path / "latest_checkpointed_iteration.txt").write_text("3")
    assert as_served(str(tmp_path / place), lora="fold", console=QUIET).model == str(whole)
    before = identity(str(tmp_path / place), "fold")
    assert before["step"] == "global_step_3"
    optimizer.write_bytes(b"2")
    assert identity(str(tmp_path / place), "fold") == before


def test_megatrons_shards_alone_are_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "actor" / "model" / "dist_ckpt").mkdir(parents=True)
    with pytest.raises(CheckpointError, match="hf_model"):
        as_served(str(tmp_path), lora="fold", console=QUIET)


@pytest.mark.parametrize("base", ["", "/gone/Qwen2-VL-7B-Instruct"])
def test_an_adapter_whose_base_is_not_here_is_refused(tmp_path: Path, base: str) -> None:
    adapter = tmp_path / "model" / "huggingface" / "adapter"
    adapter.mkdir(parents=True)
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": base, "lora_alpha": 16}))
    with pytest.raises(CheckpointError, match="base_model_name_or_path"):
        as_served(str(tmp_path), lora="fold", console=QUIET)


@pytest.mark.parametrize("place", ["", "actor", "model"])
def test_shards_are_found_where_verls_trainers_put_them(tmp_path: Path, place: str) -> None:
    shards = tmp_path / place
    shards.mkdir(exist_ok=True)
    (shards / "fsdp_config.json").write_text("{}")
    assert find_shards(tmp_path) == shards


def test_weights_of_another_step_are_told_apart(tmp_path: Path) -> None:
    """A run that was trained on must not be given the answers of its earlier checkpoint."""
    marks = []
    for step, weights in ((5, b"a" * 10), (9, b"b" * 10)):
        whole = tmp_path / f"global_step_{step}" / "actor" / "huggingface"
        whole.mkdir(parents=True)
        (whole.parent / "fsdp_config.json").write_text("{}")
        (whole / "model.safetensors").write_bytes(weights)
        (tmp_path / "latest_checkpointed_iteration.txt").write_text(str(step))
        marks.append(identity(str(tmp_path), "fold"))
    assert [m["step"] for m in marks] == ["global_step_5", "global_step_9"]
    assert marks[0]["sha256"] != marks[1]["sha256"]
    assert identity(str(tmp_path / "global_step_5"), "fold") == marks[0]
    (tmp_path / "global_step_5" / "actor" / LORA_MARK).touch()
    assert identity(str(tmp_path / "global_step_5"), "serve")["adapter"] == "serve"
    assert identity("Qwen/Qwen2-VL-2B-Instruct", "fold") == {}


def test_model_folders_and_hub_names_are_left_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert as_served(str(tmp_path), lora="fold", console=QUIET).model == str(tmp_path)
    assert as_served("Qwen/Qwen2-VL-2B-Instruct", lora="fold", console=QUIET).model == "Qwen/Qwen2-VL-2B-Instruct"


def test_a_folder_that_is_neither_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="neither a model folder"):
        as_served(str(tmp_path), lora="fold", console=QUIET)


@pytest.mark.parametrize("path", ["/no/such/folder", "./none", "outputs/a/b"])
def test_a_path_that_leads_nowhere_is_not_looked_up_on_the_hub(path: str) -> None:
    with pytest.raises(CheckpointError, match="no such folder"):
        as_served(path, lora="fold", console=QUIET)


@pytest.mark.parametrize("lora", ["fold", "serve"])
def test_an_adapter_of_unknown_scale_is_refused(tmp_path: Path, lora: str) -> None:
    """verl's merger writes lora_alpha 0 where lora_train_meta.json is missing: the adapter would change nothing."""
    adapter = tmp_path / "model" / "huggingface" / "adapter"
    adapter.mkdir(parents=True)
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(BASE), "lora_alpha": 0}))
    with pytest.raises(CheckpointError, match="lora_alpha is 0"):
        as_served(str(tmp_path), lora=lora, console=QUIET)


class Touch:
    """Unpickled, it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


@pytest.mark.e2e
def test_a_shard_that_would_run_code_is_refused(tmp_path: Path) -> None:
    """Somebody else's checkpoint: verl's merger alone would unpickle whatever it holds."""
    import torch

    actor, written = tmp_path / "global_step_3" / "actor", tmp_path / "written"
    shutil.copytree(BASE, actor / "huggingface", ignore=shutil.ignore_patterns("*.safetensors"))
    (actor / "fsdp_config.json").write_text(json.dumps({"world_size": 1, "FSDP_version": 2}))
    torch.save({"weight": Touch(written)}, actor / "model_world_size_1_rank_0.pt")
    with pytest.raises(MergeError, match=r"Weights only load failed|weights_only"):
        as_served(str(tmp_path / "global_step_3"), lora="fold", console=QUIET)
    assert not written.exists()
