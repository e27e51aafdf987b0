"""Display: directives and their subjects as people read them."""
