"""PyTorch, OpenVINO and ONNX Runtime behind one interface: images in, upscaled images out."""
