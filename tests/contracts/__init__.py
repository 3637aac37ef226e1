"""One contract a room, held against every plug-in in it."""
