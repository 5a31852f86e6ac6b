"""Wall time and peak memory of DICOM readers on one series: ``scripts/benchmark_readers.py [--slices 600]``.

Writes a CT series of 512 by 512 pixels uncompressed, as JPEG-LS and as JPEG 2000 (lossless, noise of a thin
CTA), then lets every reader take it from the disk, each run in a process of its own and the readers in turn.
Two kinds of work are compared: DICOM to an uncompressed NIfTI file (``lvo ingest`` with its inventory, and
dcm2niix), and DICOM to an array in memory (this software, SimpleITK, highdicom). Ratios are of medians.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import numpy as np

from lvo.phantom.write import StudyIdentity, write_series
from lvo.study import Volume

SYNTAXES = {
    "uncompressed": "1.2.840.10008.1.2.1",
    "JPEG-LS": "1.2.840.10008.1.2.4.80",
    "JPEG 2000": "1.2.840.10008.1.2.4.90",
}
FILES, ARRAY = "to a file", "to an array"
_PYTHON = {
    "lvo array": """
from lvo.dicom.headers import scan
from lvo.dicom.stacks import group_instances
from lvo.dicom.volumes import decode_group
array = decode_group(group_instances(scan(Path(study)).instances)[0], whole=True).volume.array
""",
    "SimpleITK": """
import SimpleITK
reader = SimpleITK.ImageSeriesReader()
reader.SetFileNames(SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(study))
array = SimpleITK.GetArrayViewFromImage(reader.Execute())
""",
    "highdicom": """
import highdicom, numpy, pydicom
files = [pydicom.dcmread(path) for path in Path(study).iterdir()]
array = highdicom.get_volume_from_series(files, dtype=numpy.float32).array
""",
}

_CALL = """
import time
from pathlib import Path
from lvo.dicom import ingest
began = time.perf_counter()
ingest(Path({study!r}), Path({out!r}))
print(time.perf_counter() - began)
"""
"""As in a service, where Python and its libraries were started long ago: prints its own seconds."""


@dataclass
class Timings:
    """Runs of one reader on one encoding."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    peak_mib: float = 0.0


def commands(study: Path, out: Path) -> dict[str, tuple[str, list[str]]]:
    """Reader to its kind of work and its command."""
    here = Path(sys.executable).parent
    dcm2niix = shutil.which("dcm2niix", path=f"{here}{os.pathsep}{os.environ['PATH']}") or "dcm2niix"
    found = {
        "lvo ingest": (FILES, [str(here / "lvo"), "ingest", str(study), "--out", str(out), "--json"]),
        "dcm2niix": (FILES, [dcm2niix, "-z", "n", "-b", "n", "-f", "a", "-o", str(out), str(study)]),
    }
    call = _CALL.format(study=str(study), out=str(out))
    found["lvo.dicom.ingest(), Python running"] = FILES, [sys.executable, "-c", call]
    for name, code in _PYTHON.items():
        code = f"from pathlib import Path\nstudy = {str(study)!r}\n{code}"
        code += (
            "\nassert sorted(array.shape)[-2:] == [512, 512] or array.shape[1:] == (512, 512), array.shape"
        )
        found[name] = ARRAY, [sys.executable, "-c", code]
    return found


def run(command: list[str], into: Timings) -> None:
    began = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        text = said.read().decode(errors="replace").strip()
    if process.returncode:
        raise SystemExit(f"{command[0]} failed: {text}")
    if text.replace(".", "", 1).isdigit():
        wall = float(text)
    into.wall.append(wall)
    into.cpu.append(usage.ru_utime + usage.ru_stime)
    into.peak_mib = max(into.peak_mib, usage.ru_maxrss / 1024)


def series(slices: int) -> Volume:
    """A noisy head-sized ellipsoid with a skull."""
    y, x = np.mgrid[:512, :512].astype(np.float32) - 255.5
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 15, (16, 512, 512)).astype(np.float32)
    array = np.empty((slices, 512, 512), np.int16)
    for k in range(slices):
        radius = np.sqrt((x / 190) ** 2 + (y / 230) ** 2 + ((k - slices / 2) / (slices * 0.55)) ** 2)
        hu = np.select([radius < 0.88, radius < 0.95, radius < 1], [35.0, 1100.0, 40.0], -1000.0)
        array[k] = np.rint(hu + noise[k % 16])
    affine = np.array([[0, 0, 0.45, -115], [0, 0.45, 0, -115], [0.5, 0, 0, -150], [0, 0, 0, 1.0]])
    return Volume(array, affine)


def report(kind: str, timings: dict[str, Timings], own: str, float32_mib: float) -> None:
    base = median(timings[own].wall)
    for name, t in timings.items():
        memory = f"{t.peak_mib:.0f} MiB ({t.peak_mib / float32_mib:.2f})"
        wall = f"{median(t.wall):.2f} ({min(t.wall):.2f} to {max(t.wall):.2f})"
        print(f"| {kind} | {name} | {wall} | {median(t.cpu):.2f} | {base / median(t.wall):.2f} | {memory} |")


def write(study: Path, slices: int, syntax: str) -> None:
    identity = StudyIdentity.from_seed("benchmark")
    write_series(
        study,
        series(slices),
        identity=identity,
        series_number=2,
        description="Head CTA",
        transfer_syntax=syntax,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--slices", type=int, default=600)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--encodings", nargs="*", choices=SYNTAXES, default=list(SYNTAXES))
    parser.add_argument("--folder", type=Path, help="where to write; a temporary folder by default")
    arguments = parser.parse_args()
    float32_mib = arguments.slices * 512 * 512 * 4 / 2**20
    print(f"{arguments.slices} slices, {arguments.repeat} runs each, {len(os.sched_getaffinity(0))} cores.")
    print("Ratio: our median by theirs. Memory: peak, and as a share of the volume in float32.\n")
    print("| encoding, work | reader | wall s (range) | CPU s | ratio | memory |\n|---|---|---|---|---|---|")
    for encoding in arguments.encodings:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            study, out = Path(folder) / "study", Path(folder) / "out"
            out.mkdir()
            # In a process of its own: the peak memory of a child includes that of the process it came from.
            writer = get_context("spawn").Process(
                target=write, args=(study, arguments.slices, SYNTAXES[encoding])
            )
            writer.start()
            writer.join()
            found = commands(study, out)
            timings = {name: Timings() for name in found}
            for _ in range(arguments.repeat):
                for name, (_, command) in found.items():
                    run(command, timings[name])
        for kind, own in ((FILES, "lvo ingest"), (ARRAY, "lvo array")):
            chosen = {name: t for name, t in timings.items() if found[name][0] == kind}
            report(f"{encoding}, {kind}", chosen, own, float32_mib)
    return 0


if __name__ == "__main__":
    sys.exit(main())
