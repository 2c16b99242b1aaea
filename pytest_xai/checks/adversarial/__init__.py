"""Maps before and after an attack on the prediction, against noise of the same size."""
