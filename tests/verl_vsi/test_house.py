"""Which way the arrows point, that no second copy of a room is imported, and that upstream is changed in one room only.

The graph is drawn from the files themselves, links followed, imports within functions and for type checkers included.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from statistics import median

import pytest
from vsi_support.house import circles, imports, lines, modules, ours

HEAVY = {"torch", "verl", "vllm", "transformers", "ray", "megatron"}

FLOORS = (
    ("rewards.answers", "rewards.formats", "rewards.metrics"),
    ("rewards",),
    ("data_adapters",),
    (
        "data_adapters.frames",
        "data_adapters.leakage",
        "data_adapters.positions",
        "data_adapters.rows",
        "data_adapters.scene_files",
    ),
    ("data_adapters.importers", "data_adapters.questions", "data_adapters.scannet", "data_adapters.synthetic_rooms"),
    (
        "data_adapters.audit",
        "data_adapters.copies",
        "data_adapters.datasets",
        "data_adapters.revsi",
        "data_adapters.vsi100k",
        "data_adapters.vsibench_download",
    ),
    (
        "on_import",
        "run_mark",
        "config.trainers",
        "config.problems",
        "config.versions",
        "config.checkpoints",
        "training_metrics",
    ),
    ("patches",),
    ("cpu", "vllm_plugin", "checkpoint_callback"),
    ("sharing.eligibility", "sharing.packed_layout", "sharing.stored_video", "sharing.vision_features"),
    ("sharing.packing", "sharing.kernels", "sharing.vision", "sharing.log_probs"),
    ("sharing.batching", "sharing.attention", "sharing.linear_attention"),
    ("sharing.verl_batches", "sharing.model_hooks"),
    ("sharing.engine", "sharing.shadow", "sharing.group_trainer", "sharing.agent_loop", "sharing", "megatron"),
    ("config", "dpo"),
    ("lifetime",),
    ("preflight",),
    ("evaluation",),
    ("evaluation.score",),
    ("evaluation.ask", "evaluation.report"),
    ("miniature", "miniature.pipeline"),
    ("miniature.demo",),
    ("miniature.run_demo", "miniature.experiments"),
    ("plugin",),
    ("doctor.check",),
    ("doctor",),
    ("commands._console",),
    ("commands._common",),
    ("commands",),
    ("cli",),
)
"""Rooms of verl_vsi from the ground up: a room imports from its own floor and from those below."""

APART = (("evaluation.ask", "evaluation.report"),)
"""Rooms on one floor that do not know each other."""


def floor_of(name: str) -> int:
    """The number of the floor whose longest entry names this module or a package around it."""
    fitting = [
        (len(room), number)
        for number, rooms in enumerate(FLOORS)
        for room in rooms
        if name == room or name.startswith(f"{room}.")
    ]
    assert fitting, f"{name} is on no floor: say where it belongs"
    return max(fitting)[1]


@pytest.mark.parametrize("name", [name for name in modules() if name])
def test_no_arrow_points_up(name: str) -> None:
    assert not {other for other in ours(name) if floor_of(other) > floor_of(name)}


@pytest.mark.parametrize(("one", "other"), APART)
def test_rooms_apart_do_not_know_each_other(one: str, other: str) -> None:
    for room, neighbour in ((one, other), (other, one)):
        inside = [name for name in modules() if name.startswith(f"{room}.")]
        assert inside
        assert not [name for name in inside if any(o.startswith(neighbour) for o in ours(name))]


def test_the_two_halves_of_the_miniature_do_not_import_each_other() -> None:
    rooms = {name for name in modules() if name.startswith("miniature.")}
    pretraining = {name for name in rooms if name.startswith("miniature.pretraining")}
    assert pretraining
    assert not [(name, other) for name in pretraining for other in ours(name) & (rooms - pretraining)]
    assert not [(name, other) for name in rooms - pretraining for other in ours(name) & pretraining]


def test_no_circle() -> None:
    assert not list(circles())


def test_modules_are_of_a_size_to_be_read() -> None:
    assert 90 <= median(lines().values()) <= 140
    assert {name for name, length in lines().items() if length > 280} == set()


@pytest.mark.parametrize("name", [name for name in modules() if name.split(".")[0] == "rewards"])
def test_rewards_import_nothing_heavy(name: str) -> None:
    assert not {imported.split(".")[0] for imported in imports(name)} & HEAVY


@pytest.mark.parametrize("name", [name for name in modules() if name.split(".")[0] == "data_adapters"])
def test_data_adapters_import_verl_only_in_the_datasets(name: str) -> None:
    used = any(imported.split(".")[0] == "verl" for imported in imports(name))
    assert not used or name.startswith("data_adapters.datasets.")


@pytest.mark.parametrize("name", list(modules()))
def test_no_module_imports_a_room_by_its_bare_name(name: str) -> None:
    assert not {imported.split(".")[0] for imported in imports(name)} & {"rewards", "data_adapters", "recipes"}


ALLOWED = {
    ("cpu.builds", "sys.modules"): "Python's way to say that a package is not importable",
    ("lifetime.driver", "sys"): "Python's own hook for what a process says of the exception that ends it",
    ("on_import", "loader"): "the mechanism itself: the loader of the one module that is waited for",
    ("dpo.dpo_trainer", "loader"): "verl's SFT trainer gives its loaders a collate function in the same way",
}
"""(module, what is assigned to) -> why that replaces no function of upstream's."""

_CALLABLES = ("MethodType", "partial", "wraps", "wrap", "staticmethod")


def replacements(name: str) -> Iterator[str]:
    """What a module replaces: attributes of what it has imported from elsewhere, and functions on other objects."""
    tree = ast.parse(modules()[name].read_text())
    foreign = {
        (alias.asname or alias.name).split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        and not (getattr(node, "module", "") or "").startswith("verl_vsi")
        for alias in node.names
    }
    functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    for owner, value in _assignments(tree):
        called = ast.unparse(value.func).split(".")[-1] if isinstance(value, ast.Call) else ""
        is_function = isinstance(value, ast.Lambda) or ast.unparse(value) in functions or called in _CALLABLES
        if owner.split(".")[0] in foreign - {"os"} or (is_function and owner.split(".")[0] not in ("self", "cls")):
            yield owner


def _assignments(tree: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """(owner, value) of every assignment to an attribute or to an item of one, and of setattr and mock's patches."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(getattr(target, "value", None), ast.Attribute) or isinstance(target, ast.Attribute):
                    yield ast.unparse(target.value), node.value  # pyright: ignore[reportAttributeAccessIssue]
        elif (
            isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("setattr", "object") and node.args
        ):
            yield ast.unparse(node.args[0]), node.args[-1]


@pytest.mark.parametrize("name", [name for name in modules() if not name.startswith("patches")])
def test_upstream_is_changed_in_the_room_of_patches_only(name: str) -> None:
    assert not {owner for owner in replacements(name) if (name, owner) not in ALLOWED}


def test_every_patch_is_seen_as_one() -> None:
    """So the test above can fail: the same look finds what each file of the room replaces."""
    files = [name for name in modules() if name.startswith("patches.")]
    assert [name for name in files if not list(replacements(name))] == ["patches.replay_poll", "patches.vllm_spin"], (
        "both through patches._constructor_default"
    )


def test_the_table_of_patches_lists_every_file_of_the_room() -> None:
    from verl_vsi import patches

    rows = {line.split("|")[1].strip() for line in (patches.__doc__ or "").splitlines() if line.startswith("| ")}
    files = {name.removeprefix("patches.") for name in modules() if name.startswith("patches.")}
    assert rows - {"patch"} == {file for file in files if not file.startswith("_")}
    assert {*patches.RUN, *patches.VLLM, *patches.CPU, *patches.CPU_VLLM} <= rows
