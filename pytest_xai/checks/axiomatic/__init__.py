"""Properties that follow from a method's definition, held by those that claim them."""
