"""DICOM bytes to stacks to volumes, and which stack is the CT angiogram, with reasons."""

from lvo.dicom.ingest import Inventory, ingest
from lvo.dicom.read import read_study

__all__ = ["Inventory", "ingest", "read_study"]
