"""Properties that follow from the definition of a method, for explainers that claim them."""
