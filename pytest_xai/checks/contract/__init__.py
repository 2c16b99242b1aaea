"""Basic requirements for every explainer: shape, finite values, determinism, no side effects."""
