"""Small trained models to try the extension with, the nodes they need, and how they were made."""
