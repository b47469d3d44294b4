"""What the engine does by itself: following the nodes now, jobs later."""
