"""Checks of faithfulness: whether a map shows what the model uses. There are none yet."""
