"""QuantSR (Qin et al., NeurIPS 2023)."""
