"""Which model families are tested in which way, as a table for the docs: every cell is a test.

python -m vsi_support.support_table     # writes the table into docs/models.md
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

from vsi_support.page_tables import PageTable

ROOT = Path(__file__).parents[3]
TABLE = PageTable("models.md", "support table")

TITLES = {"qwen2_vl": "Qwen2-VL", "qwen2_5_vl": "Qwen2.5-VL", "qwen3_vl": "Qwen3-VL", "qwen3_5": "Qwen3.5"}
ALL = tuple(TITLES)


@dataclass(frozen=True)
class Proof:
    """A test, and the families that it runs over."""

    test: str
    """File::function, from the repository's root."""
    families: tuple[str, ...]

    @property
    def exists(self) -> bool:
        """Whether there is such a test."""
        file, name = self.test.split("::")
        path = ROOT / file
        return path.is_file() and name in {
            node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)
        }


SERVED = tuple(family for family in ALL if family != "qwen3_5")
"""Those that vLLM's CPU build serves."""

_SHARING = "tests/verl_vsi/sharing/test_equality.py"
_RUNS, _SUPERVISED = "tests/recipes/test_model_families.py", "tests/recipes/test_supervised_families.py"
WAYS: dict[str, Proof] = {
    "positions": Proof("tests/data_adapters/test_positions.py::test_everybody_sees_vllms_positions", ALL),
    "SFT and DPO rows": Proof(
        "tests/data_adapters/datasets/test_families.py::test_sft_and_dpo_show_what_the_rollout_shows", ALL
    ),
    "a run of `main_ppo` on FSDP2": Proof(f"{_RUNS}::test_rollout_and_actor_agree", SERVED),
    "a run of `main_ppo` with LoRA": Proof(f"{_RUNS}::test_rollout_and_actor_agree_with_lora", SERVED),
    "a run of SFT": Proof(f"{_SUPERVISED}::test_sft_trains_what_an_evaluation_asks", ALL),
    "a run of DPO": Proof(f"{_SUPERVISED}::test_dpo_parts_right_from_wrong_answers", ALL),
    "evaluation": Proof(f"{_SUPERVISED}::test_sft_trains_what_an_evaluation_asks", SERVED),
    "shared passes": Proof(f"{_SHARING}::test_a_batch_gives_upstreams_numbers", ALL),
    "shared passes with LoRA": Proof(f"{_SHARING}::test_lora", ALL),
    "Megatron": Proof("tests/verl_vsi/megatron/test_qwen2_vl.py::test_logits_are_transformers", ("qwen2_vl",)),
    "shared passes, Megatron": Proof(
        "tests/verl_vsi/megatron/test_shared_engine.py::test_megatron_gives_fsdps_numbers", ("qwen2_vl", "qwen2_5_vl")
    ),
}
"""Row -> what proves it."""


def markdown() -> str:
    """The table: "tested" where a test runs over the family."""
    lines = [f"| | {' | '.join(TITLES.values())} | test |", "|---" * (len(TITLES) + 2) + "|"]
    for way, proof in WAYS.items():
        cells = ["tested" if family in proof.families else "" for family in TITLES]
        lines.append(f"| {way} | {' | '.join(cells)} | `{proof.test.removeprefix('tests/')}` |")
    return "\n".join(lines)


if __name__ == "__main__":
    TABLE.write(markdown())
