"""The command line: thin, quick to start, and never a traceback.

Exit codes: 0 analysed, 1 a fault, 2 wrong usage, 3 not analysed (with its reasons).
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lvo._version import __version__
from lvo.errors import BundleInvalid, InternalFault, LvoError, UsageError

if TYPE_CHECKING:
    from lvo.anatomy import Segment, Side
    from lvo.phantom.study import Sampler
    from lvo.study import StudyResult

FAULT, USAGE, NOT_ANALYSED = 1, 2, 3

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


class Device(StrEnum):
    """Where the network runs."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


DeviceOption = Annotated[Device, typer.Option(help="Where the network runs.")]
ModelOption = Annotated[
    Path | None, typer.Option("--model", metavar="DIR", help="A model bundle other than the one included.")
]


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"lvo {__version__}")
        raise typer.Exit


VersionOption = Annotated[
    bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
]


@app.callback()
def _common(version: VersionOption = False) -> None:
    """Large artery occlusion in CT angiography. Research use only. Not a medical device."""


@app.command()
def score(
    study_dir: Annotated[Path, typer.Argument(help="Folder with the study's DICOM files, at any depth.")],
    out: Annotated[
        Path, typer.Option("--out", metavar="OUT", help="Folder for result.json and the pictures.")
    ],
    device: DeviceOption = Device.AUTO,
    model: ModelOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON, nothing else.")] = False,
) -> None:
    """Score one study. Exit code 0 when analysed, 3 when not, 2 for wrong usage, 1 for a fault."""
    with _plain_errors():
        if not study_dir.exists():
            # Said before the model is loaded: a mistyped path should answer at once.
            from lvo.errors import PathNotFound

            raise PathNotFound(f"({study_dir})")
        _quiet_logs()
        from lvo.detector import load_detector
        from lvo.pipeline import score_folder
        from lvo.report.folder import prepare_output

        prepare_output(out)
        result = score_folder(study_dir, out, detector=load_detector(model, device.value))
        _print_result(result, out, as_json)
        code = _exit_code(result)
    raise typer.Exit(code)


@app.command()
def ingest(
    study_dir: Annotated[Path, typer.Argument(help="Folder with the study's DICOM files, at any depth.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder for inventory.json and the volumes.")
    ] = None,
    listing: Annotated[bool, typer.Option("--list", help="Print the series, write nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the inventory as JSON.")] = False,
) -> None:
    """Convert a study to NIfTI, with a reason for everything. Exit code 3 when the study was refused."""
    with _plain_errors():
        if listing == (out is not None):
            raise UsageError("Give either --out DIR or --list.")
        _quiet_libraries()
        from lvo.dicom import ingest as convert

        inventory = convert(study_dir, out)
        if as_json:
            print(inventory.model_dump_json(indent=2))
        else:
            from rich.console import Console

            from lvo.report.inventory import render_inventory

            Console().print(render_inventory(inventory))
    raise typer.Exit(NOT_ANALYSED if inventory.refused else 0)


@app.command()
def schema() -> None:
    """Print the JSON schema of result.json."""
    import json

    from lvo.study import StudyResult

    print(json.dumps(StudyResult.model_json_schema(mode="serialization"), indent=2))


@app.command()
def phantom(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the studies and truth.csv.")],
    count: Annotated[
        int | None, typer.Option(min=1, help="How many studies; 1, or all of the benchmark.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same studies.")] = 0,
    occlusion: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SIDE:SEGMENT", help="An occlusion in every study, as left:M1; may be repeated."
        ),
    ] = None,
    preset: Annotated[
        str, typer.Option(metavar="NAME|YAML", help="realistic, training, benchmark, or a file of yours.")
    ] = "realistic",
    first: Annotated[int, typer.Option(min=1, help="First study of the benchmark to write.")] = 1,
    truth: Annotated[
        bool, typer.Option("--truth", help="Also write labels, clots and territories as NIfTI.")
    ] = False,
    matrix: Annotated[int, typer.Option(min=64, max=1024, help="Rows and columns; fewer is faster.")] = 512,
    slices: Annotated[
        int | None,
        typer.Option(min=32, max=2000, help="CTA slices; left out, the drawn slice spacing decides."),
    ] = None,
    phases: Annotated[int, typer.Option(min=1, max=4, help="Phases of the CTA, 8 s apart.")] = 1,
    device: Annotated[str, typer.Option(help="Where to draw: cpu, or cuda.")] = "cpu",
    head: Annotated[
        list[Path] | None,
        typer.Option(metavar="NIFTI|DIR", help="A real head CT, with --tree; may be repeated."),
    ] = None,
    tree: Annotated[
        Path | None,
        typer.Option(metavar="NIFTI", help="A real angiogram without background for the arteries."),
    ] = None,
) -> None:
    """Write synthetic code-stroke studies as DICOM, with their truth."""
    with _plain_errors():
        if bool(head) != bool(tree):
            raise UsageError("--head and --tree go together.")
        places = tuple(parse_occlusion(text) for text in occlusion or ())
        try:
            from lvo.phantom.benchmark import studies_of
            from lvo.phantom.config import load_config
            from lvo.phantom.flow.clot import SegmentAbsent
            from lvo.phantom.head.atlas import AtlasMissing
            from lvo.phantom.patient import Order, sample_case
            from lvo.phantom.real.sources import AnatomyUnusable
            from lvo.phantom.study import write_studies
        except ModuleNotFoundError as error:
            raise UsageError(
                f"Phantoms need the extra 'phantom': pip install 'lvo[phantom]' ({error.name})."
            ) from error
        order = Order(sites=places or None, matrix=matrix, slices=slices, phases=phases)
        studies = studies_of(preset, count=count, first=first, seed=seed, order=order)
        try:
            sample = _composer(head, tree) if head and tree else sample_case
            write_studies(out, studies, load_config(preset), truth=truth, device=device, sample=sample)
        except (AtlasMissing, AnatomyUnusable) as error:
            raise UsageError(str(error)) from error
        except SegmentAbsent as error:
            raise UsageError(f"{error}; take another --seed or --occlusion") from error
        what = "study" if len(studies) == 1 else "studies"
        print(f"Wrote {len(studies)} synthetic {what} and truth.csv to {out}")


@app.command()
def serve(
    config: Annotated[Path | None, typer.Option(metavar="YAML", help="Settings of the service.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
) -> None:
    """Run the HTTP service."""
    with _plain_errors():
        try:
            from lvo.service import load_settings, run
        except ModuleNotFoundError as error:
            raise UsageError(
                f"The service needs the extra 'serve': pip install 'lvo[serve]' ({error.name})."
            ) from error
        run(load_settings(config, host=host, port=port))


@app.command()
def info(
    device: DeviceOption = Device.AUTO,
    model: ModelOption = None,
    check: Annotated[bool, typer.Option("--check", help="Also run the model's own test cases.")] = False,
) -> None:
    """Say which software and which model are installed, and whether the model answers as it should."""
    with _plain_errors():
        from lvo.detector import load_detector
        from lvo.study import INTENDED_USE, SCHEMA_VERSION

        print(f"lvo {__version__}, result schema {SCHEMA_VERSION}, Python {sys.version.split()[0]}")
        detector = load_detector(model, device.value)
        bundle = detector.bundle
        print(f"model {bundle.name} {bundle.version} on {detector.backend}\nsha256 {bundle.digest}")
        if check:
            detector.check_parity()
            print("parity cases: as recorded")
        print(INTENDED_USE)


def parse_occlusion(text: str) -> tuple[Side, Segment]:
    """``left:M1`` or ``midline:BA`` as side and segment.

    Raises
    ------
    UsageError
        No such side, segment or pairing of the two.
    """
    from lvo.anatomy import SITES

    sites = {f"{side.value}:{segment.value}".lower(): (side, segment) for segment, side in SITES}
    try:
        return sites[text.strip().lower()]
    except KeyError:
        known = ", ".join(f"{side.value}:{segment.value}" for side, segment in sites.values())
        raise UsageError(f"There is no occlusion {text!r}; choose from {known}.") from None


def main() -> None:
    """Entry point of the ``lvo`` command."""
    app(prog_name="lvo")


# --------------------------------------------------------------------------- parts


def _composer(heads: list[Path], tree: Path) -> Sampler:
    """What draws patients of real anatomy, as `lvo.phantom.patient.sample_case` draws others."""
    from lvo.detector.bundle import default_path
    from lvo.imaging.head_frame import HeadFramer
    from lvo.phantom.real import compose

    sources = compose.load_sources(tuple(heads), tree, HeadFramer(default_path() / "models" / "pose.onnx"))
    return lambda seed, config, order: compose.sample_case(seed, config, order, sources)


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Turn every error into a sentence and an exit code; ``LVO_DEBUG=1`` lets it through."""
    try:
        yield
    except (typer.Exit, typer.Abort):
        raise
    except Exception as error:
        if os.environ.get("LVO_DEBUG"):
            raise
        known = error if isinstance(error, LvoError) else InternalFault(f"({type(error).__name__})")
        print(f"lvo: {known.message} [{known.code}]", file=sys.stderr)
        if known is not error:
            print(
                "lvo: LVO_DEBUG=1 shows where; the report may then hold data of the patient.", file=sys.stderr
            )
        raise typer.Exit(USAGE if isinstance(error, UsageError) else FAULT) from None


def _quiet_libraries() -> None:
    """No warning and no log line of a library, which may quote the patient's data."""
    import logging

    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    if not os.environ.get("LVO_DEBUG"):
        warnings.simplefilter("ignore")


def _quiet_logs() -> None:
    """Our own logs to stderr, without times; none of the libraries'."""
    _quiet_libraries()
    import structlog

    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.KeyValueRenderer(key_order=["event"]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger("warning"),
        # Looked up at every line: whoever embeds this may have replaced or closed the stream since.
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )


def _print_result(result: StudyResult, out: Path, as_json: bool) -> None:
    if as_json:
        print(result.model_dump_json(indent=2))
        return
    from rich.console import Console

    from lvo.report.text import render

    console = Console()
    console.print(render(result))
    files = ", ".join(("result.json", *result.key_images))
    console.print(f"Written to {out}: {files}", highlight=False, markup=False, soft_wrap=True)


def _exit_code(result: StudyResult) -> int:
    from lvo.study import Status

    if result.status is not Status.NOT_ANALYSED:
        return 0
    broken = {InternalFault.code, BundleInvalid.code}
    return FAULT if any(reason.code in broken for reason in result.reasons) else NOT_ANALYSED


if __name__ == "__main__":
    main()
