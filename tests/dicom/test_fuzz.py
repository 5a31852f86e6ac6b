"""Whatever a file holds: no crash, no hang, no flood of memory, no geometry changed in silence.

``LVO_FUZZ=20000`` runs as many mutated files instead of a few hundred.
"""

from __future__ import annotations

import io
import os

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from lvo.dicom import elements
from lvo.dicom.values import TAGS
from tests.dicom.fuzz import SEEDS, Mutation, bounded, mutate, mutated, mutations, read, seed, unharmed

EXAMPLES = int(os.environ.get("LVO_FUZZ", "240"))
many = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize="LVO_FUZZ" not in os.environ,
    suppress_health_check=list(HealthCheck),
)


@many
@given(st.sampled_from(SEEDS), st.integers(0, 9), mutations())
def test_a_mutated_file_is_read_right_or_refused(name: str, which: int, changes: list[Mutation]) -> None:
    whole = unharmed(name)
    with mutated(name, which, changes) as folder, bounded():
        outcome = read(folder)
    event("as before" if outcome == whole else "refused" if not outcome.volumes else "read, with reasons")
    # In a file that is a series of its own nothing contradicts a consistent change of the header.
    assert len(seed(name)[1]) == 1 or outcome.admits(whole), (outcome, whole)


@pytest.mark.parametrize("name", SEEDS)
def test_the_seeds_are_read_without_a_word(name: str) -> None:
    outcome = unharmed(name)
    assert len(outcome.volumes) == 1 and outcome.volumes[0][0] == (10, 32, 32)
    assert outcome.said == {"bolus_tracking"}  # the role of so short a stack, and nothing else


def stripped(values: dict[int, bytes]) -> dict[int, bytes]:
    """Values without padding, and without those that pydicom hands over converted."""
    kept = {tag: value.strip(b" \0") for tag, value in values.items() if tag > TAGS["SpecificCharacterSet"]}
    return {tag: value for tag, value in kept.items() if value}


@many
@given(st.sampled_from(SEEDS), mutations())
def test_the_header_walk_reads_what_pydicom_reads(name: str, changes: list[Mutation]) -> None:
    folder, names = seed(name)
    data = mutate((folder / names[0]).read_bytes(), changes)
    try:
        walked = elements._walk_file(io.BytesIO(data), TAGS.values())
    except ValueError:
        return  # pydicom decides
    if walked.transfer_syntax == elements.DEFLATED:
        return  # nothing of pydicom's is used for these
    try:
        said = elements._by_pydicom(io.BytesIO(data), TAGS.values())
    except Exception:  # it stumbles over a damaged character set, which the walk does not read
        return
    if not stripped(said.values):
        return  # it took the first element for the end of the data set
    assert walked.transfer_syntax.strip(" \0") == said.transfer_syntax.strip(" \0")
    assert stripped(walked.values) == stripped(said.values)
    assert walked.pixels == said.pixels
