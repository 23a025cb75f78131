"""Models for ONNX Runtime."""
