"""Models in the form of ONNX that TensorRT takes."""
