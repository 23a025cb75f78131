"""What QuantSR's supplement shows of a training run."""
