"""How radial scans in the wild are to be read: readouts, sampling, angles, frames, noise; and one line about it."""
