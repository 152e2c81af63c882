"""Export a detector to ONNX and TorchScript."""
