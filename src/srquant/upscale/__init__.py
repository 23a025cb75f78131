"""Pictures, files and folders upscaled in tiles by one of three engines."""
