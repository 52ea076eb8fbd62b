"""`verl-vsi recipes`: list, show, compare, estimate, write and share recipes; nothing is started."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from verl_vsi.commands._common import command, console, number, say
from verl_vsi.config import recipes
from verl_vsi.config.trainers import USER_VARIABLE

app = typer.Typer(
    help="List, show, compare, estimate, write and share recipes.", no_args_is_help=True, add_completion=False
)

ConfigDir = Annotated[
    Path | None, typer.Option("--config-dir", help="A folder of yours with recipe/*.yaml (or set VSI_RECIPES).")
]


@app.command("list")
@command()
def list_(config_dir: ConfigDir = None) -> None:
    """Every recipe, and the options of every slot.

    Example: verl-vsi recipes list
    """
    where = recipes.folders(config_dir)
    table = _table("recipe", "trainer", "what it is")
    for recipe in recipes.recipes(where):
        _row(table, recipe.name, recipe.trainer.rpartition(".")[2], recipe.title)
    console.print(table)
    for group in recipes.GROUPS:
        console.print(f"{group}: {', '.join(recipes.options(group, where))}", highlight=False)


@app.command()
@command()
def show(
    what: Annotated[str, typer.Argument(help="A recipe's name, or the folder of a run.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="As on the command line: mode=think ...")] = None,
    config_dir: ConfigDir = None,
) -> None:
    """A recipe's header and what it sets beside verl's defaults; or how to repeat a run.

    Examples: verl-vsi recipes show vsgrpo_2b mode=think
              verl-vsi recipes show outputs/vsgrpo_2b-think
    """
    if Path(what).exists():
        _show_run(Path(what))
    else:
        _show_recipe(what, overrides or [], config_dir)


@app.command()
@command()
def diff(
    first: Annotated[str, typer.Argument(help="A recipe, with overrides if you like: 'vsgrpo_2b mode=think'.")],
    second: Annotated[str, typer.Argument(help="Another.")],
    config_dir: ConfigDir = None,
) -> None:
    """Only what differs between two recipes after composition.

    Example: verl-vsi recipes diff vsgrpo_2b 'vsgrpo_2b mode=think ablation=[no_kl]'
    """
    from verl_vsi.config.recipes import differences, settings

    with _composer(config_dir) as compose:
        differing = differences(settings(compose.recipe(first)), settings(compose.recipe(second)))
    table = _table("key", first, second)
    for difference in differing:
        _row(table, difference.key, str(difference.first), str(difference.second))
    console.print(table if differing else "no difference")


@app.command()
@command()
def estimate(
    recipe: Annotated[str, typer.Argument(help="A recipe's name.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="As on the command line.")] = None,
    rows: Annotated[int | None, number(1, "Rows to train on, where the parquet is not there yet.")] = None,
    videos: Annotated[int, number(1, "Videos that the rows are about.")] = 1201,
    gpu_gb: Annotated[int, number(1, "Memory of a GPU, in GB.")] = 80,
    config_dir: ConfigDir = None,
) -> None:
    """Tokens, memory, bytes moved and steps of a recipe, before anything starts.

    Example: verl-vsi recipes estimate vsgrpo_7b hardware=2x8 --rows 116900
    """
    from verl_vsi.config.estimate import estimate as compute
    from verl_vsi.config.estimate import fix

    asked = [recipe, *(overrides or [])]
    with _composer(config_dir) as compose:
        lines = compute(compose.recipe(asked), rows, videos, gpu_gb * 1e9)
        smaller = fix(compose.recipe, asked, gpu_gb * 1e9)
    table = _table("what", "how much", "basis")
    for line in lines:
        _row(table, line.what, line.amount, line.basis)
    console.print(table)
    if smaller:
        console.print(f"it would fit with {smaller}", highlight=False, markup=False)


@app.command()
@command()
def new(
    name: Annotated[str, typer.Argument(help="Of the recipe to write.")],
    like: Annotated[str, typer.Option(help="The recipe that it builds on.")] = "vsgrpo_2b",
    to: Annotated[
        Path, typer.Option(envvar=USER_VARIABLE, help="Folder of your recipes; the file is recipe/NAME.yaml in it.")
    ] = Path("my_recipes"),
) -> None:
    """Write a recipe of your own, to edit: it builds on another, and shows what that one sets.

    Example: verl-vsi recipes new bold --like vsgrpo_2b --to my_recipes
    """
    from verl_vsi.config.new_recipe import write_recipe

    with _composer(None) as compose:
        path = write_recipe(name, like, to, compose)
    say(f"{path}: edit it; its first lines say how to run it")


@app.command()
@command()
def share(
    run: Annotated[Path, typer.Argument(help="The folder of a training run.")],
    out: Annotated[Path, typer.Argument(help="The folder to make.")],
    results: Annotated[
        list[Path] | None, typer.Option(help="Results of its checkpoint, or folders of results; repeatable.")
    ] = None,
    license: Annotated[str | None, typer.Option(help="Of the weights, as the hub names it.")] = None,
) -> None:
    """Pack a run for another person: recipe, command, record, curves and card; no weights, and nothing is uploaded.

    Example: verl-vsi recipes share outputs/bold shared/bold --results outputs/eval/bold
    """
    from verl_vsi.evaluation.report.contents import gather
    from verl_vsi.evaluation.report.shared_run import share_run

    evaluated = [result for path in results or [] for result in gather(path)[0]]
    left_out = share_run(run, out, evaluated, license)
    say(f"{out}: ./run.sh there starts the run again, on the files that VSI_ROOT names")
    for word in left_out:
        say(f"left out, it names a file of this machine or a secret: {word.partition('=')[0]}", "yellow")


@contextmanager
def _composer(config_dir: Path | None) -> Iterator[recipes.Composer]:
    """What composes recipes; Hydra's errors about them are wrong input."""
    from hydra.errors import HydraException

    try:
        with recipes.composer(config_dir) as compose:
            yield compose
    except HydraException as error:
        raise ValueError(str(error)) from error


def _table(*columns: str) -> Table:
    """Cells that are too long go on in the next line; none is cut."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(escape(column), overflow="fold")
    return table


def _row(table: Table, *cells: str) -> None:
    """Cells as they are: rich would take `[no_kl]` for markup."""
    table.add_row(*map(escape, cells))


def _show_recipe(name: str, overrides: list[str], config_dir: Path | None) -> None:
    from verl_vsi.config.recipes import ABSENT, differences, settings

    recipe = recipes.find_recipe(name, recipes.folders(config_dir))
    with _composer(config_dir) as compose:
        config = compose.recipe([name, *overrides])
        set_here = differences(settings(compose.bare(config)), settings(config))
    console.print(recipe.header, highlight=False, markup=False)
    table = _table("key", "verl's default", "this recipe")
    for difference in set_here:
        default = "" if difference.first == ABSENT else str(difference.first)
        _row(table, difference.key, default, str(difference.second))
    console.print(table)


def _show_run(run: Path) -> None:
    from verl_vsi.config import provenance
    from verl_vsi.data_adapters.untrusted_text import visible

    record = provenance.read(run) if run.is_file() else provenance.latest(run)
    if record is None:
        raise ValueError(f"{run} holds no {provenance.FOLDER}/*.json: no recipe was run there")
    lines = [f"{record['recipe']}, {record['status']}: {record['start']} to {record['end']}"]
    lines.append(f"versions: {', '.join(f'{k} {v}' for k, v in record['versions'].items())}")
    for key, files in record["data"].items():
        for file in files:
            sha = str(file["fingerprint"].get("sha256", "none"))[:16]
            lines.append(f"data.{key}: {file['file']} (fingerprint {sha})")
    for part in ("source", "model", "machine"):
        if part in record:
            lines.append(f"{part}: {', '.join(f'{key} {value}' for key, value in record[part].items())}")
    for line in [*(f"# {visible(line)}" for line in lines), *provenance.repeat_lines(record)]:
        console.print(line, highlight=False, soft_wrap=True, markup=False)
