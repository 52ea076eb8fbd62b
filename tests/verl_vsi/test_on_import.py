"""Callbacks after an import that has not happened yet."""

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from verl_vsi.on_import import _FINDER, before_import, on_import


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package `vsi_toy` with a module `tools` and a module that imports a function from it."""
    folder = tmp_path / "vsi_toy"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "tools.py").write_text("def weigh():\n    return 'upstream'\n")
    (folder / "user.py").write_text("from vsi_toy.tools import weigh\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "vsi_toy"
    for name in [name for name in sys.modules if name.split(".")[0] == "vsi_toy"]:
        del sys.modules[name]
    _FINDER.waiting.pop("vsi_toy.tools", None)


def replace(module: ModuleType) -> None:
    upstream = module.weigh
    module.weigh = lambda: f"ours over {upstream()}"  # pyright: ignore[reportAttributeAccessIssue]


def test_nothing_is_imported_until_someone_does(package: str) -> None:
    on_import(f"{package}.tools", replace)
    assert f"{package}.tools" not in sys.modules


def test_who_imports_from_the_module_gets_what_the_callback_put_there(package: str) -> None:
    on_import(f"{package}.tools", replace)
    assert importlib.import_module(f"{package}.user").weigh() == "ours over upstream"


def test_callbacks_run_in_order_and_once(package: str) -> None:
    on_import(f"{package}.tools", replace)
    on_import(f"{package}.tools", replace)
    tools = importlib.import_module(f"{package}.tools")
    assert tools.weigh() == "ours over ours over upstream"
    importlib.reload(tools)
    assert tools.weigh() == "upstream"


def test_a_module_that_is_there_already_is_served_at_once(package: str) -> None:
    tools = importlib.import_module(f"{package}.tools")
    on_import(f"{package}.tools", replace)
    assert tools.weigh() == "ours over upstream"


def test_the_module_keeps_its_source_and_spec(package: str) -> None:
    on_import(f"{package}.tools", replace)
    tools = importlib.import_module(f"{package}.tools")
    assert tools.__spec__ is not None
    assert tools.__spec__.origin == tools.__file__
    assert "upstream" in tools.__loader__.get_source(tools.__name__)  # pyright: ignore


def test_a_callback_that_fails_is_named_with_its_cause(package: str) -> None:
    def broken(module: ModuleType) -> None:
        raise KeyError("no such engine")

    on_import(f"{package}.tools", broken)
    with pytest.raises(RuntimeError, match=r"broken failed after .* vsi_toy\.tools: KeyError.*no such engine"):
        importlib.import_module(f"{package}.tools")


def test_a_module_that_does_not_exist_is_still_missing() -> None:
    on_import("vsi_toy_missing", replace)
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("vsi_toy_missing")


def test_a_preparation_runs_before_the_module_and_not_when_it_is_only_looked_for(package: str) -> None:
    seen: list[bool] = []
    before_import(f"{package}.tools", lambda: seen.append(hasattr(sys.modules[f"{package}.tools"], "weigh")))
    assert importlib.util.find_spec(f"{package}.tools") is not None
    assert seen == []
    importlib.import_module(f"{package}.tools")
    assert seen == [False]


def test_a_preparation_for_a_module_that_is_there_already_never_runs(package: str) -> None:
    importlib.import_module(f"{package}.tools")
    before_import(f"{package}.tools", pytest.fail)
    importlib.reload(sys.modules[f"{package}.tools"])
