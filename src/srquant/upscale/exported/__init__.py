"""Models that were exported to OpenVINO or ONNX: written with facts about their network, and run as they are."""
