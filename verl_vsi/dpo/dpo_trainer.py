"""verl's SFT trainer with DPO's loss, two answers a row and a reference that is computed once, before training.

The reference's log-probabilities are kept on disk, so that a resumed run need not compute them, and knows whose they
are; parts of them too, so that a run that was cut while it computed them goes on.
"""

from __future__ import annotations

import hashlib
import json
import statistics
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from omegaconf import DictConfig, OmegaConf
from rich.progress import track
from safetensors import safe_open
from safetensors.torch import save as to_bytes
from torch.utils.data import DataLoader
from verl.trainer.sft_trainer import SFTTrainer
from verl.utils import tensordict_utils as tu

from verl_vsi.config.access import row_files
from verl_vsi.data_adapters.datasets.dpo import VsiDPODataset, flatten_pairs
from verl_vsi.data_adapters.files import write_bytes
from verl_vsi.dpo.loss import dpo_loss, sequence_log_probs


class DPOTrainer(SFTTrainer):
    """See `verl_vsi.dpo`.

    Raises:
        ValueError: the micro-batch size is odd, so that pairs would be torn, or dynamic (which reorders them).
    """

    def _build_engine(self) -> None:
        data = self.config.data
        if data.micro_batch_size_per_gpu % 2 or data.use_dynamic_bsz:
            raise ValueError(
                f"data.micro_batch_size_per_gpu={data.micro_batch_size_per_gpu}, data.use_dynamic_bsz="
                f"{data.use_dynamic_bsz}: DPO needs an even size (two answers a pair) and no dynamic batches"
            )
        super()._build_engine()
        loss = partial(dpo_loss, beta=self.config.vsi.dpo.beta, pairs=data.train_batch_size)
        self.training_client.set_loss_fn(loss_fn=loss)
        self.training_client: Any = _MeanMetrics(self.training_client)

    def _build_dataloader(self) -> None:
        super()._build_dataloader()
        collate = self.collate_fn
        self.collate_fn = lambda batch: collate(list(flatten_pairs(batch)))
        for loader in (self.train_dataloader, self.val_dataloader):
            if loader is not None:
                loader.collate_fn = self.collate_fn

    def _build_ckpt_handler(self) -> None:
        # The weights are the reference's now: fresh, and not yet those of a checkpoint.
        datasets: Any = (("train", self.train_dataset), ("val", self.val_dataset))
        for name, dataset in datasets:
            if dataset is not None:
                dataset.reference = self._reference(name, dataset)
        super()._build_ckpt_handler()

    def _reference(self, name: str, dataset: VsiDPODataset) -> torch.Tensor:
        """(rows, 2) float32, from disk where it is there."""
        path = Path(self.config.trainer.default_local_dir) / "reference" / f"{name}.safetensors"
        identity = reference_identity(self.config, len(dataset))
        log_probs = load_reference(path, identity)
        if log_probs is None:
            log_probs = self._compute_reference(path, identity, dataset)
            if self.rank == 0:
                save_reference(path, log_probs, identity)
        return log_probs

    def _compute_reference(self, path: Path, identity: str, dataset: VsiDPODataset) -> torch.Tensor:
        """(rows, 2) float32: each data-parallel rank computes its rows, and all get all."""
        rank, size = self.engine.get_data_parallel_rank(), self.engine.get_data_parallel_size()
        pairs, last = self.config.data.micro_batch_size_per_gpu // 2, len(dataset) - 1
        # every rank makes the same number of passes, because FSDP's ranks pass together: the last rows come twice
        starts = range(rank * pairs, len(dataset) + rank * pairs, pairs * size)
        batches = [[min(start + i, last) for i in range(pairs)] for start in starts]
        part = path.with_suffix(f".{rank}of{size}.safetensors")
        done, log_probs = load_part(part, identity, len(dataset))
        done = min(self._of_all_ranks(done))
        loader = DataLoader(
            dataset,  # pyright: ignore[reportArgumentType]
            batch_sampler=batches[done:],
            collate_fn=self.collate_fn,
            num_workers=self.config.data.num_workers,
        )
        shown = track(loader, f"reference, {path.stem}", total=len(batches) - done, disable=self.rank != 0)
        for number, batch in enumerate(shown, done + 1):
            log_probs[batches[number - 1]] = self._log_probs(batch)
            if number % BATCHES_A_SAVE == 0:
                save_reference(part, log_probs, identity, batches=number)
        parts = torch.stack(self._of_all_ranks(log_probs))
        part.unlink(missing_ok=True)
        return torch.where(parts != 0, parts, -torch.inf).amax(0)

    def _of_all_ranks(self, value: Any) -> list[Any]:
        size = self.engine.get_data_parallel_size()
        if size == 1:
            return [value]
        values: list[Any] = [None] * size
        dist.all_gather_object(values, value, group=self.engine.get_data_parallel_group())
        return values

    def _log_probs(self, batch: dict[str, Any]) -> torch.Tensor:
        """(pairs, 2) on the CPU, of a collated batch."""
        data = tu.get_tensordict(tensor_dict=batch, non_tensor_dict=self._pass_settings())
        output = self.training_client.infer_batch(data)
        return sequence_log_probs(output["log_probs"].cpu(), batch["loss_mask"]).view(-1, 2)

    def _pass_settings(self) -> dict[str, Any]:
        """What `SFTTrainer.fit` tells the engine about a batch, and that no loss is wanted."""
        data = self.config.data
        return {
            "use_remove_padding": self.config.model.use_remove_padding,
            "use_dynamic_bsz": False,
            "max_token_len_per_gpu": data.max_token_len_per_gpu,
            "micro_batch_size_per_gpu": data.micro_batch_size_per_gpu,
            "temperature": 1.0,
            "pad_mode": data.pad_mode,
            "pad_token_id": self.model_config.tokenizer.pad_token_id,
            "compute_loss": False,
        }


def reference_identity(config: DictConfig, rows: int) -> str:
    """A digest of all that the reference's numbers depend on: model, rows, prompts, frames, wrong answers.

    Args:
        config: of the run.
        rows: of the data set.
    """
    vsi = {key: OmegaConf.to_container(config.vsi[key], resolve=True) for key in ("mode", "frames")}
    files = [row_files(config, key) for key in ("train_files", "val_files")]
    parts = [str(config.vsi.model), config.vsi.seed, vsi, files, rows]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


BATCHES_A_SAVE = 100
"""Of the reference's log-probabilities: a run that is cut computes at most these anew."""


def save_reference(path: Path, log_probs: torch.Tensor, identity: str, batches: int | None = None) -> None:
    """Write the reference's log-probabilities whole, or not at all.

    Args:
        path: of a safetensors file.
        log_probs: (rows, 2) float32; zeros where they are not computed yet.
        identity: whose they are.
        batches: how many are computed, of one rank's; None for all.
    """
    metadata = {"identity": identity} | ({} if batches is None else {"batches": str(batches)})
    write_bytes(path, to_bytes({"log_probs": log_probs.contiguous()}, metadata=metadata))


def load_part(path: Path, identity: str, rows: int) -> tuple[int, torch.Tensor]:
    """What a rank had computed when it was cut: how many batches, and (rows, 2); none and zeros at first.

    Args:
        path: of the rank's file.
        identity: whose log-probabilities are looked for.
        rows: of the data set.
    """
    log_probs = load_reference(path, identity)
    if log_probs is None:
        return 0, torch.zeros(rows, 2)
    with safe_open(str(path), "pt") as file:
        return int(file.metadata()["batches"]), log_probs


def load_reference(path: Path, identity: str) -> torch.Tensor | None:
    """What was saved for this identity, (rows, 2); None where nothing was, or for another.

    Args:
        path: of a safetensors file.
        identity: whose log-probabilities are looked for.
    """
    if not path.is_file():
        return None
    with safe_open(str(path), "pt") as file:
        return file.get_tensor("log_probs") if (file.metadata() or {}).get("identity") == identity else None


class _MeanMetrics:
    """verl's training client, whose DPO metrics are one number each.

    verl hands on a loss's metrics as one number a micro-batch (and rank), and its loggers want one number.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def train_batch(self, data: Any) -> Any:
        """As the client's."""
        output = self._client.train_batch(data=data)
        metrics: dict[str, Any] = tu.get(output, "metrics") if output is not None else {}
        for name in [name for name in metrics if name.startswith("dpo/")]:
            metrics[name] = statistics.fmean(_numbers(metrics[name]))
        return output


def _numbers(values: Any) -> list[float]:
    return [n for value in values for n in _numbers(value)] if isinstance(values, list) else [values]
