"""Person detectors for an action network (the two-stage pipeline)."""

from mestad_d2.inference.person_detector.base import (
    PERSON_DETECTOR_REGISTRY,
    PersonDetector,
    build_person_detector,
)

__all__ = ["PERSON_DETECTOR_REGISTRY", "PersonDetector", "build_person_detector"]
