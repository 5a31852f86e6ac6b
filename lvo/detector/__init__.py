"""Volumes in the head frame to located findings, the same on every backend."""

from lvo.detector.detect import Detection, Detector, HeadFinding, load_detector

__all__ = ["Detection", "Detector", "HeadFinding", "load_detector"]
