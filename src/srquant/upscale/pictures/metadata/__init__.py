"""What a picture file says beside its pixels: carried to the upscaled one as it is, with nothing invented."""
