"""What a network gives and costs: PSNR, SSIM, bits, operations, size."""
