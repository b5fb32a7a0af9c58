"""Search methods; each file is one, and speaks search.Method."""
