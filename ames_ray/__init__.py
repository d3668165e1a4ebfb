"""ames-ray: find the same object or landmark in photo collections of any size.

Import what you need from the sub-packages; importing `ames_ray` alone loads neither torch nor Ray.
"""

__version__ = "0.1.0"
