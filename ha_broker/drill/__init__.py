"""A drill: end the engine VM for real, and measure how it comes back."""
