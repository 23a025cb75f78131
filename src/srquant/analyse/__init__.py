"""The analyses that papers print: of networks, of quantized files, and of how they learn."""
