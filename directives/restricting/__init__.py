"""Restrictions of subjects: their rows, and the columns of subjects that follow from them."""
