"""Which way the arrows point, and that no second copy of a room is ever imported."""

import ast
from pathlib import Path

import pytest

import verl_vsi

ROOT = Path(verl_vsi.__file__).parent
HEAVY = {"torch", "verl", "vllm", "transformers", "ray", "megatron"}


def imports(path: Path) -> set[str]:
    """Dotted names that a module imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
    return found


def modules(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def ours(names: set[str]) -> set[str]:
    return {name.split(".")[1] for name in names if name.startswith("verl_vsi.")}


@pytest.mark.parametrize("path", modules("rewards"), ids=lambda p: p.name)
def test_rewards_import_nothing_heavy_and_neither_other_room(path: Path) -> None:
    names = imports(path)
    assert ours(names) <= {"rewards"}
    assert not {name.split(".")[0] for name in names} & HEAVY


@pytest.mark.parametrize("path", modules("data_adapters"), ids=lambda p: p.name)
def test_data_adapters_import_only_rewards_of_the_house_and_verl_only_in_the_datasets(path: Path) -> None:
    names = imports(path)
    assert ours(names) <= {"rewards", "data_adapters"}
    assert path.name in {"dataset.py", "sft_dataset.py"} or not any(n.split(".")[0] == "verl" for n in names)


EVERY = sorted({*ROOT.rglob("*.py"), *modules("rewards"), *modules("data_adapters")})


@pytest.mark.parametrize("path", EVERY, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_module_imports_a_room_by_its_bare_name(path: Path) -> None:
    assert not {name.split(".")[0] for name in imports(path)} & {"rewards", "data_adapters", "recipes"}
