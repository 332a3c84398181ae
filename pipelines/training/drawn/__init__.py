"""The first small model's pictures: canvases of free sources, their edges, and styles drawn from those by filters."""
