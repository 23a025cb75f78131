"""Classification, as in the table of GBA's supplement: ResNet-18 quantized by AdaRound, BRECQ, QDrop, PTMQ and GBA."""
