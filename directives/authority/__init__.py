"""Authority: who may request, view and operate."""
