"""How radial scans in the wild are to be read: kinds of readouts, sampling, angles, frames, noise; and one line about it."""
