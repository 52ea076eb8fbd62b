from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from verl_vsi.commands.recipes import app
from verl_vsi.config import provenance, surroundings
from verl_vsi.config.recipes import composer
from verl_vsi.config.secret_values import mask_override
from verl_vsi.data_adapters.versions import versions

RECORD = {
    "recipe": "vsgrpo_2b",
    "trainer": "verl.trainer.main_ppo",
    "overrides": ["+recipe=vsgrpo_2b", "ablation=[no_kl]"],
    "command": "python -m verl.trainer.main_ppo +recipe=vsgrpo_2b 'ablation=[no_kl]'",
    "start": "2026-01-01T00:00:00+00:00",
    "end": None,
    "status": "started",
    "step": None,
    "checkpoint": None,
    "versions": {"verl": "0.9.1"},
    "data": {"train_files": [{"file": "rows/train.parquet", "fingerprint": {"sha256": "ab" * 32}}]},
    "resolved": {},
}


def test_a_record_is_read_back_and_finished(tmp_path: Path) -> None:
    path = tmp_path / "run" / provenance.FOLDER / "1.json"
    provenance.write(RECORD, path)
    provenance.finish(path, "completed")
    record = provenance.read(path)
    assert record["status"] == "completed"
    assert record["end"] > record["start"]
    assert {**record, "end": None, "status": "started"} == RECORD


def test_stamps_sort_by_time_and_the_last_start_is_the_latest(tmp_path: Path) -> None:
    first, second = provenance.stamp(), provenance.stamp()
    assert first <= second
    provenance.write({"n": 1}, tmp_path / provenance.FOLDER / "20260101T000000.000000Z.json")
    provenance.write({"n": 2}, tmp_path / provenance.FOLDER / "20260101T000000.000001Z.json")
    assert provenance.latest(tmp_path) == {"n": 2}
    assert provenance.latest(tmp_path / "no run") is None


def test_the_command_is_quoted_for_a_shell() -> None:
    assert provenance.repeat(RECORD["trainer"], RECORD["overrides"]) == RECORD["command"]


def test_a_new_shell_is_told_all_that_a_run_was_started_with(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One command block, which bash takes as it stands: words with blanks, quotes and dollars, and no secret."""
    environment = {
        "VSI_ROOT": "/data/it's $HOME",
        "VLLM_X": 'a "b"',
        "HF_TOKEN": "hf_abcdefghijklmnopqrst",
        "LOCAL_WORLD_SIZE": "4",
    }
    for name, value in {**environment, "VSI_RECORD": "old.json", "PYTHONPATH": "a:b", "EDITOR": "vi"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    shell = surroundings.shell(["x", "--config-dir", "my configs", "+recipe=r", "--config-name=mine"])
    overrides = ["+recipe=r", "a='b c'", "+trainer.api_key=***"]
    command = provenance.repeat("verl.trainer.sft_trainer", [*shell["config_words"], *overrides], shell["processes"])
    lines = provenance.repeat_lines({**RECORD, "shell": shell, "command": command})
    assert "hf_abc" not in str(lines)
    assert "# HF_TOKEN held a secret: export it" in lines
    assert "VSI_RECORD" not in str(lines)
    script = "\n".join(
        [
            *lines[:-1],
            "echo $PWD; echo $VSI_ROOT; echo $VLLM_X; echo $PYTHONPATH; command -v python",
            f"printf '%s\n' {lines[-1]}",
        ]
    )
    output = subprocess.run(["bash", "-euc", script], env={}, capture_output=True, text=True, check=True).stdout
    assert output.splitlines() == [
        *(str(tmp_path), "/data/it's $HOME", 'a "b"', "a:b", str(Path(sys.executable).parent / "python")),
        *("torchrun", "--standalone", "--nproc_per_node=4", "-m", "verl.trainer.sft_trainer"),
        *("--config-dir", "my configs", "--config-name=mine", "+recipe=r", "a='b c'", "+trainer.api_key=***"),
    ]


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        (["--config-dir", "a", "x=1"], ["--config-dir", "a"]),
        (["-cd", "a", "-cn", "b", "-cp", "c"], ["-cd", "a", "-cn", "b", "-cp", "c"]),
        (["--config-path=a", "--cfg", "job"], ["--config-path=a"]),
        (["+recipe=x", "hydra.run.dir=y"], []),
    ],
)
def test_hydras_words_on_where_configs_are_are_kept(words: list[str], kept: list[str]) -> None:
    assert surroundings.config_words(words) == kept


@pytest.mark.parametrize(
    ("word", "masked"),
    [
        ("+trainer.wandb.api_key=abc", "+trainer.wandb.api_key=***"),
        (
            "+ray_kwargs.ray_init.runtime_env.env_vars.WANDB_API_KEY=abc",
            "+ray_kwargs.ray_init.runtime_env.env_vars.WANDB_API_KEY=***",
        ),
        ("a.password=x", "a.password=***"),
        ("a.token=x", "a.token=***"),
        ("a.hub_token=x", "a.hub_token=***"),
        ("a.anything=hf_abcdefghijklmnopqrst", "a.anything=***"),
        ("a.anything=[1,sk-proj-0123456789abcdef]", "a.anything=[1,***]"),
        ("a.anything=of-the-environment", "a.anything=***"),
        ("data.prompt_key=prompt", "data.prompt_key=prompt"),
        ("a.pad_token_id=5", "a.pad_token_id=5"),
        ("actor.ppo_max_token_len_per_gpu=4096", "actor.ppo_max_token_len_per_gpu=4096"),
        ("~hydra.callbacks", "~hydra.callbacks"),
    ],
)
def test_secrets_among_overrides_are_masked_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, word: str, masked: str
) -> None:
    monkeypatch.setenv("MY_SECRET", "of-the-environment")
    assert mask_override(word) == masked


def test_no_secret_lands_in_a_record(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By override, by environment, by a nested node of the config, whatever the name of the key."""
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef0123")
    monkeypatch.setenv("VSI_PASSWORD", "correct horse battery")
    monkeypatch.setenv("VERL_URL", "https://me:0123456789abcdef0123@host")
    with composer() as compose:
        config = compose.recipe(
            [
                "vsgrpo_miniature",
                "vsi.root=/data",
                "+trainer.api_key=direct-secret",
                "+trainer.note=0123456789abcdef0123",
                "+ray_kwargs.ray_init.runtime_env.env_vars.OTHER_TOKEN=nested-secret",
            ]
        )
        config.vsi.data.train = config.vsi.data.val = None
        record = json.dumps(provenance.describe(config))
    for secret in ("0123456789abcdef0123", "correct horse battery", "direct-secret", "nested-secret"):
        assert secret not in record
    assert json.loads(record)["resolved"]["actor_rollout_ref"]["rollout"]["n"], "and the rest is there"


def test_the_state_of_the_code_is_a_commit_and_what_differs_from_it(tmp_path: Path) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    (tmp_path / "a.py").write_text("1")
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "a"]):
        subprocess.run([*git, *words], check=True)
    clean = surroundings.source(tmp_path)
    assert len(clean["commit"]) == 40
    assert clean["changes_sha256"] is None
    (tmp_path / "a.py").write_text("2")
    edited = surroundings.source(tmp_path)
    (tmp_path / "b.py").write_text("new")
    assert len({str(state) for state in (clean, edited, surroundings.source(tmp_path))}) == 3


def test_a_models_weights_are_told_apart_and_a_hub_names_revision_is_that_of_the_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"a")
    first = surroundings.model(str(folder))
    (folder / "model.safetensors").write_bytes(b"b")
    assert surroundings.model(str(folder))["sha256"] != first["sha256"]
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert surroundings.model("org/name")["revision"] is None
    (tmp_path / "models--org--name" / "refs").mkdir(parents=True)
    (tmp_path / "models--org--name" / "refs" / "main").write_text("abc123\n")
    assert surroundings.model("org/name")["revision"] == "abc123"


def test_the_machine_is_described_without_its_name() -> None:
    machine = surroundings.machine()
    assert machine["cores"] >= 1
    assert machine["memory_gib"] > 0
    assert platform.node() not in json.dumps(machine)


def test_versions_are_those_of_installed_packages() -> None:
    found = versions(["verl-vsi", "no-such-package"])
    assert list(found) == ["verl-vsi"]


@pytest.mark.parametrize("whole_folder", [True, False])
def test_recipes_show_prints_how_to_repeat_a_run(tmp_path: Path, whole_folder: bool) -> None:
    path = tmp_path / provenance.FOLDER / "1.json"
    provenance.write(RECORD, path)
    result = CliRunner().invoke(app, ["show", str(tmp_path if whole_folder else path)])
    assert result.exit_code == 0
    assert result.output.splitlines()[-1] == RECORD["command"]
    assert "verl 0.9.1" in result.output
    assert "abababababababab" in result.output


def test_a_folder_without_runs_is_an_error_with_its_name(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["show", str(tmp_path)])
    assert result.exit_code == 2
    assert str(tmp_path.name) in result.output.replace("\n", "")


def test_a_record_is_plain_json(tmp_path: Path) -> None:
    path = tmp_path / "1.json"
    provenance.write({"path": Path("/x")}, path)
    assert json.loads(path.read_text()) == {"path": "/x"}
