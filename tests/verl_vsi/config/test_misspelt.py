"""Words that name nothing are told with what was meant, before Hydra takes them for keys."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from verl_vsi.config.misspelt import check_words, misspelt_recipe, unknown_options
from verl_vsi.config.recipes import folders

OURS = folders()


@pytest.mark.parametrize(
    "word",
    [
        "+recpie=vsgrpo_2b",
        "recpie=vsgrpo_2b",
        "+recipes=sft_7b",
        "+Recipe=dpo_2b",
        "+reciep=vsgrpo_7b",
        "++recip=sft_2b",
    ],
)
def test_a_misspelt_recipe_stops_the_run(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        check_words(["main_ppo", word], OURS)
    assert f"did you mean +recipe={word.partition('=')[2]}?" in capsys.readouterr().err


@pytest.mark.parametrize(
    "word", ["+recpie=soup", "+receipt=vsgrpo_2b.pdf", "data.recipe=vsgrpo_2b", "+recipe=vsgrpo_2b", "+price=3", "x"]
)
def test_other_peoples_words_are_left_alone(word: str) -> None:
    assert misspelt_recipe(["main_ppo", word], OURS) is None


@pytest.mark.parametrize(
    ("word", "what", "fix"),
    [
        ("ablation=[nokl]", "ablation=nokl: there is no such ablation", "did you mean no_kl? There are "),
        ("ablation=[no_kl,NoFormat]", "ablation=NoFormat", "There are "),
        ("mode=thnk", "mode=thnk", "did you mean think? There are observe, think, vanilla"),
        ("hardware=h100x9", "hardware=h100x9", "did you mean h100x8?"),
        ("passes=share", "passes=share", "did you mean shared?"),
        ("backend=fsdp", "backend=fsdp", "did you mean fsdp2?"),
        ("+mode=think", "+mode=think: every recipe has a mode", "write mode=think"),
        ("modes=think", "modes=think: there is no 'modes'", "did you mean mode=think?"),
        ("abaltion=[no_kl]", "there is no 'abaltion'", "did you mean ablation=[no_kl]?"),
        ("hardwear=h100x8", "there is no 'hardwear'", "did you mean hardware=h100x8?"),
    ],
)
def test_what_a_slot_does_not_offer_is_said_with_what_it_does(word: str, what: str, fix: str) -> None:
    (problem,) = unknown_options(["main_ppo", "+recipe=vsgrpo_2b", word], OURS)
    assert what in problem.what
    assert fix in problem.fix


def test_a_misspelt_recipes_name_is_told_with_the_nearest() -> None:
    (problem,) = unknown_options(["main_ppo", "+recipe=vsgrpo-2b"], OURS)
    assert "did you mean vsgrpo_2b? There are dpo_2b, " in problem.fix


@pytest.mark.parametrize(
    "word", ["mode=think", "ablation=[no_kl]", "ablation=[]", "trainer.nnodes=2", "mode=null", "--cfg"]
)
def test_nothing_is_said_of_what_fits(word: str) -> None:
    assert not list(unknown_options(["main_ppo", "+recipe=vsgrpo_2b", word], OURS))


def test_options_of_the_users_own_are_known(tmp_path: Path) -> None:
    (tmp_path / "mode").mkdir()
    (tmp_path / "mode" / "whisper.yaml").write_text("name: vanilla\n")
    assert not list(unknown_options(["x", "+recipe=vsgrpo_2b", "mode=whisper"], [*OURS, tmp_path]))


def test_a_trainer_says_it_before_hydra_does(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "verl.trainer.main_ppo", "+recipe=vsgrpo_2b", "ablation=[nokl]"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False, timeout=250)
    assert done.returncode != 0
    assert "verl-vsi: ablation=nokl: there is no such ablation; did you mean no_kl?" in done.stderr


def test_a_misspelt_recipe_is_said_before_verl_imports_the_rest(tmp_path: Path) -> None:
    code = "import verl; print('verl goes on')"
    done = subprocess.run(
        [sys.executable, "-c", code, "+recpie=vsgrpo_2b"], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "did you mean +recipe=vsgrpo_2b?" in done.stderr
