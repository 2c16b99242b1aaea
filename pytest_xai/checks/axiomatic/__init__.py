"""Properties that follow from the definition of a method, checked where an explainer claims them."""
