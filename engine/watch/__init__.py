"""Watch: keep queries right while files change, also when the kernel's events are lost."""
