"""Evidence of tampering: signals are sealed in batches, and anybody can check them since."""
