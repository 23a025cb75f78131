"""The command ``srquant``: its subcommands, exit codes and one-line errors.

Exit codes: 0 done, 1 something failed during the work, 2 wrong input of the user or missing engine, 130 interrupted.
"""

import errno
import sys
from collections.abc import Callable
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from srquant.cli import analyse, stdout
from srquant.cli.bench import bench
from srquant.cli.compare import compare
from srquant.cli.demo import demo
from srquant.cli.evaluate import evaluate
from srquant.cli.export import export
from srquant.cli.freed_memory import keep_freed_memory
from srquant.cli.info import info
from srquant.cli.log_messages import show_log_messages
from srquant.cli.methods import methods
from srquant.cli.output import fail
from srquant.cli.quantize import quantize
from srquant.cli.report import report
from srquant.cli.train import train
from srquant.cli.upscale import upscale
from srquant.errors import EngineError, InputError, SRQuantError

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Full disk, used up quota, and a limit on the size of files."""


class Verb(TyperCommand):
    """A subcommand, whose help may meet a full disk as all that is printed."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help."""
        with stdout.named():
            super().format_help(ctx, formatter)


class Subcommands(TyperGroup):
    """Subcommands: errors of srquant and of the system end the program with one line on stderr, without a traceback."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help of all."""
        with stdout.named():
            super().format_help(ctx, formatter)

    def invoke(self, ctx: Any) -> Any:
        """Run a subcommand."""
        try:
            return super().invoke(ctx)
        except (InputError, EngineError) as error:
            fail(str(error), 2)
        except SRQuantError as error:
            fail(str(error), 1)
        except OSError as error:
            if error.errno is None:
                raise
            fail(system_error(error), 1)


def system_error(error: OSError) -> str:
    """One line on what the system refused, such as a write to a full disk."""
    if error.filename == stdout.NAME:
        return stdout.problem(error)
    place = f"{error.filename}: " if error.filename is not None else ""
    advice = "; make room, then run the same command again" if error.errno in NO_ROOM else ""
    return f"{place}{error.strerror}{advice}"


app = typer.Typer(
    cls=Subcommands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,
)

EXAMPLES: dict[Callable[..., None], str] = {
    info: "srquant info edsr_w4a4.safetensors",
    methods: "srquant methods gba",
    quantize: "srquant quantize edsr.pt -w 4 -a 4 --calibration DIR -o edsr_w4a4.safetensors",
    train: "srquant train --method quantsr --init edsr.pt -w 4 -a 4 --hr DIV2K --steps 100000 -o RUN_DIR",
    evaluate: "srquant evaluate edsr_w4a4.safetensors --data Set5 --engine openvino --json out.json",
    export: "srquant export edsr_w4a4.safetensors -o edsr_w4a4.xml",
    upscale: "srquant upscale edsr_w4a4.safetensors in.png -o out.png",
    report: "srquant report w4a4.safetensors w8a8.safetensors --reference edsr.pt --data Set5 -o report.html",
    compare: "srquant compare edsr.pt edsr_w4a4.safetensors in.png -o page.html",
    bench: "srquant bench edsr_w4a4.safetensors --input 180x320 --rounds 7",
    demo: "srquant demo -o demo",
}
HELP = {"help_option_names": ["-h", "--help"]}

for subcommand, example in EXAMPLES.items():
    app.command(cls=Verb, epilog=f"Example: [bold]{example}[/bold]", context_settings=HELP)(subcommand)

app.add_typer(analyse.app, name="analyse", context_settings=HELP)


@app.command("help", cls=Verb, context_settings=HELP)
def show_help(
    context: typer.Context,
    command: Annotated[str | None, typer.Argument(metavar="COMMAND", help="A command; without one: all.")] = None,
) -> None:
    """Show the help of a command."""
    assert context.parent is not None
    arguments = ["--help"] if command is None else [command, "--help"]
    raise typer.Exit(context.parent.command.main(arguments, prog_name=context.parent.info_name, standalone_mode=False))


def print_version(wanted: bool) -> None:
    """If ``wanted``, print the version and exit."""
    if wanted:
        from srquant import __version__

        stdout.put(f"srquant {__version__}\n")
        raise typer.Exit


@app.callback(context_settings=HELP)
def srquant(
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Quantize super-resolution networks to 2-8 bits, measure their quality, run them with integer arithmetic."""


def main() -> None:
    """Run the command line."""
    keep_freed_memory()
    show_log_messages()
    if sys.stdout is None:
        end("stdout is closed: leave it open, or send it to a file or to /dev/null")
    try:
        app(prog_name="srquant")
    except OSError as error:  # before a subcommand runs: while help or the version is printed
        end(system_error(error))


def end(message: str) -> NoReturn:
    """Print one line on stderr and exit with code 1."""
    try:
        fail(message, 1)
    except typer.Exit:
        sys.exit(1)
