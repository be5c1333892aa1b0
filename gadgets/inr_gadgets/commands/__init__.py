"""The commands of ``inr-recon``, one module per subject; each imports what it needs when it runs."""
