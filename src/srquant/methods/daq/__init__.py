"""DAQ (Hong et al., WACV 2022)."""
