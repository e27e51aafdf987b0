"""For operators: accounts, processes and what their logs leave out."""
