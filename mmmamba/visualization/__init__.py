"""Pictures of what the models do."""

from .routes import draw_routes

__all__ = ["draw_routes"]
