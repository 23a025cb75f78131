"""The classification table of GBA: ResNet-18 quantized by AdaRound, BRECQ, QDrop, PTMQ and GBA."""
