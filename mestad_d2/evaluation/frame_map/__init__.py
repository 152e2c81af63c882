"""Frame-mAP of AVA under the published protocols."""
