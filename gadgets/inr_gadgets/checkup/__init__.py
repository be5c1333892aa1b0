"""What `inr-recon doctor` looks at."""
