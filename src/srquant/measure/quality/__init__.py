"""PSNR, SSIM and the scores of a network on benchmark sets."""
