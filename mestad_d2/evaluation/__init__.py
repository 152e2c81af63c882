"""Evaluation: frame-mAP under the published AVA protocols, person AP, reports."""
