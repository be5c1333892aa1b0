"""Linear operators of the measurement: y = W F S x, and what is made of them."""
