"""What a simulated scan is made of beside its readouts: its slice, its heart and breath, its truth."""
