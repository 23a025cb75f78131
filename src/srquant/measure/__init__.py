"""What a quantized network is worth and what it costs."""
