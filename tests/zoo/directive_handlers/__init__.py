"""One badly behaved handler a class; they stand together because they are all the same joke."""
