"""The reference application, driven through the pure core."""
