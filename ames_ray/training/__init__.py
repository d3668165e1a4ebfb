"""Training AMES: triplets, losses, the step and the loop around it, in plain torch."""
