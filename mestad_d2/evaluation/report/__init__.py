"""The report page: what an mAP is made of."""
