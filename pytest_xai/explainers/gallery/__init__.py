"""The gallery: what each explainer is, and finding one by name."""
