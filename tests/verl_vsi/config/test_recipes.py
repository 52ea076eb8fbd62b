from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner
from vsi_support.model_folders import FAMILIES, tiny_config

from verl_vsi.commands.recipes import app
from verl_vsi.config import recipes
from verl_vsi.config.estimate import estimate
from verl_vsi.config.load import load_of
from verl_vsi.config.model_shape import PUBLISHED, from_config, shape_of
from verl_vsi.config.recipes import KeyDifference, composer, differences, settings

MINE = """# @package _global_
# Mine, in a line.
defaults:
  - _grpo
  - /mode: whisper
  - _self_
  - /backend: fsdp2
  - /passes: shared
  - /hardware: one_gpu
  - /ablation: []
vsi: {model: Qwen/Qwen2-VL-2B-Instruct}
trainer: {experiment_name: mine}
"""


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    (tmp_path / "recipe").mkdir()
    (tmp_path / "mode").mkdir()
    (tmp_path / "recipe" / "mine.yaml").write_text(MINE)
    (tmp_path / "mode" / "whisper.yaml").write_text(
        "# @package vsi.mode\nname: vanilla\ntag: null\ntrain_prompt: Psst.\neval_prompt: Psst.\n"
        "response_length: 8\nformat: false\n"
    )
    return tmp_path


def test_list_names_every_recipe_and_every_option() -> None:
    output = run("list")
    for recipe in recipes.recipes(recipes.folders()):
        assert recipe.name in output
    assert "mode: observe, think, vanilla" in output
    assert "_grpo" not in output, "a base is no recipe"


def test_every_header_gives_a_command_an_override_and_numbers() -> None:
    for recipe in recipes.recipes(recipes.folders()):
        for word in (
            "Download",
            "Run",
            "Override",
            "Published",
            "Reproduced",
            recipe.trainer,
            f"+recipe={recipe.name}",
        ):
            assert word in recipe.header, (recipe.name, word)


def test_diff_prints_what_differs_and_only_that() -> None:
    output = run("diff", "vsgrpo_2b", "vsgrpo_2b ablation=[no_kl]")
    assert "ablation=[no_kl]" in output.splitlines()[0], "not taken for markup"
    lines = [line.split() for line in output.splitlines()[1:] if "use_kl_loss" in line]
    assert lines == [["actor_rollout_ref.actor.use_kl_loss", "True", "False"]]
    assert len(output.splitlines()) == 2
    assert "no difference" in run("diff", "sft_2b", "sft_2b")


def test_differences_know_absent_keys() -> None:
    assert differences({"a": 1, "b": 2}, {"b": 2, "c": 3}) == [
        KeyDifference("a", 1, "(absent)"),
        KeyDifference("c", "(absent)", 3),
    ]


def test_show_prints_the_header_and_what_the_recipe_sets() -> None:
    output = run("show", "vsgrpo_2b", "mode=think")
    assert "Table 2" in output
    assert "kl_loss_coef" in output
    assert "1024" in output
    assert "clip_ratio_low" not in output, "verl's own default"


def test_a_recipe_of_ones_own_works_everywhere(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Mine, in a line." in run("list", "--config-dir", str(mine))
    assert "Psst." in run("show", "mine", "--config-dir", str(mine))
    with composer(mine) as compose:
        assert settings(compose.recipe("mine"))["data.max_response_length"] == 8
    monkeypatch.setenv("VSI_RECIPES", str(mine))
    assert "Mine, in a line." in run("list")


def test_an_unknown_recipe_names_those_there_are() -> None:
    result = CliRunner().invoke(app, ["diff", "vsgrpo_2b", "nope"])
    assert result.exit_code == 2
    assert "vsgrpo_miniature" in result.output


def test_estimate_agrees_with_arithmetic_by_hand() -> None:
    with composer() as compose:
        load = load_of(compose.recipe("vsgrpo_2b passes=stock"))
    # 16 frames of 128*28*28 pixels: 8 pairs x 128 tokens
    assert load.video_tokens == 1024
    # verl's 14 x 2 copies of a group are 0.54 GB; one copy a response is half of that
    assert load.rollouts * load.pixel_bytes == pytest.approx(0.27e9, rel=0.01)
    output = run("estimate", "vsgrpo_2b", "--rows", "116900")
    assert "1826" in output, "116,900 questions in batches of 64"
    assert "2.21 B" in output


def test_estimate_knows_what_passes_share() -> None:
    with composer() as compose:
        shared = load_of(compose.recipe("vsgrpo_2b mode=think passes=shared"))
        stock = load_of(compose.recipe("vsgrpo_2b mode=think passes=stock"))
        megatron = load_of(compose.recipe("vsgrpo_7b passes=shared"))
        cut = load_of(compose.recipe("vsgrpo_7b actor_rollout_ref.actor.megatron.context_parallel_size=2"))
    # one group is over the limit of 16,384 tokens by itself: a prompt of 1,144 and 14 answers of 1,024
    assert (shared.tokens, shared.spoken) == (1144 + 14 * 1024, 14 * 1024)
    # four rows, each with a prompt of its own, and logits for all of it
    assert (stock.tokens, stock.spoken) == (4 * (1144 + 1024), 4 * (1144 + 1024))
    assert (shared.shared, stock.shared, megatron.shared, cut.shared) == (True, False, True, False)
    # 64 videos of 16 frames of 128*28*28 pixels in bytes; float32 for each of 896 responses
    assert "0.3 GB" in run("estimate", "vsgrpo_2b", "passes=shared", "--rows", "116900")
    assert "17.3 GB" in run("estimate", "vsgrpo_2b", "passes=stock", "--rows", "116900")


def test_every_recipe_is_estimated() -> None:
    with composer() as compose:
        for recipe in recipes.recipes(recipes.folders()):
            lines = {line.what: line.amount for line in estimate(compose.recipe(recipe.name), rows=9600, videos=10)}
            assert {"prompt", "steps", "GPU: training in all", "host: a node", "moved a step"} <= lines.keys()
            assert ("GPU: vLLM" in lines) is recipe.name.startswith("vsgrpo"), recipe.name


def test_estimate_without_rows_says_what_to_give(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VSI_ROOT", raising=False)
    result = CliRunner().invoke(app, ["estimate", "vsgrpo_2b"])
    assert result.exit_code == 2
    assert "--rows" in result.output


@pytest.mark.parametrize(
    ("model", "billions"),
    # the models' cards, towers included
    [
        ("Qwen/Qwen2-VL-2B-Instruct", 2.21),
        ("Qwen/Qwen2-VL-7B-Instruct", 8.29),
        ("Qwen/Qwen2.5-VL-3B-Instruct", 3.75),
        ("Qwen/Qwen2.5-VL-7B-Instruct", 8.29),
        ("Qwen/Qwen3-VL-2B-Instruct", 2.13),
        ("Qwen/Qwen3-VL-4B-Instruct", 4.44),
        ("Qwen/Qwen3-VL-8B-Instruct", 8.77),
    ],
)
def test_parameters_are_counted_from_the_config(model: str, billions: float) -> None:
    assert shape_of(model).parameters / 1e9 == pytest.approx(billions, abs=0.01)


@pytest.mark.parametrize("family", FAMILIES)
def test_parameters_are_those_of_transformers_own_model(family: str) -> None:
    """Of tiny models, where what is left out (norms, biases, convolutions) weighs more than in a real one."""
    import torch
    import transformers

    config = tiny_config(family)
    with torch.device("meta"):
        model = getattr(transformers, config.architectures[0])(config)
    real = sum(parameter.numel() for parameter in model.parameters())
    assert from_config(config.to_dict()).parameters == pytest.approx(real, rel=0.05)


def test_a_hybrid_models_linear_layers_keep_no_keys() -> None:
    assert shape_of("Qwen/Qwen3.5-2B").attention_layers == 6


def test_parameters_of_the_shipped_miniature_are_those_of_its_weights() -> None:
    from safetensors import safe_open

    base = Path(recipes.__file__).parents[1] / "miniature" / "base"
    with safe_open(str(base / "model.safetensors"), "numpy") as weights:
        real = sum(int(weights.get_tensor(key).size) for key in weights.keys())  # noqa: SIM118
    assert shape_of(str(base)).parameters == pytest.approx(real, rel=0.05)


def test_an_unknown_model_is_named() -> None:
    with pytest.raises(ValueError, match="no sizes for a/b"):
        shape_of("a/b")


def test_a_text_config_of_its_own_is_read_too() -> None:
    whole = PUBLISHED["Qwen/Qwen2-VL-2B-Instruct"]
    text = {key: value for key, value in whole.items() if key != "vision_config"}
    nested = {"text_config": text, "vision_config": whole["vision_config"], "tie_word_embeddings": True}
    assert from_config(nested) == from_config(whole)


BROKEN = {
    "no YAML": ("a: [1\nb: 2", "line 2: not YAML"),
    "tabs": ("a:\n\t- b", "line 2: not YAML"),
    "a list": ("- a\n- b", "a recipe is a mapping of keys, and this is a list"),
    "a word": ("hello", "this is a str"),
    "a foreign tag": ("a: !!python/object/apply:os.system [id]", "line 1: not YAML"),
    "Latin-1": (b"# caf\xe9\nvsi: {}", "can't be read as YAML"),
    "UTF-16": ("vsi: {}".encode("utf-16"), "can't be read as YAML"),
    "zero bytes": (b"a: \x00", "can't be read as YAML"),
    "too deep": ("[" * 5000, "can't be read as YAML"),
    "two documents": ("a: 1\n---\nb: 2", "not YAML"),
    "a circle": ("defaults: [mine]", "the recipe builds on itself (mine -> mine)"),
}


@pytest.mark.parametrize(("content", "cause"), BROKEN.values(), ids=BROKEN)
def test_a_broken_recipe_is_named_and_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | bytes, cause: str
) -> None:
    (tmp_path / "recipe").mkdir()
    file = tmp_path / "recipe" / "mine.yaml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    monkeypatch.setenv("VSI_RECIPES", str(tmp_path))
    listed = CliRunner().invoke(app, ["list"], env={"COLUMNS": "400"})
    assert listed.exit_code == 0, listed.output
    assert "vsgrpo_2b" in listed.output
    assert f"can't be read: {file}" in listed.output
    assert cause in listed.output
    shown = CliRunner().invoke(app, ["show", "mine"], env={"COLUMNS": "400"})
    assert shown.exit_code == 2
    assert f"{file}" in shown.output


@pytest.mark.parametrize(
    "content", ["", "# only a comment", "vsi: 5", "vsi: [1]", "defaults: 5", "defaults: {a: b}", "vsi: {trainer: 7}"]
)
def test_an_odd_recipe_is_listed(tmp_path: Path, content: str) -> None:
    (tmp_path / "recipe").mkdir()
    (tmp_path / "recipe" / "mine.yaml").write_text(content)
    (tmp_path / "recipe" / "folder.yaml").mkdir()
    (tmp_path / "recipe" / "loop.yaml").symlink_to("loop.yaml")
    assert "mine" in run("list", "--config-dir", str(tmp_path))


WITHOUT_VERL = "import sys; sys.modules['verl'] = None; from verl_vsi.cli import main; main()"


@pytest.mark.parametrize(
    "words",
    [
        ["recipes", "show", "vsgrpo_2b"],
        ["recipes", "diff", "vsgrpo_2b", "sft_2b"],
        ["recipes", "estimate", "vsgrpo_2b", "--rows", "9"],
        ["miniature", "--folder", "OUT"],
        ["experiment", "kl", "--folder", "OUT"],
    ],
    ids=" ".join,
)
def test_without_verl_it_is_said_before_anything_is_done(tmp_path: Path, words: list[str]) -> None:
    command = [sys.executable, "-c", WITHOUT_VERL, *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False, timeout=120)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "verl is not installed" in done.stdout
    assert "verl-vsi doctor" in done.stdout
    assert not list(tmp_path.iterdir())


def test_an_estimate_without_a_root_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VSI_ROOT", raising=False)
    result = CliRunner().invoke(app, ["estimate", "vsgrpo_7b"], env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert "vsi.root is not set" in result.output
    assert "VSI_ROOT" in result.output
