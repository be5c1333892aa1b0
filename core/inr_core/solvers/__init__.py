"""From measured frames to images: conjugate gradients, the live prior, and the training of the field."""
