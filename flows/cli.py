"""The command `sgm`: thin, quick to start; each command imports what it needs when it runs.

Exit codes: 0 done, 1 failure, 2 wrong input, 130 interrupted. An error is one sentence on stderr.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli_models import models_app
from flows.cli_studio import studio_app
from flows.project import Project
from flows.stopping import asked
from sgm_core.errors import SgmError
from sgm_core.renew import uncollected

if TYPE_CHECKING:
    from flows.embedded import Embedded

app = typer.Typer(
    name="sgm",
    help="Score-based generative models: data, grid, leaderboard, registry.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
data_app = typer.Typer(help="Your own data.", no_args_is_help=True)
app.add_typer(models_app)
app.add_typer(studio_app)
app.add_typer(data_app, name="data")

# Unknown command, option or value; typer brings its own copy of click or uses the installed one.
WrongUsage: type[Exception] = typer.BadParameter.__bases__[0]

Name = Annotated[str, typer.Argument(help="name of an experiment of params.yaml")]
RegisteredName = Annotated[
    str, typer.Argument(help="a registered model (sgm-digits), or its experiment (digits)")
]
DataName = Annotated[str, typer.Argument(help="name of an experiment (or a dataset)")]
Names = Annotated[list[str] | None, typer.Argument(help="experiments (default: the active ones)")]
AllowFailures = Annotated[
    bool, typer.Option("--allow-failures", help="publish the best finished cell all the same")
]
NoPublish = Annotated[bool, typer.Option("--no-publish", help="leave the registry alone")]


def main() -> None:
    """Run the command line; errors become one sentence and an exit code."""
    try:
        result = app(standalone_mode=False)  # the exit code of --help and of an interrupt, or None
        code = result if isinstance(result, int) else 0
    except SgmError as error:
        code = 130 if signal.SIGINT in asked else error.exit_code
        if code != 130:
            print(f"sgm: {error}", file=sys.stderr)
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    except WrongUsage as error:
        print(_usage_sentence(error), file=sys.stderr)
        code = 2
    except OSError as error:
        print(f"sgm: {_os_sentence(error)}", file=sys.stderr)
        code = 1
    except Exception as error:  # a defect of ours; the sentence is for the user, the rest for us
        if os.environ.get("SGM_DEBUG"):
            raise
        text = " ".join(f"{type(error).__name__}: {error}".split())
        print(f"sgm: internal error, {text}; SGM_DEBUG=1 shows where", file=sys.stderr)
        code = 1
    if code == 130:
        print("sgm: interrupted; run the same command again to go on", file=sys.stderr)
    sys.stdout.flush()
    if "torch" not in sys.modules:  # its libraries would report as a leak what is not collected
        gc.freeze()  # the end of Python would take a second to search all modules for garbage
    sys.exit(code)


@app.command()
def init(
    server: Annotated[
        bool, typer.Option("--server", help="also set up the Prefect server of PREFECT_API_URL")
    ] = False,
) -> None:
    """Create the state folder and migrate both databases (safe to repeat)."""
    from flows.setup import initialise

    project = Project.find()
    done = initialise(project)
    print(f"{project.state} is {'ready' if done else 'up to date'}")
    if server:
        from flows.server import set_up

        print(f"Prefect server: {', '.join(set_up()) or 'all there'}")


@app.command()
def check() -> None:
    """Validate params.yaml."""
    from flows.stages import weights_of
    from sgm_core.search import plan_in_words

    project = Project.find()
    config = project.config()
    for name in config.active:
        weights_of(project, config, name)
        experiment = config.experiments[name]
        print(f"{name}: dataset {experiment.dataset}, {plan_in_words(experiment)}")
    print("params.yaml is valid")


@app.command()
def prepare(name: DataName) -> None:
    """Make data/prepared/NAME."""
    from flows.stages import prepare as run

    run(Project.find(), name)


@app.command()
def reference(name: DataName) -> None:
    """Make data/reference/NAME: reference statistics and noise floors."""
    from flows.stages import reference as run

    run(Project.find(), name)


@app.command()
def grid(name: Name, allow_failures: AllowFailures = False, no_publish: NoPublish = False) -> None:
    """Train and evaluate every cell of an experiment, report, publish the best."""
    project = _project(name)
    _lifecycle(project, [name], allow_failures, not no_publish, data=False)


@app.command()
def run(
    names: Names = None, allow_failures: AllowFailures = False, no_publish: NoPublish = False
) -> None:
    """Run experiments from the raw data to the registry, without DVC."""
    project = _project(*(names or []))
    _lifecycle(project, names, allow_failures, not no_publish, data=True)
    _boards(project, names)


@app.command()
def publish(name: Name, allow_failures: AllowFailures = False) -> None:
    """Register the best finished cell and decide on the champion."""
    project = _project(name)
    server = _embedded(project)
    from flows.publish import publish as flow

    with server.ready():
        print(flow(name, str(project.root), allow_failures))


@app.command()
def bundle(
    model: Annotated[str, typer.Argument(help="models:/NAME@champion or models:/NAME/3")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="folder to write it to as well")
    ] = None,
) -> None:
    """Make the bundle of a version: half precision, ONNX, int8, pruned; each measured."""
    from flows.bundling import bundle_command
    from flows.progress import display

    with display() as shown:
        text = bundle_command(
            Project.find(), model, out, shown.say, lambda event: shown.event("bundle", event)
        )
    print(text)


@app.command()
def history(name: RegisteredName) -> None:
    """Print who replaced whom as champion, and on what evidence."""
    from flows.history import print_history

    print_history(Project.find(), name)


@app.command()
def rollback(
    name: RegisteredName,
    to: Annotated[
        int | None, typer.Option(min=1, help="a version (default: the previous champion)")
    ] = None,
    why: Annotated[str, typer.Option(help="a reason for the journal")] = "",
) -> None:
    """Make the previous champion the champion again, after its files were verified."""
    from flows.history import rollback as run

    print(run(Project.find(), name, to, why))


@app.command()
def reproduce(
    model: Annotated[str, typer.Argument(help="models:/NAME@champion or models:/NAME/3")],
    into: Annotated[
        Path | None, typer.Option(help="folder to work in and to keep (default: a temporary one)")
    ] = None,
) -> None:
    """Train a registered version again in a clean clone and compare the weights' hash."""
    from flows.reproduce import reproduce as run

    print(run(Project.find(), model, into))


@app.command()
def leaderboard(names: Names = None) -> None:
    """Print the leaderboards, and where report and registry are."""
    _boards(_project(*(names or [])), names)


@app.command()
def worker(
    gpus: Annotated[str, typer.Option(help="all, or some of them: 0,1; pairs: 0+1,2+3")] = "",
    slots: Annotated[
        int | None, typer.Option(help="on the CPU: how many cells at once, each on its own")
    ] = None,
    pool: Annotated[str, typer.Option(help="work pool of the Prefect server")] = "gpu",
) -> None:
    """Run a Prefect worker per GPU, group of GPUs or slot for this project's cells, until Ctrl-C."""
    from flows.agents import Agents, slots_of
    from flows.server import address

    address()
    project = Project.find()
    project.config()
    Agents(slots_of(gpus, slots), pool, project.root).run()


@app.command()
def ui(
    port: Annotated[
        int, typer.Option(min=1, max=65535, help="port on the loopback interface")
    ] = 5000,
) -> None:
    """Open MLflow's pages on this project's runs and models (loopback only)."""
    from flows.setup import initialise

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise SgmError(f"port {port}: {error.strerror}; choose another with --port") from None
    project = Project.find()
    initialise(project, prefect=False)
    print(f"http://127.0.0.1:{port} (Ctrl-C ends it)", flush=True)
    uri = project.tracking_uri
    command = ["-m", "mlflow", "ui", "--backend-store-uri", uri, "--registry-store-uri", uri]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    command += ["--default-artifact-root", project.artifacts.as_uri()]
    os.execv(sys.executable, [sys.executable, *command])


@data_app.command("add")
def data_add(
    name: Annotated[str, typer.Argument(help="name of the new dataset")],
    path: Annotated[Path, typer.Argument(help="folder of images, or .csv .parquet .npy .npz")],
    height: Annotated[int, typer.Option(min=0, help="pixels (0: as in the files)")] = 0,
    width: Annotated[int, typer.Option(min=0, help="pixels (0: as in the files)")] = 0,
    channels: Annotated[int, typer.Option(help="1, 3, or 0: as in the files")] = 0,
    label: Annotated[str, typer.Option(help="column or array with class labels")] = "",
    skip_unreadable: Annotated[
        bool, typer.Option("--skip-unreadable", help="leave unreadable images out")
    ] = False,
    experiment: Annotated[
        bool, typer.Option("--experiment", help="also enter a first experiment")
    ] = False,
    activate: Annotated[
        bool, typer.Option("--activate", help="also add that experiment to `active`")
    ] = False,
    no_dvc: Annotated[bool, typer.Option("--no-dvc", help="do not track it with DVC")] = False,
) -> None:
    """Add your own images or points: validate, copy to data/raw, enter into params.yaml, track."""
    from flows.adding import add

    options: dict[str, Any] = {"height": height, "width": width, "channels": channels}
    options |= {"label": label, "skip_unreadable": skip_unreadable}
    options |= {"experiment": experiment, "activate": activate}
    add(Project.find(), name, path, options, track=not no_dvc)


def _project(*names: str) -> Project:
    """Return the project after params.yaml and the names of experiments were checked."""
    project = Project.find()
    config = project.config()
    for name in names:
        config.experiment(name)
    return project


def _lifecycle(
    project: Project, names: list[str] | None, allow_failures: bool, publishing: bool, data: bool
) -> None:
    from flows.settled import settled
    from flows.setup import initialise

    initialise(project, prefect=False)
    done = [settled(project, name, publishing, data) for name in names or project.config().active]
    if all(done):
        print(*done, sep="\n", flush=True)
        return
    server = _embedded(project)
    _start_workers(project, names)
    with uncollected():  # a second or two that the server needs anyway
        from flows.lifecycle import lifecycle
        from flows.versions import open_ahead

        open_ahead(project)
    with server.ready():
        lifecycle(names, str(project.root), allow_failures, publishing, data)


def _start_workers(project: Project, names: list[str] | None) -> None:
    """Start the workers for the first grid that has cells left, as far as its data is there."""
    from flows.executors import start_ahead
    from flows.searching import first_due

    for name in names or project.config().active:
        with suppress(SgmError):  # the data is not made yet, or the grid will say it
            cells, job = first_due(project, name)
            if job is not None:
                start_ahead(job, cells)
                return


def _boards(project: Project, names: list[str] | None) -> None:
    from flows.reporting import print_leaderboards

    print_leaderboards(project, list(names or project.config().active))


def _embedded(project: Project) -> Embedded:
    """Prepare databases and environment for flows in this process, before Prefect is imported."""
    from flows.embedded import Embedded
    from flows.setup import initialise

    initialise(project)
    return Embedded(project)


def _usage_sentence(error: Any) -> str:
    """Say what was typed wrong; a command without its arguments says how it is used."""
    message = str(error.format_message())
    if "\n" in message:
        return message
    command = error.ctx.command_path if error.ctx is not None else "sgm"
    return f"sgm: {message[:1].lower()}{message[1:].rstrip('.')}; see {command} --help"


def _os_sentence(error: OSError) -> str:
    name = f"{error.filename}: " if error.filename else ""
    return f"{name}{error.strerror or error}; check the path, its permissions and the disk"
